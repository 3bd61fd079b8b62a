"""The loss over a grid of points of a plane."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from landscape.errors import InputError
from landscape.files import Store
from landscape.objective import Batch, Loss, Objective
from landscape.posteriors import Posterior
from landscape.surfaces import plane as planes
from landscape.surfaces.plane import PLANES, Plane, PlaneKind


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
        store: A run to write the surface to, as ``surfaces/<kind>``.
        progress: Called with (number of points finished, number of points).

    Returns:
        The surface.

    Raises:
        InputError: a setting is out of range, there is no data, or the samples span no plane.
    """
    if len(shape) != 2 or min(shape) < 2:
        raise InputError(f"a surface's shape is (points along y, points along x), not {shape}")
    if not margin >= 0:
        raise InputError(f"the margin of a surface must not be negative, not {margin}")
    if isinstance(plane, str) and plane not in PLANES:
        raise InputError(f"unknown plane '{plane}'; known: {', '.join(PLANES)}, or a Plane")
    objective = Objective(posterior.space, data, loss)

    def at(w: Tensor) -> Objective:
        return objective.with_buffers(posterior.buffers(w))

    count = posterior.at_most(samples)
    weights = posterior.sample(count, seed)
    if isinstance(plane, Plane):
        chosen = plane
    elif plane == "samples":
        chosen = planes.through_samples(weights)
    elif plane == "pca":
        chosen = planes.principal(weights)
    elif plane == "random":
        chosen = planes.random(posterior.space, posterior.mean, seed)
    else:
        chosen = planes.eigenvectors(at(posterior.mean), posterior.mean, seed)
    projection = chosen.project(weights)
    if extent is None and (plane == "random" or (plane == "eigenvectors" and count == 1)):
        extent = float(posterior.mean.norm())
    x = _axis(projection.coordinates[:, 0], shape[1], margin, extent)
    y = _axis(projection.coordinates[:, 1], shape[0], margin, extent)

    def evaluate(w: Tensor) -> tuple[float, float]:
        found = at(w).evaluate(w)
        return found.loss, found.accuracy

    values = np.empty((*shape, 2))
    for index in np.ndindex(*shape):
        values[index] = evaluate(chosen.at(float(x[index[1]]), float(y[index[0]])))
        if progress is not None:
            progress(index[0] * shape[1] + index[1] + 1, shape[0] * shape[1])
    result = Surface(
        x=x,
        y=y,
        loss=values[..., 0],
        accuracy=values[..., 1],
        sample_x=projection.coordinates[:, 0].cpu().numpy(),
        sample_y=projection.coordinates[:, 1].cpu().numpy(),
        sample_off_plane=projection.off_plane.cpu().numpy(),
        sample_loss=np.array([evaluate(w)[0] for w in weights]),
        plane=chosen,
        variance_share=planes.variance_share(chosen, weights),
    )
    if store is not None:
        attributes: dict[str, str | int | float] = {
            "kind": chosen.kind,
            "x_axis": chosen.axes[0],
            "y_axis": chosen.axes[1],
            "seed": seed,
        }
        if not np.isnan(result.variance_share):
            attributes["variance_share"] = result.variance_share
        store.write(f"surfaces/{chosen.kind}", result.variables(), attributes)
    return result


def _axis(coordinates: Tensor, points: int, margin: float, extent: float | None) -> np.ndarray:
    if extent is not None:
        if not 0 < extent < np.inf:
            raise InputError(f"the extent of a surface must be positive, not {extent}")
        return np.linspace(-extent, extent, points)
    low, high = float(coordinates.min()), float(coordinates.max())
    if not high > low:
        raise InputError("the samples have no spread along an axis of this plane: give an extent")
    reach = margin * (high - low)
    return np.linspace(low - reach, high + reach, points)
