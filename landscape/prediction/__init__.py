"""Averaging predictions over a posterior, and scoring them."""

from landscape.prediction.averaging import Prediction, predict
from landscape.prediction.calibration import Calibration, calibration
from landscape.prediction.metrics import accuracy, brier, ece, nll, reliability
from landscape.prediction.regression import RealPrediction, predict_real

__all__ = [
    "Calibration",
    "Prediction",
    "RealPrediction",
    "accuracy",
    "brier",
    "calibration",
    "ece",
    "nll",
    "predict",
    "predict_real",
    "reliability",
]
