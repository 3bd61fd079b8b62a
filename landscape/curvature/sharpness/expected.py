"""Sharpness: how much the loss rises around weights, in the mean and in the worst case."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.curvature.not_finite import why_not_finite
from landscape.curvature.sharpness.ascent import ascend, check_search
from landscape.errors import InputError, LandscapeError
from landscape.objective.batches import Batch, examples_in, take_batch
from landscape.objective.losses import Loss
from landscape.objective.mean_loss import MeanLoss
from landscape.objective.objective import Objective
from landscape.posteriors import Posterior
from landscape.results import effective_count


@dataclass(frozen=True)
class Sharpness:
    """A rise of the loss, as a mean over samples or batches.

    Attributes:
        value: The mean.
        standard_error: Standard error of the mean; NaN for a single sample or batch.
        rises: Rise of each sample or batch.
        effective: Number of independent draws that the rises are worth, which is smaller than their
            number for samples of a Markov chain. See ``SampleMean``.
    """

    value: float
    standard_error: float
    rises: tuple[float, ...]
    effective: float


def expected_sharpness(
    posterior: Posterior,
    data: Iterable[Batch],
    *,
    samples: int = 30,
    loss: Loss = "cross_entropy",
    seed: int = 0,
) -> Sharpness:
    """E_q[L(w)] - L(mean of q), with running statistics re-estimated for each weights.

    For N(w, s^2 I) it is the average-case sharpness of w; to second order s^2 tr(H) / 2.

    Args:
        posterior: q. A point, or a set of fewer samples, gives as many as it has.
        data: Fixed data set to measure on, as batches.
        samples: Number of samples.
        loss: A name or a function; see ``losses.Criterion``.
        seed: Seed of the samples.

    Raises:
        InputError: there is no sample to draw, or no data.
    """
    base = Objective(posterior.space, data, loss)
    posterior.check_statistics(base.pairs())

    def at(w: Tensor) -> float:
        return float(base.with_buffers(posterior.buffers(w)).loss(w))

    count = posterior.num_available(samples)
    weights = posterior.sample(count, seed)
    flat = at(posterior.mean)
    rises = [at(w) - flat for w in weights]
    return average_rise(rises, places=posterior.places(count, seed))


def m_sharpness(
    objective: MeanLoss,
    w: Tensor | None = None,
    *,
    radius: float = 0.05,
    m: int | None = None,
    adaptive: bool = False,
    steps: int = 10,
    seed: int = 0,
) -> Sharpness:
    """The mean over batches B of max over ||e / t|| <= radius of L_B(w + e) - L_B(w).

    With t = 1 this is what SAM lowers (Foret et al., arXiv 2010.01412). With t = |w| for each
    weight it is what ASAM lowers (Kwon et al., arXiv 2102.11600); a rescaling of layers that leaves
    the function alone does not change it. The maximum is searched by projected ascent, so the value
    is a lower bound. With one step it is the rise along SAM's own perturbation, or 0 where the loss
    falls along it.

    Args:
        objective: The objective. Its buffers are used as the running statistics of w.
        w: Weights, shape (P,); the model's own if ``None``.
        radius: rho, positive.
        m: Number of examples in a batch; the objective's own batches if ``None``. They are split,
            not merged.
        adaptive: Whether t = |w|.
        steps: Number of evaluations of the search.
        seed: Seed of the direction in which a search begins where the gradient is zero.

    Returns:
        The mean, in which each batch counts by its number of examples.

    Raises:
        InputError: a setting is out of range, the weights are not finite, or there is no batch.
        LandscapeError: the loss is not finite within the ball.
    """
    check_search(radius, steps)
    at = objective.weights(w)
    if not bool(at.isfinite().all()):
        raise InputError("the weights are not finite: there is no sharpness there")
    metric: Callable[[Tensor], Tensor] = (lambda a: at**2 * a) if adaptive else (lambda a: a)
    generator = torch.Generator(at.device).manual_seed(seed)
    rises, sizes = [], []
    for batch in _split(objective.pairs(), m):
        part = objective.on(objective.space, [batch])
        step = worst_step(part, at, radius, metric, steps, generator)
        rises.append(float(part.loss(at + step)) - float(part.loss(at)))
        sizes.append(float(objective.criterion.weight(*batch)))
    return average_rise(rises, sizes)


def worst_step(
    objective: MeanLoss,
    w: Tensor,
    radius: float,
    metric: Callable[[Tensor], Tensor],
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """The step e with e^T M^-1 e <= radius^2 that raises the loss most, by projected ascent.

    Args:
        objective: L.
        w: Weights, shape (P,).
        radius: Radius of the ball.
        metric: a -> M a, symmetric and positive semi-definite. The search is over a, e = M a.
        steps: Number of evaluations; see ``ascend``.
        generator: Source of the direction where the gradient is zero.
    """

    def dot(a: Tensor, b: Tensor) -> Tensor:
        # In float64: squares of a loss in small or large units leave float32's range.
        product: Tensor = a.double() @ b.double()
        return product

    def direction(a: Tensor) -> Tensor:
        gradient = objective.gradient(w + metric(a))
        if not bool(gradient.isfinite().all()):
            raise LandscapeError(f"the search stops: {why_not_finite(objective, w + metric(a))}")
        square = dot(gradient, metric(gradient))
        if not bool(square > 0):
            gradient = torch.randn(w.shape, dtype=w.dtype, device=w.device, generator=generator)
            square = dot(gradient, metric(gradient)).clamp_min(torch.finfo(w.dtype).tiny)
        return gradient * (radius / square.sqrt())

    def move(a: Tensor, along: Tensor, length: float) -> Tensor:
        moved = a + length * along
        norm = float(dot(moved, metric(moved)).sqrt())
        return moved * (radius / norm) if norm > radius else moved

    best = ascend(
        [torch.zeros_like(w)],
        lambda a: float(objective.loss(w + metric(a))),
        direction,
        move,
        steps,
    )
    return metric(best)


def average_rise(
    rises: list[float], sizes: list[float] | None = None, *, places: np.ndarray | None = None
) -> Sharpness:
    """The mean of rises with its standard error.

    Args:
        rises: Rise of each sample or batch.
        sizes: Weight of each rise; all alike if ``None``.
        places: Places of the samples in their Markov chains, if any; see ``SampleMean.of``.

    Raises:
        InputError: there are no rises.
    """
    if not rises:
        raise InputError("the data has no batch: nothing to evaluate")
    values = torch.tensor(rises, dtype=torch.float64)
    weights = torch.tensor(sizes or [1] * len(rises), dtype=torch.float64)
    weights /= weights.sum()
    mean = weights @ values
    count = len(rises)
    squares = weights**2 @ (values - mean) ** 2
    effective = float(count)
    if places is not None:
        effective, _ = effective_count(values.numpy(), places)
    error = math.nan
    if count > 1:
        error = math.sqrt(float(squares) * count / (count - 1) * count / effective)
    return Sharpness(float(mean), error, tuple(rises), effective)


def _split(batches: Iterable[Batch], m: int | None) -> Iterator[Batch]:
    if m is not None and m < 1:
        raise InputError(f"m must be at least 1, not {m}")
    largest = 0
    for batch in batches:
        if m is None:
            yield batch
            continue
        size = examples_in(batch)
        if size is None:
            raise InputError(
                f"the batches cannot be divided into m = {m} examples each: their inputs are no "
                "tensors with one row for each example; leave m out to take them whole"
            )
        largest = max(largest, size)
        for first in range(0, size, m):
            yield take_batch(batch, slice(first, first + m), size)
    if m is not None and 0 < largest < m:
        raise InputError(
            f"the objective's batches have at most {largest} examples, fewer than m = {m}"
        )
