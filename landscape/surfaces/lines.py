"""The loss along a line or a curve in parameter space."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.objective.batches import Batch
from landscape.objective.losses import Loss
from landscape.posteriors import Posterior, PosteriorLoss
from landscape.posteriors.fingerprints import fingerprints
from landscape.results.resume import Entry, Store, Stored, member
from landscape.runtime import executors
from landscape.runtime.numbers import check_int
from landscape.runtime.progress import reporter
from landscape.surfaces import planes
from landscape.surfaces.curves import CURVES, Curve, CurveKind, check_training, lowest_curve
from landscape.surfaces.grid import MOST_POINTS, axis, check_reach
from landscape.surfaces.losses import Losses, Progress
from landscape.surfaces.planes import PLANES, PlaneKind

LineKind = PlaneKind | CurveKind
LINES = (*PLANES, *CURVES)

_LARGEST = 1 << 24
"""Largest number of numbers of a bend in a store: each write rewrites the whole run file."""


@dataclass(frozen=True)
class Line:
    """Loss and accuracy along a line or a curve.

    Attributes:
        x: Positions, shape (T,): Euclidean length along a line, t in [0, 1] along a curve.
        loss: Mean loss, shape (T,). NaN and infinity are kept.
        accuracy: Accuracy, shape (T,).
        kind: One of ``LINES``, its name in a run file.
        axis: Meaning of x, in words.
    """

    x: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    kind: LineKind
    axis: str

    @property
    def barrier(self) -> float:
        """The largest loss less that of the higher of the two ends, in nats."""
        return float(self.loss.max()) - float(max(self.loss[0], self.loss[-1]))


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
    name: str | None = None,
    executor: Executor | None = None,
    progress: bool | Progress | None = None,
) -> Line:
    """Evaluate the mean loss along a line through a posterior, or a curve between two samples.

    Args:
        posterior: The posterior.
        data: The data to evaluate on, as batches; a curve is also trained on them.
        kind: A straight line: ``"samples"`` from the first sample to the second, ``"pca"`` along
            the samples' first principal direction, ``"random"`` along a filter-normalised direction
            or ``"eigenvectors"`` along the Hessian's first eigenvector through the posterior's
            mean. Or a curve of low loss from the first sample to the second, ``"bezier"`` or
            ``"chain"``; see ``lowest_curve``.
        points: Number T of points, at least 2.
        samples: Number of samples that the extent of a line covers, and that ``"pca"`` is made of.
        margin: Reach of a line beyond the samples' projections, as a share of their range. A curve
            takes neither this nor ``extent``.
        extent: Half the length of a line around its origin, in place of ``margin``. The default is
            the norm of the posterior's mean if the direction is random or there is one sample.
        steps: Number of training steps of a curve.
        learning_rate: Learning rate of a curve.
        loss: The loss; see ``losses.Criterion``.
        seed: Seed of the samples, a random direction and the training of a curve.
        store: A run to write the line to: a curve as soon as it is trained, finished points once a
            second, and all that is finished when the work is stopped. Points that it holds of the
            same request are taken over, and a curve is then not trained again; those of another
            request are replaced. See ``results.resume``.
        name: Name of the line in the store, ``lines/<name>``; by default its kind.
        executor: The executor that evaluates the points; see ``executors.run``. This process if
            ``None``.
        progress: Whether to show progress; by default only in a terminal or a notebook. Or a
            function that gets (number finished, T) after each point.

    Returns:
        The line.

    Raises:
        InputError: a setting is out of range, there are no data, a sample is not finite, the
            samples span no line, or they keep running statistics of their own.
        LandscapeError: the loss of a curve is not finite, or a worker died.
    """
    if kind not in LINES:
        raise InputError(f"unknown line '{kind}'; known: {', '.join(LINES)}")
    points = check_int(points, "the number of points", least=2)
    if points > MOST_POINTS:
        raise InputError(f"{points:,} points are more than {MOST_POINTS:,}")
    samples = check_int(samples, "the number of samples")
    seed = check_int(seed, "the seed", least=None)
    check_reach(margin, extent)
    if kind in CURVES:
        if margin or extent is not None:
            raise InputError(f"the curve '{kind}' ends at two samples: no margin and no extent")
        check_training(kind, 1, steps, learning_rate)
    posterior.check_any_weights()
    group = member("lines", kind if name is None else name)
    mean_loss = PosteriorLoss(posterior, data, loss)
    count = posterior.num_available(max(samples, 2))
    weights = posterior.sample(count, seed)
    planes.check_finite(weights)
    if kind in ("samples", *CURVES) and count < 2:
        raise InputError("a line between samples needs two; use kind='random'")
    settings: dict[str, object] = {"kind": kind, "points": points, "seed": seed}
    settings["parameters"] = posterior.space.names
    attributes: dict[str, str | int | float] = {"kind": kind, "seed": seed}
    if kind in ("samples", *CURVES):
        attributes["distance"] = float((weights[1] - weights[0]).double().norm())
    path: Curve | _Straight
    if kind == "bezier" or kind == "chain":
        x, path = np.linspace(0, 1, points), Curve(weights[:2], kind)  # the bend comes later
        about = "t, along a curve of low loss from sample 0 to sample 1"
        settings |= {"steps": steps, "learning_rate": learning_rate}
    else:
        settings |= {"margin": margin, "extent": extent}
        if kind != "samples":
            settings["samples"] = posterior.num_available(samples)
        path, about = _straight(kind, mean_loss, weights, seed)
        if extent is None and (kind == "random" or count == 1):
            extent = float(posterior.mean.norm())
        reach = weights[:2] if kind == "samples" else weights
        along = (reach - path.origin).double() @ path.direction.double()
        x = axis(along, points, margin, extent)
    attributes["x_axis"] = about
    entry = Entry.of(store, group, settings, lambda: fingerprints(mean_loss))
    stored, losses, bends = entry.read(), Losses(points), None
    with suppress(KeyError):  # a file from anybody may lack any variable
        if stored is not None:
            losses.take_over(stored)
            bends = _bends(stored, posterior.space.size) if kind in CURVES else None
    if kind in CURVES and bends is None and len(losses.missing):
        losses = Losses(points)  # the points of an unknown curve are not those of a new one

    def write() -> None:
        variables = {"x": x, **losses.variables()}
        if bends is not None and bends.numel() <= _LARGEST:
            variables["bends"] = bends.cpu().numpy()
        entry.write(variables, attributes)

    if isinstance(path, Curve) and len(losses.missing):
        if bends is None:
            curve = lowest_curve(
                mean_loss,
                weights[0],
                weights[1],
                kind=path.kind,
                steps=steps,
                learning_rate=learning_rate,
                seed=seed,
            )
            bends = curve.knots[1:-1].float()
            write()
        # In the precision of a store: all points are on one curve whenever they are evaluated.
        path = Curve(torch.cat([weights[:1], bends.to(weights), weights[1:2]]), path.kind)
    report = reporter(progress, "loss along a line")
    results = executors.run(_point, (mean_loss, path), x[losses.missing].tolist(), executor)
    losses.complete(results, write, report)
    return Line(x, losses.loss, losses.accuracy, kind, about)


@dataclass(frozen=True)
class _Straight:
    """origin + t * direction, of length 1."""

    origin: Tensor
    direction: Tensor

    def at(self, t: float) -> Tensor:
        """The weights at t, shape (P,)."""
        return self.origin + t * self.direction


def _bends(stored: Stored, size: int) -> Tensor | None:
    """The bend of a stored curve, shape (1, size), if it has one that can be used.

    Raises:
        KeyError: it has none, as a curve of a large network.
    """
    bends = stored["bends"]
    usable = bends.shape == (1, size) and np.isfinite(bends).all()
    return torch.from_numpy(bends) if usable else None


def _point(shared: tuple[PosteriorLoss, Curve | _Straight], t: float) -> np.ndarray:
    """Loss and accuracy at one point, shape (2,): the unit of work."""
    loss, path = shared
    evaluation = loss.evaluate(path.at(t))
    return np.array([evaluation.loss, evaluation.accuracy])


def _straight(
    kind: PlaneKind, loss: PosteriorLoss, weights: Tensor, seed: int
) -> tuple[_Straight, str]:
    """The line, and its direction in words."""
    if kind == "samples":
        along = weights[1] - weights[0]
        if not bool(along.norm() > 0):
            raise InputError("the first two samples are the same: there is no line between them")
        return _Straight(weights[0], along / along.norm()), "from sample 0 towards sample 1"
    mean = loss.posterior.mean
    if len(mean) == 1:  # there is one line, and no plane has it for an axis
        return _Straight(mean, torch.ones_like(mean)), "the one inferred parameter"
    plane = planes.of_kind(kind, loss, weights, seed)
    return _Straight(plane.origin, plane.basis[0]), plane.axes[0]
