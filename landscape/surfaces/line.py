"""The loss along a line or a curve in parameter space."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from landscape import units
from landscape.errors import InputError
from landscape.files import Store
from landscape.objective import Batch, Loss
from landscape.posteriors import Posterior
from landscape.posteriors.loss import PosteriorLoss
from landscape.surfaces import plane as planes
from landscape.surfaces.curve import CURVES, CurveKind, lowest_curve
from landscape.surfaces.grid import axis
from landscape.surfaces.plane import PLANES, PlaneKind

LineKind = PlaneKind | CurveKind
LINES = (*PLANES, *CURVES)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Line:
    """Loss and accuracy along a line or a curve.

    Attributes:
        x: Positions, shape (T,): Euclidean length along a line, t in [0, 1] along a curve.
        loss: Mean loss, shape (T,). NaN and infinity are kept.
        accuracy: Shape (T,).
        kind: One of ``LINES``; the name that a run file has for it.
        axis: What x is, in words.
    """

    x: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    kind: LineKind
    axis: str

    @property
    def barrier(self) -> float:
        """How much higher the loss gets than at the higher of the two ends, in nats."""
        return float(self.loss.max() - max(self.loss[0], self.loss[-1]))


def line(
    posterior: Posterior,
    data: Iterable[Batch],
    *,
    kind: LineKind = "samples",
    points: int = 51,
    samples: int = 10,
    margin: float = 0.0,
    extent: float | None = None,
    steps: int = 500,
    learning_rate: float = 0.02,
    loss: Loss = "cross_entropy",
    seed: int = 0,
    store: Store | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Line:
    """Evaluate the mean loss along a line through a posterior, or a curve between two samples.

    Args:
        posterior: What to sample from.
        data: The fixed set to evaluate on, as batches; a curve is also trained on it.
        kind: A straight line: ``"samples"`` from the first sample to the second, ``"pca"`` along
            the samples' first principal direction, ``"random"`` along a filter-normalised direction
            or ``"eigenvectors"`` along the Hessian's first eigenvector through the posterior's
            mean. Or a curve of low loss from the first sample to the second, ``"bezier"`` or
            ``"chain"``; see ``lowest_curve``.
        points: T, at least 2.
        samples: How many samples the extent of a line goes by, and ``"pca"`` its direction.
        margin: How far a line reaches beyond the samples' projections, as a share of their range.
        extent: Half the length of a line around its origin, in place of ``margin``; by default the
            norm of the posterior's mean where the direction is random, or there is one sample.
        steps: Of the training of a curve.
        learning_rate: Of the training of a curve.
        loss: See ``objective.summed_loss``.
        seed: Of the samples, a random direction and the training of a curve.
        store: A run to write the line to, as ``lines/<kind>``.
        executor: Where points are evaluated; see ``units.run``. Here if ``None``.
        progress: Called after each point with (number finished, T).

    Returns:
        The line.

    Raises:
        InputError: a setting is out of range, there is no data, or the samples span no line.
        LandscapeError: the loss of a curve is not finite, or a worker died.
    """
    if kind not in LINES:
        raise InputError(f"unknown line '{kind}'; known: {', '.join(LINES)}")
    if points < 2:
        raise InputError(f"a line needs at least 2 points, not {points}")
    if not margin >= 0:
        raise InputError(f"the margin of a line must not be negative, not {margin}")
    mean_loss = PosteriorLoss(posterior, data, loss)
    count = posterior.at_most(max(samples, 2))
    weights = posterior.sample(count, seed)
    if kind in ("samples", *CURVES) and count < 2:
        raise InputError("a line between samples needs two; use kind='random'")
    if kind == "bezier" or kind == "chain":
        curve = lowest_curve(
            mean_loss,
            weights[0],
            weights[1],
            kind=kind,
            steps=steps,
            learning_rate=learning_rate,
            seed=seed,
        )
        x, at = np.linspace(0, 1, points), curve.at
        about = "t, along a curve of low loss from sample 0 to sample 1"
    else:
        origin, direction, about = _straight(kind, mean_loss, weights, seed)
        if extent is None and (kind == "random" or count == 1):
            extent = float(posterior.mean.norm())
        reach = weights[:2] if kind == "samples" else weights
        x = axis((reach - origin).double() @ direction.double(), points, margin, extent)

        def at(t: float) -> Tensor:
            return origin + t * direction

    losses, accuracies = np.full((2, points), np.nan)
    found = units.run(PosteriorLoss.evaluate, mean_loss, (at(float(t)) for t in x), executor)
    for done, (position, evaluation) in enumerate(found):
        losses[position], accuracies[position] = evaluation.loss, evaluation.accuracy
        if progress is not None:
            progress(done + 1, points)
    result = Line(x, losses, accuracies, kind, about)
    if store is not None:
        variables = {"x": x, "loss": losses, "accuracy": accuracies}
        store.write(f"lines/{kind}", variables, {"kind": kind, "x_axis": about, "seed": seed})
    return result


def _straight(
    kind: PlaneKind, loss: PosteriorLoss, weights: Tensor, seed: int
) -> tuple[Tensor, Tensor, str]:
    """Origin, unit direction, and what it is in words."""
    if kind == "samples":
        along = weights[1] - weights[0]
        if not bool(along.norm() > 0):
            raise InputError("the first two samples are the same: there is no line between them")
        return weights[0], along / along.norm(), "from sample 0 towards sample 1"
    plane = planes.of_kind(kind, loss, weights, seed)
    return plane.origin, plane.basis[0], plane.axes[0]
