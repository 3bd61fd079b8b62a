"""Sharpness: how much the loss rises around weights, in the mean and in the worst case."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.curvature.sharpness.ball import finite_weights, make_ball, worst_step
from landscape.errors import InputError
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
    at = finite_weights(objective, w)
    ball = make_ball(at, radius, "l2", adaptive=adaptive, steps=steps)
    generator = torch.Generator(at.device).manual_seed(seed)
    rises, sizes = [], []
    if m is not None and objective.criterion.is_of_batch:
        raise InputError("a loss of whole batches takes them as they are given: leave m out")
    for batch in _split(objective.pairs(), m):
        part = objective.on(objective.space, [batch])
        step = worst_step(part, at, ball, steps, generator)
        rises.append(float(part.loss(at + step)) - float(part.loss(at)))
        sizes.append(float(objective.criterion.weight(*batch)))
    return average_rise(rises, sizes)


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
