"""Averaging predictions over a posterior, and scoring them."""

from landscape.prediction.averaging import Prediction, predict
from landscape.prediction.metrics import accuracy, brier, ece, nll
from landscape.prediction.regression import RealPrediction, predict_real

__all__ = [
    "Prediction",
    "RealPrediction",
    "accuracy",
    "brier",
    "ece",
    "nll",
    "predict",
    "predict_real",
]
