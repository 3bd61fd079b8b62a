"""Predictions averaged over a posterior, and their metrics."""

from landscape.prediction.averaging import Prediction, predict
from landscape.prediction.calibration_bins import Calibration, calibration
from landscape.prediction.correlation import Correlation, partial_spearman, spearman
from landscape.prediction.metrics import accuracy, brier, ece, nll, reliability
from landscape.prediction.ordering import (
    metrics_in_order,
    metrics_in_orders,
    metrics_in_random_orders,
)
from landscape.prediction.regression import RealPrediction, predict_real
from landscape.prediction.temperature import best_temperature, tempered

__all__ = [
    "Calibration",
    "Correlation",
    "Prediction",
    "RealPrediction",
    "accuracy",
    "best_temperature",
    "brier",
    "calibration",
    "ece",
    "metrics_in_order",
    "metrics_in_orders",
    "metrics_in_random_orders",
    "nll",
    "partial_spearman",
    "predict",
    "predict_real",
    "reliability",
    "spearman",
    "tempered",
]
