"""The loss on one plane through several posteriors of one network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace

import torch

from landscape.errors import InputError
from landscape.objective.batches import Batch
from landscape.objective.losses import Loss
from landscape.posteriors import Posterior, PosteriorLoss
from landscape.posteriors.fingerprints import (
    digest_of,
    fingerprints,
    network_fingerprint,
    weights_fingerprint,
)
from landscape.results.resume import Entry, Store, member
from landscape.runtime.numbers import check_int
from landscape.surfaces import planes
from landscape.surfaces.grid import (
    Surface,
    axis,
    check_surface,
    evaluate_rows,
    place_samples,
    sample_losses,
)
from landscape.surfaces.losses import Losses, Progress
from landscape.surfaces.planes import SHARED_PLANES, Plane, SharedKind


def shared_surface(
    posteriors: Sequence[Posterior],
    data: Iterable[Batch],
    *,
    plane: SharedKind | Plane = "shared",
    shape: tuple[int, int] = (41, 41),
    samples: int = 10,
    margin: float = 0.5,
    extent: float | None = None,
    loss: Loss = "cross_entropy",
    seed: int = 0,
    stores: Sequence[Store] | None = None,
    name: str | None = None,
    executor: Executor | None = None,
    progress: bool | Progress | None = None,
) -> list[Surface]:
    """Evaluate the mean loss on one plane for several posteriors of one network.

    The grid is evaluated once. Each surface has the same plane, grid and losses, and the samples of
    its own posterior with their distance to the plane.

    Args:
        posteriors: Two posteriors or more, over the same parameters of the same network. Parameters
            that are not inferred have to be equal.
        data: The data to evaluate on, as batches.
        plane: ``"shared"`` along the two principal directions of all samples together; ``"means"``
            through the posteriors' means, see ``planes.through_means``; or a plane of your own.
        shape: Number of points along (y, x), each at least 2.
        samples: Number of samples of each posterior to place.
        margin: Reach of the grid beyond the projections of all samples, as a share of their range.
        extent: Half the width of the grid around the origin, in place of ``margin``.
        loss: The loss; see ``losses.Criterion``.
        seed: Seed of the samples.
        stores: A run for each posterior to write its surface to. Rows that the first one holds of
            the same request are taken over. See ``results.resume``.
        name: Name of the surfaces in the stores; by default their kind.
        executor: The executor that evaluates the rows; see ``executors.run``. This process if
            ``None``.
        progress: Whether to show progress, or a function, as for ``surface``.

    Returns:
        A surface for each posterior, in their order.

    Raises:
        InputError: the posteriors are not of one network, a setting is out of range, the samples
            span no plane, or they keep running statistics of their own.
        LandscapeError: a worker died.
    """
    posteriors = list(posteriors)
    _check_together(posteriors)
    if stores is not None and len(stores) != len(posteriors):
        raise InputError(f"{len(stores)} stores do not fit {len(posteriors)} posteriors")
    if not isinstance(plane, Plane) and plane not in SHARED_PLANES:
        raise InputError(
            f"unknown plane {str(plane)[:50]!r} of several posteriors; known: "
            f"{', '.join(SHARED_PLANES)}, or a Plane"
        )
    requested = check_int(samples, "the number of samples")
    seed = check_int(seed, "the seed", least=None)
    shape = check_surface("random", shape, requested, margin, extent)
    weights = [
        posterior.sample(posterior.num_available(requested), seed) for posterior in posteriors
    ]
    for own in weights:
        planes.check_finite(own)
    chosen = _plane(plane, posteriors, weights)
    coordinates = chosen.project(torch.cat(weights)).coordinates
    x, y = (
        axis(along, points, margin, extent)
        for along, points in zip(coordinates.T, reversed(shape), strict=True)
    )
    losses = Losses(*shape)
    mean_losses = [PosteriorLoss(posterior, data, loss) for posterior in posteriors]
    group = member("surfaces", chosen.kind if name is None else name)
    settings = {"shape": list(shape), "margin": margin, "extent": extent, "kind": chosen.kind}
    settings |= {"seed": seed, "together": together(posteriors)}
    entries = [
        Entry.of(
            None if stores is None else stores[index],
            group,
            {**settings, "samples": len(own), "parameters": posterior.space.names},
            lambda index=index: fingerprints(  # type: ignore[misc]
                mean_losses[index], origin=chosen.origin, basis=chosen.basis
            ),
        )
        for index, (posterior, own) in enumerate(zip(posteriors, weights, strict=True))
    ]
    stored = entries[0].read()
    with suppress(KeyError):  # a file from anybody may lack any variable
        if stored is not None:
            losses.take_over(stored)
    surfaces = [
        place_samples(chosen, (x, y), losses, own, sample_losses(mean_loss, own, executor))
        for mean_loss, own in zip(mean_losses, weights, strict=True)
    ]
    mark = digest_of(chosen.origin, chosen.basis, torch.from_numpy(x), torch.from_numpy(y))

    def write(count: int = 1) -> None:
        for entry, surface in list(zip(entries, surfaces, strict=True))[:count]:
            about = surface.attributes(seed) | {"plane_fingerprint": mark}
            entry.write({**surface.variables(), "finished": losses.finished}, about)

    evaluate_rows(mean_losses[0], surfaces[0], losses, write, executor, progress)
    write(len(entries))
    return surfaces


def together(posteriors: Sequence[Posterior]) -> list[str]:
    """Short fingerprints of the posteriors that share a plane, for the record."""
    return [weights_fingerprint(posterior)[:16] for posterior in posteriors]


def _check_together(posteriors: Sequence[Posterior]) -> None:
    if len(posteriors) < 2:
        raise InputError("a shared plane needs two posteriors or more; see surface for one")
    for posterior in posteriors:
        posterior.check_any_weights()
    first = posteriors[0]
    for index, other in enumerate(posteriors[1:], start=1):
        if other.space.signature != first.space.signature:
            raise InputError(
                f"posterior {index} is over other parameters than posterior 0: no plane holds both"
            )
        if network_fingerprint(other) != network_fingerprint(first):
            raise InputError(
                f"the networks of posterior 0 and posterior {index} differ in their layers or in "
                "parameters that are not inferred: the loss on a plane is not the same for both"
            )


def _plane(
    plane: SharedKind | Plane, posteriors: Sequence[Posterior], weights: Sequence[torch.Tensor]
) -> Plane:
    if isinstance(plane, Plane):
        if len(plane.origin) != weights[0].shape[1]:
            raise InputError(
                f"the plane is in {len(plane.origin)} dimensions and the posteriors in "
                f"{weights[0].shape[1]}"
            )
        origin, basis = plane.origin.to(weights[0]), plane.basis.to(weights[0])
        return replace(plane, origin=origin, basis=basis, kind="own")
    if plane == "means":
        return planes.through_means(posteriors, weights)
    return replace(planes.principal(torch.cat(list(weights))), kind="shared")
