"""Temperature scaling of predictions (Guo et al., arXiv 1706.04599)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.prediction.metrics import check_predictions, nll

_LOG_BOUND = math.log(1e3)
"""Bound of |log T| in the search for the best temperature."""


def tempered(log_probabilities: Tensor, temperature: float) -> Tensor:
    """Logarithms of p^(1/T), normalised, shape (N, C).

    Args:
        log_probabilities: Log-probabilities, for example of an average, shape (N, C).
        temperature: Temperature T > 0. Predictions become less confident for T > 1.

    Raises:
        InputError: The temperature is not positive and finite.

    Examples:
        >>> sure = torch.tensor([[0.8, 0.2]]).log()
        >>> tempered(sure, 2.0).exp()
        tensor([[0.6667, 0.3333]])
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise InputError(f"temperature must be positive and finite, not {temperature}")
    return torch.log_softmax(log_probabilities / temperature, dim=1)


def best_temperature(log_probabilities: Tensor, labels: Tensor) -> float:
    """The temperature in [1e-3, 1e3] with the smallest NLL.

    Use validation data that were not used to choose settings. Test NLLs at the best temperature
    compare methods apart from their calibration. Without it, such comparisons mostly show
    differences in calibration (Ashukha et al., arXiv 2002.06470).

    Args:
        log_probabilities: Logarithms of the averaged probabilities, shape (N, C).
        labels: Class numbers in [0, C), shape (N,).

    Raises:
        InputError: The predictions cannot be scored, or a label has probability 0.
    """
    from scipy.optimize import minimize_scalar

    check_predictions(log_probabilities, labels)
    if math.isinf(nll(log_probabilities, labels)):
        raise InputError("no temperature has a finite NLL: a label has probability 0")
    exact = log_probabilities.double()
    # The NLL is convex in 1 / T, so it has a single minimum in log T.
    optimum = minimize_scalar(
        lambda log_t: nll(tempered(exact, math.exp(log_t)), labels),
        bounds=(-_LOG_BOUND, _LOG_BOUND),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(optimum.x)
