"""Sharpness under Gaussian noise on the weights: the mean rise, and the noise that does harm."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from landscape.curvature.sharpness.ball import finite_weights
from landscape.curvature.sharpness.expected import Sharpness, average_rise
from landscape.errors import InputError, LandscapeError
from landscape.objective.mean_loss import MeanLoss
from landscape.runtime.numbers import check_int


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
