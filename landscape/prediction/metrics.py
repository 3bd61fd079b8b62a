"""Metrics of predicted class probabilities: accuracy, proper scores and calibration."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.prediction.calibration_bins import BINS, Calibration, calibration


def accuracy(log_probabilities: Tensor, labels: Tensor) -> float:
    """Fraction of examples whose most probable class is the label.

    Args:
        log_probabilities: Logarithms of the predicted probabilities, shape (N, C).
        labels: Class numbers in [0, C), shape (N,).
    """
    check_predictions(log_probabilities, labels)
    return float((log_probabilities.argmax(1) == labels).double().mean())


def nll(log_probabilities: Tensor, labels: Tensor) -> float:
    """Mean negative log-likelihood in nats. It is infinite if a label has probability 0.

    Args:
        log_probabilities: Logarithms of the predicted probabilities, shape (N, C).
        labels: Class numbers in [0, C), shape (N,).
    """
    check_predictions(log_probabilities, labels)
    return float(-log_probabilities.double().gather(1, labels[:, None]).mean())


def brier(log_probabilities: Tensor, labels: Tensor) -> float:
    """Mean squared distance of the probabilities to the one-hot labels, in [0, 2] (Brier 1950).

    Args:
        log_probabilities: Logarithms of the predicted probabilities, shape (N, C).
        labels: Class numbers in [0, C), shape (N,).
    """
    check_predictions(log_probabilities, labels)
    probabilities = log_probabilities.double().exp()
    target = torch.nn.functional.one_hot(labels, probabilities.shape[1]).double()
    return float(((probabilities - target) ** 2).sum(1).mean())


def ece(log_probabilities: Tensor, labels: Tensor, *, bins: int = BINS) -> float:
    """Expected calibration error with bins of equal width (Guo et al., arXiv 1706.04599).

    Args:
        log_probabilities: Logarithms of the predicted probabilities, shape (N, C).
        labels: Class numbers in [0, C), shape (N,).
        bins: Number of bins.

    Examples:
        >>> sure_and_half_right = torch.tensor([[0.0, -torch.inf], [0.0, -torch.inf]])
        >>> ece(sure_and_half_right, torch.tensor([0, 1]))
        0.5
    """
    return float(reliability(log_probabilities, labels, bins=bins).ece)


def reliability(log_probabilities: Tensor, labels: Tensor, *, bins: int = BINS) -> Calibration:
    """A reliability diagram: the predictions in bins by their confidence, with their ``ece``.

    Args:
        log_probabilities: Logarithms of the predicted probabilities, shape (N, C).
        labels: Class numbers in [0, C), shape (N,).
        bins: Number of bins.

    Raises:
        InputError: The predictions cannot be scored, or the number of bins is not positive.
    """
    check_predictions(log_probabilities, labels)
    confidence, predicted = log_probabilities.double().exp().max(1)
    return calibration(confidence, predicted == labels, bins=bins)


def check_predictions(log_probabilities: Tensor, labels: Tensor) -> None:
    """Check that predictions can be scored.

    Args:
        log_probabilities: Logarithms of the predicted probabilities, shape (N, C).
        labels: Class numbers in [0, C), shape (N,).

    Raises:
        InputError: The shapes do not fit, a label is not a class, there are no examples, or a
            log-probability is NaN.
    """
    if log_probabilities.ndim != 2 or labels.shape != log_probabilities.shape[:1]:
        raise InputError(
            f"metrics need log-probabilities (N, C) and labels (N,), not "
            f"{tuple(log_probabilities.shape)} and {tuple(labels.shape)}"
        )
    if labels.is_floating_point():
        raise InputError(f"labels must be class numbers, not {labels.dtype}")
    if len(labels) == 0:
        raise InputError("metrics need at least one example")
    if int(labels.min()) < 0 or int(labels.max()) >= log_probabilities.shape[1]:
        raise InputError(
            f"labels must be in [0, {log_probabilities.shape[1]}), not "
            f"[{int(labels.min())}, {int(labels.max())}]"
        )
    if bool(log_probabilities.isnan().any()):
        raise InputError("log-probabilities hold NaN: the network's output is not finite")
