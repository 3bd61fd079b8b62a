"""Temperature scaling: predictions flattened or sharpened by one number (arXiv 1706.04599)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.prediction.metrics import check_predictions, nll

_WIDEST = math.log(1e3)
"""Temperatures are sought in [1e-3, 1e3]."""


def tempered(log_probabilities: Tensor, temperature: float) -> Tensor:
    """Logarithm of p^(1/T), normalised; shape (N, C).

    Args:
        log_probabilities: Shape (N, C), of an average for instance.
        temperature: T > 0; above 1 the predictions become less sure.

    Raises:
        InputError: the temperature is not positive and finite.

    Example:
        >>> sure = torch.tensor([[0.8, 0.2]]).log()
        >>> tempered(sure, 2.0).exp()
        tensor([[0.6667, 0.3333]])
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise InputError(f"temperature must be positive and finite, not {temperature}")
    return torch.log_softmax(log_probabilities / temperature, dim=1)


def best_temperature(log_probabilities: Tensor, labels: Tensor) -> float:
    """The temperature in [1e-3, 1e3] at which the NLL is least.

    To be chosen on validation data on which no setting was chosen. The NLL on a test set at that
    temperature compares what methods know apart from how sure they are: without it the comparison
    is mostly one of calibration (Ashukha et al., arXiv 2002.06470).

    Args:
        log_probabilities: Shape (N, C), of the averaged probabilities.
        labels: Shape (N,).

    Raises:
        InputError: the predictions cannot be scored, or a label has probability 0.
    """
    from scipy.optimize import minimize_scalar

    check_predictions(log_probabilities, labels)
    if math.isinf(nll(log_probabilities, labels)):
        raise InputError("no temperature helps: a label has probability 0")
    exact = log_probabilities.double()
    # Convex in 1 / T, so with one minimum in log T as well.
    found = minimize_scalar(
        lambda log_t: nll(tempered(exact, math.exp(log_t)), labels),
        bounds=(-_WIDEST, _WIDEST),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(found.x)
