"""Averaging predictions over a posterior, and scoring them."""

from landscape.prediction.averaging import Prediction, predict
from landscape.prediction.metrics import accuracy, brier, ece, nll

__all__ = ["Prediction", "accuracy", "brier", "ece", "nll", "predict"]
