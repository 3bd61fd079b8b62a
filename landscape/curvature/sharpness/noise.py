"""Sharpness under Gaussian noise on the weights: the mean rise, and the noise that does harm."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from landscape.curvature.sharpness.ball import finite_weights
from landscape.curvature.sharpness.expected import Sharpness, average_rise
from landscape.errors import InputError, LandscapeError
from landscape.objective.mean_loss import MeanLoss
from landscape.runtime.numbers import check_int

_DOUBLINGS = 40
"""Largest number of times that the search doubles or halves the noise."""


def average_sharpness(
    objective: MeanLoss,
    w: Tensor | None = None,
    *,
    deviation: float = 0.01,
    adaptive: bool = False,
    pairs: int = 15,
    seed: int = 0,
) -> Sharpness:
    """E[L(w + e)] - L(w) over noise e ~ N(0, (deviation t)^2), independent for each weight.

    With t = 1 it is the average case in Euclidean units, to second order deviation^2 tr(H) / 2.
    With t = |w| it is adaptive: it does not change if layers or units are rescaled so that the
    function stays the same (Andriushchenko et al., arXiv 2302.07011). Draws come in pairs e and -e,
    so that terms linear in e cancel.

    Args:
        objective: The objective. Its buffers are used as the running statistics of w.
        w: Weights, shape (P,); the model's own if ``None``.
        deviation: Standard deviation of the noise, positive; in units of the weights, relative if
            ``adaptive``.
        adaptive: Whether t = |w|.
        pairs: Number of pairs of draws, at least 2.
        seed: Seed of the draws.

    Returns:
        The mean over pairs with its standard error, in the loss's units.

    Raises:
        InputError: a setting is out of range, the weights are not finite, or there is no data.
        LandscapeError: the loss is not finite under the noise.
    """
    if not 0 < deviation < math.inf:
        raise InputError(f"deviation must be positive and finite, not {deviation}")
    pairs = check_int(pairs, "the number of pairs of draws", least=2)
    at = finite_weights(objective, w)
    scale = at.abs() if adaptive else torch.ones_like(at)
    generator = torch.Generator(at.device).manual_seed(seed)
    base = float(objective.loss(at))
    rises = []
    for z in _normal(at, pairs, generator):
        step = deviation * scale * z
        losses = [float(objective.loss(at + step)), float(objective.loss(at - step))]
        rises.append(sum(losses) / 2 - base)
    if not all(map(math.isfinite, rises)):
        raise LandscapeError("the loss is not finite under the noise: take a smaller deviation")
    return average_rise(rises)


def _normal(like: Tensor, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(count):
        yield torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)


@dataclass(frozen=True)
class NoiseLevel:
    """The noise at which the mean accuracy has fallen by a given amount.

    Attributes:
        value: sigma, its relative standard deviation if it is magnitude-aware.
        standard_error: Standard error by the jackknife over draws.
        evaluations: Number of evaluations of the accuracy.
    """

    value: float
    standard_error: float
    evaluations: int


def pac_bayes_sigma(
    objective: MeanLoss,
    w: Tensor | None = None,
    *,
    drop: float = 0.1,
    magnitude_aware: bool = False,
    floor: float = 1e-3,
    draws: int = 15,
    tolerance: float = 0.02,
    seed: int = 0,
) -> NoiseLevel:
    """The deviation sigma of weight noise at which the mean accuracy falls by ``drop``.

    The noise is N(0, sigma^2) for each weight, or N(0, sigma^2 w_i^2 + floor^2) if it is
    magnitude-aware (Jiang et al., arXiv 1912.02178, whose measures are 1 / sigma^2). A flat place
    has a large sigma. All sigma share one set of draws; sigma is searched by bisection, and
    interpolated in its logarithm.

    Args:
        objective: The objective, of a classification. Its buffers are used as the running
            statistics of w.
        w: Weights, shape (P,); the model's own if ``None``.
        drop: Fall of the accuracy, in (0, 1).
        magnitude_aware: Whether each weight's noise is in units of its own size.
        floor: Standard deviation of noise that is always there if ``magnitude_aware``.
        draws: Number of draws of the noise, at least 2.
        tolerance: Relative width of sigma's bracket at the end of the search.
        seed: Seed of the draws.

    Raises:
        InputError: a setting is out of range, or the targets are no classes.
        LandscapeError: no noise lets the accuracy fall so far, or the smallest noise does.

    Examples:
        >>> import landscape as ls
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> objective = ls.Objective(torch.nn.Linear(2, 2, bias=False), data)
        >>> one, two = (pac_bayes_sigma(objective, s * torch.eye(2).flatten()) for s in (1, 2))
        >>> round(two.value / one.value, 3)
        2.0
    """
    for name, value, most in (("drop", drop, 1.0), ("tolerance", tolerance, math.inf)):
        if not 0 < value < most:
            raise InputError(f"{name} must be in (0, {most:g}), not {value}")
    if not 0 <= floor < math.inf:
        raise InputError(f"floor must be finite and not negative, not {floor}")
    draws = check_int(draws, "the number of draws", least=2)
    at = finite_weights(objective, w)
    accuracy = objective.evaluate(at).accuracy
    if math.isnan(accuracy):
        raise InputError("the accuracy under noise needs targets that are classes")
    if accuracy < drop:
        raise LandscapeError(f"the accuracy is {accuracy:.3g}: it cannot fall by {drop:g}")

    @cache
    def falls(sigma: float) -> np.ndarray:
        """How far the accuracy falls with each draw."""
        deviation = torch.full_like(at, sigma)
        if magnitude_aware:
            deviation = (sigma**2 * at**2 + floor**2).sqrt()
        generator = torch.Generator(at.device).manual_seed(seed)
        noisy = [
            objective.evaluate(at + deviation * z).accuracy for z in _normal(at, draws, generator)
        ]
        # A network that overflows predicts nothing.
        return accuracy - np.nan_to_num(noisy, nan=0.0)

    size = 1.0 if magnitude_aware else float(at.double().square().mean().sqrt()) or 1.0
    sigmas = [0.1 * size]
    while falls(sigmas[-1]).mean() < drop:
        sigmas.append(2 * sigmas[-1])
        if len(sigmas) > _DOUBLINGS:
            raise LandscapeError(f"no noise lets the accuracy of {accuracy:.3g} fall by {drop:g}")
    while falls(sigmas[0]).mean() >= drop:
        sigmas.insert(0, sigmas[0] / 2)
        if len(sigmas) > _DOUBLINGS:
            raise LandscapeError(f"the least noise lets the accuracy fall by {drop:g}")
    low, high = next(pair for pair in itertools.pairwise(sigmas) if falls(pair[1]).mean() >= drop)
    while high > low * (1 + tolerance):
        middle = math.sqrt(low * high)
        sigmas.append(middle)
        low, high = (low, middle) if falls(middle).mean() >= drop else (middle, high)
    sigmas.sort()
    by_draw = np.stack([falls(sigma) for sigma in sigmas])
    value = _crossing(sigmas, by_draw.mean(1), drop)
    without = [
        _crossing(sigmas, np.delete(by_draw, draw, 1).mean(1), drop) for draw in range(draws)
    ]
    error = math.sqrt((draws - 1) * float(np.var(without)))
    return NoiseLevel(value, error, draws * len(sigmas))


def _crossing(sigmas: list[float], falls: np.ndarray, drop: float) -> float:
    """The first sigma at which the fall is ``drop``, between those that were evaluated."""
    reached = falls >= drop
    first = int(reached.argmax()) if reached.any() else len(sigmas) - 1
    if first == 0:
        return sigmas[0]
    (x0, x1), (y0, y1) = np.log(sigmas[first - 1 : first + 1]), falls[first - 1 : first + 1]
    share = (drop - y0) / (y1 - y0) if reached.any() else 1.0
    return float(np.exp(x0 + share * (x1 - x0)))
