"""The loss along a line or a curve in parameter space."""

from __future__ import annotations

import json
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
from landscape.runtime import executors
from landscape.runtime.files import Store, Stored, member, stored
from landscape.runtime.numbers import check_int
from landscape.runtime.progress import reporter
from landscape.surfaces import plane as planes
from landscape.surfaces.curve import CURVES, Curve, CurveKind, check_training, lowest_curve
from landscape.surfaces.grid import MOST_POINTS, axis, check_reach
from landscape.surfaces.losses import Losses, Progress, close
from landscape.surfaces.plane import PLANES, PlaneKind

LineKind = PlaneKind | CurveKind
LINES = (*PLANES, *CURVES)

_LARGEST = 1 << 24  # numbers: a run file is written whole, and a reader takes no more than 1 GiB


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
        posterior: What to sample from.
        data: The fixed set to evaluate on, as batches; a curve is also trained on it.
        kind: A straight line: ``"samples"`` from the first sample to the second, ``"pca"`` along
            the samples' first principal direction, ``"random"`` along a filter-normalised direction
            or ``"eigenvectors"`` along the Hessian's first eigenvector through the posterior's
            mean. Or a curve of low loss from the first sample to the second, ``"bezier"`` or
            ``"chain"``; see ``lowest_curve``.
        points: T, at least 2.
        samples: How many samples the extent of a line goes by, and ``"pca"`` its direction.
        margin: How far a line reaches beyond the samples' projections, as a share of their range;
            a curve takes neither this nor ``extent``.
        extent: Half the length of a line around its origin, in place of ``margin``; by default the
            norm of the posterior's mean where the direction is random, or there is one sample.
        steps: Of the training of a curve.
        learning_rate: Of the training of a curve.
        loss: See ``losses.Criterion``.
        seed: Of the samples, a random direction and the training of a curve.
        store: A run to write the line to: a curve as soon as it is trained, finished points once a
            second, and whatever is finished when the work is stopped. What it holds of the same
            line is taken over, and a curve is then not trained again; another line of the same
            name is replaced.
        name: The store has the line as ``lines/<name>``; by default its kind.
        executor: Where points are evaluated; see ``executors.run``. Here if ``None``.
        progress: Whether to show progress; by default in a terminal or a notebook only. Or a
            function that gets (number finished, T) after each point; the two ends come first, as
            soon as a curve is trained.

    Returns:
        The line.

    Raises:
        InputError: a setting is out of range, there is no data, a sample is not finite, or the
            samples span no line.
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
    group = member("lines", kind if name is None else name)
    mean_loss = PosteriorLoss(posterior, data, loss)
    count = posterior.num_available(max(samples, 2))
    weights = posterior.sample(count, seed)
    planes.check_finite(weights)
    if kind in ("samples", *CURVES) and count < 2:
        raise InputError("a line between samples needs two; use kind='random'")
    names = posterior.space.names
    settings: dict[str, object] = {"points": points, "seed": seed, "parameters": names}
    path: Curve | _Straight
    if kind == "bezier" or kind == "chain":
        x, path = np.linspace(0, 1, points), Curve(weights[:2], kind)  # without its bend as yet
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
    losses = Losses(points)
    for index, values in executors.run(_point, (mean_loss, path), x[[0, -1]].tolist(), executor):
        losses.put(-index, values)  # the ends, by which a store's line is known
    result = Line(x, losses.loss, losses.accuracy, kind, about)
    kept = _Kept(store, group, result, losses, {"seed": seed, "request": json.dumps(settings)})
    if kind == "samples" or isinstance(path, Curve):
        kept.attributes["distance"] = float((weights[1] - weights[0]).double().norm())
    kept.take_over(posterior.space.size)
    if isinstance(path, Curve) and len(losses.missing):
        if kept.bends is None:
            path = lowest_curve(
                mean_loss,
                weights[0],
                weights[1],
                kind=path.kind,
                steps=steps,
                learning_rate=learning_rate,
                seed=seed,
            )
            kept.bends = path.knots[1:-1].float()
            kept.write()
        # As a store has them, so that all points are on one curve whenever they are evaluated.
        bends = kept.bends.to(weights)
        path = Curve(torch.cat([weights[:1], bends, weights[1:2]]), path.kind)
    report = reporter(progress, "loss along a line")
    if report is not None and not kept.taken_over:
        for done in (1, 2):
            report(done, points)
    found = executors.run(_point, (mean_loss, path), x[losses.missing].tolist(), executor)
    losses.complete(found, kept.write, report, written=kept.written)
    return result


@dataclass(frozen=True)
class _Straight:
    """origin + t * direction, of length 1."""

    origin: Tensor
    direction: Tensor

    def at(self, t: float) -> Tensor:
        """The weights at t, shape (P,)."""
        return self.origin + t * self.direction


@dataclass
class _Kept:
    """A line and what a store holds of it.

    Attributes:
        store: The store, if there is one.
        group: Where it has the line.
        line: The line.
        losses: Its losses, as far as they are evaluated.
        attributes: What is noted about it; ``request`` tells one line from another.
        bends: A curve's trained knots between its ends, in float32, shape (1, P), once known.
        written: How many points the store holds.
        taken_over: Whether any of them were there before.
    """

    store: Store | None
    group: str
    line: Line
    losses: Losses
    attributes: dict[str, str | int | float]
    bends: Tensor | None = None
    written: int = 0
    taken_over: bool = False

    def write(self) -> None:
        """Write the line as far as it is known."""
        if self.store is None:
            return
        variables = {"x": self.line.x, **self.losses.variables()}
        if self.bends is not None and self.bends.numel() <= _LARGEST:
            variables["bends"] = self.bends.cpu().numpy()
        about = {"kind": self.line.kind, "x_axis": self.line.axis, **self.attributes}
        self.store.write(self.group, variables, about)
        self.written = int(self.losses.finished.sum())

    def take_over(self, size: int) -> None:
        """Take what the store holds of this very line in R^size, whose ends are evaluated."""
        found = stored(self.store, self.group, str(self.attributes["request"]))
        with suppress(KeyError):  # a file from anybody may lack any variable
            if found is None or not self._is_of(found):
                return
            is_curve = self.line.kind in CURVES
            if is_curve:
                self.bends = _bends(found, size)
            # Points of a curve whose bend is not known are of no use beside those of another.
            if is_curve and self.bends is None and not found["finished"].all():
                return
            if close(found["x"], self.line.x):
                self.losses.take_over(found)
                self.written, self.taken_over = int(self.losses.finished.sum()), True

    def _is_of(self, found: Stored) -> bool:
        # The settings do not name the posterior and the data; the ends give them away.
        ends, distance = [0, -1], found.attributes.get("distance", 0.0)
        if len(found["finished"]) < 2 or not found["finished"][ends].all():
            return False
        if isinstance(distance, str) or not np.isclose(
            distance, self.attributes.get("distance", 0.0), rtol=1e-4
        ):
            return False
        return close(found["loss"][ends], self.losses.loss[ends])


def _bends(found: Stored, size: int) -> Tensor | None:
    """A stored curve's bend, shape (1, size), if it has a sound one."""
    try:
        bends = found["bends"]
    except KeyError:  # too large to be kept
        return None
    return (
        torch.from_numpy(bends) if bends.shape == (1, size) and np.isfinite(bends).all() else None
    )


def _point(shared: tuple[PosteriorLoss, Curve | _Straight], t: float) -> np.ndarray:
    """Loss and accuracy at one point, shape (2,): the unit of work."""
    loss, path = shared
    found = loss.evaluate(path.at(t))
    return np.array([found.loss, found.accuracy])


def _straight(
    kind: PlaneKind, loss: PosteriorLoss, weights: Tensor, seed: int
) -> tuple[_Straight, str]:
    """The line, and what its direction is in words."""
    if kind == "samples":
        along = weights[1] - weights[0]
        if not bool(along.norm() > 0):
            raise InputError("the first two samples are the same: there is no line between them")
        return _Straight(weights[0], along / along.norm()), "from sample 0 towards sample 1"
    mean = loss.posterior.mean
    if len(mean) == 1:  # no plane has this line for an axis, and there is no other
        return _Straight(mean, torch.ones_like(mean)), "the one random parameter"
    plane = planes.of_kind(kind, loss, weights, seed)
    return _Straight(plane.origin, plane.basis[0]), plane.axes[0]
