"""The loss over a grid of points of a plane."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from landscape import units
from landscape.errors import InputError
from landscape.files import Store, stored
from landscape.objective import Batch, Loss
from landscape.posteriors import Posterior
from landscape.posteriors.loss import PosteriorLoss
from landscape.surfaces import plane as planes
from landscape.surfaces.plane import PLANES, Plane, PlaneKind

_SECONDS = 1.0  # between two writes of a surface: a row of a small network takes less than a write


@dataclass(frozen=True)
class Surface:
    """Loss and accuracy on a grid of a plane, and where the posterior's samples are.

    Attributes:
        x: Coordinates along the first direction, shape (X,), Euclidean length in R^P.
        y: Along the second, shape (Y,).
        loss: Mean loss, shape (Y, X): ``loss[i, j]`` is at (x[j], y[i]). NaN and infinity are kept.
        accuracy: Shape (Y, X).
        sample_x: Projection of each sample, shape (S,).
        sample_y: Projection of each sample, shape (S,).
        sample_off_plane: Distance of each sample to the plane, shape (S,).
        sample_loss: Loss of each sample itself, which is not the surface's value below it unless
            the sample is on the plane; shape (S,).
        plane: The plane.
        variance_share: Share of the samples' variance within the plane.
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

    def variables(self) -> dict[str, np.ndarray]:
        """The arrays by the names that a run file has for them."""
        names = ("x", "y", "loss", "accuracy", "sample_x", "sample_y")
        return {name: getattr(self, name) for name in (*names, "sample_off_plane", "sample_loss")}


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
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Surface:
    """Evaluate the mean loss on a plane through a posterior.

    Args:
        posterior: What to sample from. A point posterior has one sample.
        data: The fixed set to evaluate on, as batches.
        plane: ``"samples"`` through the first three samples; ``"pca"`` along the principal
            directions of all of them; ``"random"`` along two filter-normalised directions through
            the posterior's mean; ``"eigenvectors"`` along those of the Hessian's two largest
            eigenvalues there; or a plane of your own.
        shape: Points along (y, x), each at least 2.
        samples: S, how many samples to place; the first ones that ``measure`` draws of the seed.
        margin: How far the grid reaches beyond the samples' projections, as a share of their range.
        extent: Half the width of the grid around the origin, in place of ``margin``; by default a
            random plane reaches as far as the norm of the posterior's mean, and so does one
            along eigenvectors of a posterior with one sample.
        loss: See ``objective.summed_loss``.
        seed: Of the samples and the random directions.
        store: A run to write the surface to, as ``surfaces/<kind>``: finished rows once a second,
            and whatever is finished when the work is stopped. Rows that it holds of the same
            surface are taken over.
        executor: Where rows are evaluated; see ``units.run``. Here if ``None``.
        progress: Called after each row with (number of rows finished, number of rows).

    Returns:
        The surface.

    Raises:
        InputError: a setting is out of range, there is no data, or the samples span no plane.
        LandscapeError: a worker died.
    """
    if len(shape) != 2 or min(shape) < 2:
        raise InputError(f"a surface's shape is (points along y, points along x), not {shape}")
    if not margin >= 0:
        raise InputError(f"the margin of a surface must not be negative, not {margin}")
    if isinstance(plane, str) and plane not in PLANES:
        raise InputError(f"unknown plane '{plane}'; known: {', '.join(PLANES)}, or a Plane")
    mean_loss = PosteriorLoss(posterior, data, loss)
    count = posterior.at_most(samples)
    weights = posterior.sample(count, seed)
    chosen = plane if isinstance(plane, Plane) else planes.of_kind(plane, mean_loss, weights, seed)
    projection = chosen.project(weights)
    if extent is None and (plane == "random" or (plane == "eigenvectors" and count == 1)):
        extent = float(posterior.mean.norm())
    own = dict(units.run(PosteriorLoss.evaluate, mean_loss, list(weights), executor))
    result = Surface(
        x=axis(projection.coordinates[:, 0], shape[1], margin, extent),
        y=axis(projection.coordinates[:, 1], shape[0], margin, extent),
        loss=np.full(shape, np.nan),
        accuracy=np.full(shape, np.nan),
        sample_x=projection.coordinates[:, 0].cpu().numpy(),
        sample_y=projection.coordinates[:, 1].cpu().numpy(),
        sample_off_plane=projection.off_plane.cpu().numpy(),
        sample_loss=np.array([own[index].loss for index in range(count)]),
        plane=chosen,
        variance_share=planes.variance_share(chosen, weights),
    )
    request = json.dumps({"shape": list(shape), "seed": seed, "parameters": posterior.space.names})
    finished = _take_over(result, store, request)
    missing = np.flatnonzero(~finished)
    saved = time.monotonic()
    rows = units.run(_row, (mean_loss, chosen, result.x), result.y[missing].tolist(), executor)
    try:
        for position, (result.loss[missing[position]], result.accuracy[missing[position]]) in rows:
            finished[missing[position]] = True
            if store is not None and time.monotonic() - saved > _SECONDS:
                _write(store, result, finished, seed, request)
                saved = time.monotonic()
            if progress is not None:
                progress(int(finished.sum()), shape[0])
    finally:  # whatever stopped the rest
        if store is not None and finished.any():
            _write(store, result, finished, seed, request)
    return result


def _row(shared: tuple[PosteriorLoss, Plane, np.ndarray], y: float) -> np.ndarray:
    """Loss and accuracy along x at one y, shape (2, X): the unit of work."""
    loss, plane, x = shared
    found = [loss.evaluate(plane.at(float(each), y)) for each in x]
    return np.array([[each.loss for each in found], [each.accuracy for each in found]])


def _take_over(result: Surface, store: Store | None, request: str) -> np.ndarray:
    """Put the rows that a store holds of this very surface into it; which they are, shape (Y,)."""
    found = stored(store, f"surfaces/{result.plane.kind}", request)
    finished = np.zeros(len(result.y), dtype=bool)
    # The settings do not name the posterior, the data and the plane; these give them away.
    if found is None or not all(
        getattr(result, name).shape == found[name].shape
        and np.allclose(getattr(result, name), found[name], rtol=1e-4, equal_nan=True)
        for name in ("x", "y", "sample_x", "sample_y", "sample_loss")
    ):
        return finished
    finished |= found["finished"].astype(bool)
    for name in ("loss", "accuracy"):
        getattr(result, name)[finished] = found[name][finished]
    return finished


def _write(store: Store, result: Surface, finished: np.ndarray, seed: int, request: str) -> None:
    attributes: dict[str, str | int | float] = {
        "kind": result.plane.kind,
        "x_axis": result.plane.axes[0],
        "y_axis": result.plane.axes[1],
        "seed": seed,
        "request": request,
    }
    if not np.isnan(result.variance_share):
        attributes["variance_share"] = result.variance_share
    variables = {**result.variables(), "finished": finished}
    store.write(f"surfaces/{result.plane.kind}", variables, attributes)


def axis(coordinates: Tensor, points: int, margin: float, extent: float | None) -> np.ndarray:
    """Evenly spaced points over what samples project to and a margin, or from -extent to extent.

    Raises:
        InputError: the extent is not positive, or the samples have no spread.
    """
    if extent is not None:
        if not 0 < extent < np.inf:
            raise InputError(f"the extent of a surface must be positive, not {extent}")
        return np.linspace(-extent, extent, points)
    low, high = float(coordinates.min()), float(coordinates.max())
    if not high > low:
        raise InputError("the samples have no spread along an axis of this plane: give an extent")
    reach = margin * (high - low)
    return np.linspace(low - reach, high + reach, points)
