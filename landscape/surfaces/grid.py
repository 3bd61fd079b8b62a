"""The loss over a grid of points of a plane."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from landscape.errors import InputError
from landscape.objective.batches import Batch
from landscape.objective.checks import check_same_loss
from landscape.objective.losses import Loss
from landscape.posteriors import Posterior, PosteriorLoss, Trajectory
from landscape.posteriors.fingerprints import fingerprints
from landscape.results.resume import Entry, Store, member
from landscape.runtime import executors
from landscape.runtime.numbers import check_int
from landscape.runtime.progress import reporter
from landscape.surfaces import planes
from landscape.surfaces.losses import Losses, Progress
from landscape.surfaces.planes import PLANES, Plane, PlaneKind

MOST_POINTS = 10_000_000
"""Largest number of points of a surface or a line; a reader takes no larger file."""
_TOGETHER = 64
"""Largest number of points that are evaluated in one pass over the data."""
_BYTES = 1 << 28
"""Largest number of bytes of their weights."""


@dataclass(frozen=True)
class Surface:
    """Loss and accuracy on a grid of a plane, and where the posterior's samples are.

    Attributes:
        x: Coordinates along the first direction, shape (X,), Euclidean length in R^P.
        y: Coordinates along the second direction, shape (Y,).
        loss: Mean loss, shape (Y, X): ``loss[i, j]`` is at (x[j], y[i]). NaN and infinity are kept.
        accuracy: Accuracy, shape (Y, X).
        sample_x: Coordinate of each sample along the first direction, shape (S,).
        sample_y: Coordinate of each sample along the second direction, shape (S,).
        sample_off_plane: Distance of each sample to the plane, shape (S,).
        sample_loss: Loss of each sample itself, shape (S,). It is the surface's value below the
            sample only if the sample is on the plane.
        plane: The plane.
        variance_share: Share of the samples' variance within the plane.
        sample_count: Number of steps, or of epochs, before each point of a ``Trajectory``, (S,).
    """

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    sample_x: np.ndarray
    sample_y: np.ndarray
    sample_off_plane: np.ndarray
    sample_loss: np.ndarray
    plane: Plane
    variance_share: float
    sample_count: np.ndarray | None = None

    def variables(self) -> dict[str, np.ndarray]:
        """The arrays by their names in a run file."""
        names: tuple[str, ...] = ("x", "y", "loss", "accuracy", "sample_x", "sample_y")
        names += ("sample_off_plane", "sample_loss", "sample_count")
        named = {name: getattr(self, name) for name in names}
        return {name: values for name, values in named.items() if values is not None}

    def attributes(self, seed: int) -> dict[str, str | int | float]:
        """Text and numbers about the surface, for a run file."""
        about: dict[str, str | int | float] = {"kind": self.plane.kind, "seed": seed}
        about |= {"x_axis": self.plane.axes[0], "y_axis": self.plane.axes[1]}
        if not np.isnan(self.variance_share):
            about["variance_share"] = self.variance_share
        return about


def surface(
    posterior: Posterior,
    data: Iterable[Batch],
    *,
    plane: PlaneKind | Plane = "samples",
    shape: tuple[int, int] = (41, 41),
    samples: int = 10,
    margin: float = 0.5,
    extent: float | None = None,
    loss: Loss = "cross_entropy",
    seed: int = 0,
    store: Store | None = None,
    name: str | None = None,
    executor: Executor | None = None,
    progress: bool | Progress | None = None,
) -> Surface:
    """Evaluate the mean loss on a plane through a posterior.

    Args:
        posterior: The posterior. A point posterior has one sample.
        data: The data to evaluate on, as batches.
        plane: ``"samples"`` through the first three samples; ``"pca"`` along the principal
            directions of all of them; ``"random"`` along two filter-normalised directions through
            the posterior's mean; ``"eigenvectors"`` along the eigenvectors of the Hessian's two
            largest eigenvalues there; or a plane of your own, of the kind ``"own"``.
        shape: Number of points along (y, x), each at least 2.
        samples: Number S of samples to place: the first ones that ``measure`` draws of the seed;
            all points of a ``Trajectory``.
        margin: Reach of the grid beyond the samples' projections, as a share of their range.
        extent: Half the width of the grid around the origin, in place of ``margin``. The default is
            the norm of the posterior's mean for a random plane, and for a plane of eigenvectors if
            there is one sample.
        loss: The loss; see ``losses.Criterion``.
        seed: Seed of the samples and the random directions.
        store: A run to write the surface to: finished rows once a second, and all that is finished
            when the work is stopped. Rows that it holds of the same request are taken over; those
            of another request are replaced. See ``results.resume``.
        name: Name of the surface in the store, ``surfaces/<name>``; by default its kind.
        executor: The executor that evaluates the rows; see ``executors.run``. This process if
            ``None``.
        progress: Whether to show progress; by default only in a terminal or a notebook. Or a
            function that gets (number of rows finished, number of rows) after each row.

    Returns:
        The surface.

    Raises:
        InputError: a setting is out of range, there are no data, the data change at each pass, a
            sample is not finite, the samples span no plane, or they keep running statistics of
            their own.
        LandscapeError: a worker died.
    """
    count = posterior.num_available(check_int(samples, "the number of samples"))
    seed = check_int(seed, "the seed", least=None)
    shape = check_surface(plane, shape, count, margin, extent)
    posterior.check_any_weights()
    kind = "own" if isinstance(plane, Plane) else plane
    group = member("surfaces", kind if name is None else name)
    settings = {"shape": list(shape), "samples": count, "margin": margin, "extent": extent}
    settings |= {"kind": kind, "seed": seed, "parameters": posterior.space.names}
    mean_loss = PosteriorLoss(posterior, data, loss)
    weights = posterior.sample(count, seed)
    planes.check_finite(weights)
    chosen = (
        _given(plane, weights)
        if isinstance(plane, Plane)
        else planes.of_kind(plane, mean_loss, weights, seed)
    )
    own = {"origin": chosen.origin, "basis": chosen.basis} if kind == "own" else {}
    if extent is None and (plane == "random" or (plane == "eigenvectors" and count == 1)):
        extent = float(posterior.mean.norm())
    x, y = (
        axis(along, points, margin, extent)
        for along, points in zip(
            chosen.project(weights).coordinates.T, reversed(shape), strict=True
        )
    )
    entry = Entry.of(store, group, settings, lambda: fingerprints(mean_loss, **own))
    losses = Losses(*shape)
    stored, sample_loss = entry.read(), np.empty(0)
    with suppress(KeyError):  # a file from anybody may lack any variable
        if stored is not None:
            losses.take_over(stored)
            sample_loss = stored["sample_loss"]
    if len(sample_loss) != count:
        sample_loss = sample_losses(mean_loss, weights, executor)
    result = place_samples(chosen, (x, y), losses, weights, sample_loss)
    attributes = result.attributes(seed)
    if isinstance(posterior, Trajectory):
        result = replace(result, sample_count=np.array(posterior.counts))
        attributes["unit"] = posterior.unit

    def write() -> None:
        entry.write({**result.variables(), "finished": losses.finished}, attributes)

    evaluate_rows(mean_loss, result, losses, write, executor, progress)
    return result


def place_samples(
    plane: Plane,
    axes: tuple[np.ndarray, np.ndarray],
    losses: Losses,
    weights: Tensor,
    sample_loss: np.ndarray,
) -> Surface:
    """The surface of a grid with the projections of samples.

    Args:
        plane: The plane.
        axes: Coordinates x and y of the grid.
        losses: Losses of the grid, which may still be filled.
        weights: The samples, shape (S, P).
        sample_loss: Their own losses, shape (S,).
    """
    projection = plane.project(weights)
    return Surface(
        x=axes[0],
        y=axes[1],
        loss=losses.loss,
        accuracy=losses.accuracy,
        sample_x=projection.coordinates[:, 0].cpu().numpy(),
        sample_y=projection.coordinates[:, 1].cpu().numpy(),
        sample_off_plane=projection.off_plane.cpu().numpy(),
        sample_loss=sample_loss,
        plane=plane,
        variance_share=planes.variance_share(plane, weights),
    )


def evaluate_rows(
    mean_loss: PosteriorLoss,
    surface: Surface,
    losses: Losses,
    write: Callable[[], None],
    executor: Executor | None,
    progress: bool | Progress | None,
) -> None:
    """Evaluate the rows of a surface that ``losses`` lacks, and write them as they come."""
    report = reporter(progress, "loss surface")
    missing = surface.y[losses.missing].tolist()
    rows = executors.run(_row, (mean_loss, surface.plane, surface.x), missing, executor)
    losses.complete(rows, write, report)


def sample_losses(loss: PosteriorLoss, weights: Tensor, executor: Executor | None) -> np.ndarray:
    """The loss of each sample, shape (S,), of weights (S, P).

    Raises:
        InputError: a second pass over the data gives the first sample another loss.
    """
    twice = [*weights, weights[0]]
    evaluations = dict(executors.run(PosteriorLoss.evaluate, loss, twice, executor))
    values = np.array([evaluations[index].loss for index in range(len(twice))])
    check_same_loss(float(values[0]), float(values[-1]), weights.dtype)
    return values[:-1]


def _given(plane: Plane, weights: Tensor) -> Plane:
    """The user's plane in the type and on the device of the weights (S, P)."""
    if len(plane.origin) != weights.shape[1]:
        raise InputError(
            f"the plane is in {len(plane.origin)} dimensions and the posterior in "
            f"{weights.shape[1]}"
        )
    origin, basis = plane.origin.to(weights), plane.basis.to(weights)
    return replace(plane, origin=origin, basis=basis, kind="own")


def _row(shared: tuple[PosteriorLoss, Plane, np.ndarray], y: float) -> np.ndarray:
    """Loss and accuracy along x at one y, shape (2, X): the unit of work."""
    loss, plane, x = shared
    together = max(1, min(_TOGETHER, _BYTES // plane.origin.nbytes))
    pieces = np.array_split(x, math.ceil(len(x) / together))
    points = [point for piece in pieces for point in loss.evaluate_each(plane.row(piece, y))]
    return np.array([[point.loss for point in points], [point.accuracy for point in points]])


def check_surface(
    plane: PlaneKind | Plane,
    shape: tuple[int, int],
    samples: int,
    margin: float,
    extent: float | None,
) -> tuple[int, int]:
    """Check the settings of a surface without a product or a pass over the data.

    Args:
        plane: The plane, as for ``surface``.
        shape: The shape, as for ``surface``.
        samples: Number of samples to place on the plane.
        margin: The margin, as for ``surface``.
        extent: The extent, as for ``surface``.

    Returns:
        The shape as whole numbers.

    Raises:
        InputError: one is out of range.
    """
    try:
        rows, columns = (check_int(points, "the number of points", least=2) for points in shape)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"a surface's shape is (points along y, points along x), at least 2 each, not {shape}"
        ) from error
    if rows * columns > MOST_POINTS:
        raise InputError(f"{rows:,} x {columns:,} points are more than {MOST_POINTS:,}")
    check_reach(margin, extent)
    if not isinstance(plane, Plane) and not (isinstance(plane, str) and plane in PLANES):
        raise InputError(
            f"unknown plane {str(plane)[:50]!r}; known: {', '.join(PLANES)}, or a Plane, as "
            "through_samples makes of three samples"
        )
    check_int(samples, "the number of samples")
    if samples < 3 and plane in ("samples", "pca"):
        raise InputError(f"the plane '{plane}' needs three samples, not {samples}; use 'random'")
    return rows, columns


def check_reach(margin: float, extent: float | None) -> None:
    """Check the reach of a surface or a line.

    Raises:
        InputError: one of the two is out of range.
    """
    if not 0 <= margin < np.inf:
        raise InputError(f"the margin must be finite and not negative, not {margin}")
    if extent is not None and not 0 < extent < np.inf:
        raise InputError(f"the extent must be finite and positive, not {extent}")


def axis(coordinates: Tensor, points: int, margin: float, extent: float | None) -> np.ndarray:
    """Evenly spaced points over the samples' coordinates and a margin, or over [-extent, extent].

    Raises:
        InputError: margin or extent is out of range, or the samples have no spread.
    """
    check_reach(margin, extent)
    low, high = float(coordinates.min()), float(coordinates.max())
    if extent is not None:
        low, high = -extent, extent
    elif not high > low:
        raise InputError("the samples have no spread along an axis of this plane: give an extent")
    else:
        reach = margin * (high - low)
        low, high = low - reach, high + reach
    if not high - low < np.inf:
        raise InputError("the points would lie at infinity: use a smaller margin or extent")
    return np.linspace(low, high, points)
