"""Proper scores and calibration of predicted class probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.prediction.calibration_bins import BINS, Calibration, calibration


def accuracy(log_probabilities: Tensor, labels: Tensor) -> float:
    """Share of examples whose most probable class is the label.

    Args:
        log_probabilities: Shape (N, C).
        labels: Shape (N,), in [0, C).
    """
    check_predictions(log_probabilities, labels)
    return float((log_probabilities.argmax(1) == labels).double().mean())


def nll(log_probabilities: Tensor, labels: Tensor) -> float:
    """Mean negative log-likelihood in nats; infinite where a label has probability 0."""
    check_predictions(log_probabilities, labels)
    return float(-log_probabilities.double().gather(1, labels[:, None]).mean())


def brier(log_probabilities: Tensor, labels: Tensor) -> float:
    """Mean squared distance of the probabilities to the one-hot label, in [0, 2] (Brier 1950)."""
    check_predictions(log_probabilities, labels)
    probabilities = log_probabilities.double().exp()
    target = torch.nn.functional.one_hot(labels, probabilities.shape[1]).double()
    return float(((probabilities - target) ** 2).sum(1).mean())


def ece(log_probabilities: Tensor, labels: Tensor, *, bins: int = BINS) -> float:
    """Expected calibration error with equal-width bins (Guo et al., arXiv 1706.04599).

    Args:
        log_probabilities: Shape (N, C).
        labels: Shape (N,).
        bins: Number of bins.

    Example:
        >>> sure_and_half_right = torch.tensor([[0.0, -torch.inf], [0.0, -torch.inf]])
        >>> ece(sure_and_half_right, torch.tensor([0, 1]))
        0.5
    """
    return float(reliability(log_probabilities, labels, bins=bins).ece)


def reliability(log_probabilities: Tensor, labels: Tensor, *, bins: int = BINS) -> Calibration:
    """The predictions in bins by their confidence: a reliability diagram, and its ``ece``.

    Args:
        log_probabilities: Shape (N, C).
        labels: Shape (N,).
        bins: Number of bins.

    Raises:
        InputError: the predictions cannot be scored, or there is no bin.
    """
    check_predictions(log_probabilities, labels)
    confidence, predicted = log_probabilities.double().exp().max(1)
    return calibration(confidence, predicted == labels, bins=bins)


def check_predictions(log_probabilities: Tensor, labels: Tensor) -> None:
    """Refuse what cannot be scored.

    Args:
        log_probabilities: Shape (N, C).
        labels: Shape (N,), in [0, C).

    Raises:
        InputError: the shapes do not fit, a label is no class, there is no example, or a
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
        raise InputError("metrics of no example are undefined")
    if int(labels.min()) < 0 or int(labels.max()) >= log_probabilities.shape[1]:
        raise InputError(
            f"labels must be in [0, {log_probabilities.shape[1]}), not "
            f"[{int(labels.min())}, {int(labels.max())}]"
        )
    if bool(log_probabilities.isnan().any()):
        raise InputError("log-probabilities hold NaN: the network's output is not finite")
