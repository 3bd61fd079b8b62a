"""Figure 4 of arXiv 2406.15664: samples of two posteriors on one pair of axes.

The plane goes through the mean of all samples of both posteriors along their two principal
directions, so neither posterior chooses it. Each sample has a distance to it: the surface shows the
loss at the sample's projection, which is not the loss of the sample.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from landscape import workflow
from landscape.errors import InputError
from landscape.posteriors import Posterior, PosteriorLoss
from landscape.study.candidates import CANDIDATES, Candidate
from landscape.study.comparison import measured_trainings
from landscape.study.figures import Figure, Panel, Series, contours, numbers
from landscape.study.ledger import Ledger
from landscape.study.metrics import POSITIVE, Results, collect, lambda_1, test_metric
from landscape.study.runner import Finished, Runner
from landscape.study.tables import Table, means
from landscape.surfaces import planes, surface
from landscape.tasks import Task

SHOWN = ("fp-bma", "ptl")
"""Names of the two posteriors, as in the paper."""

_SHAPE = (25, 25)
_REACH = 1.3
"""Half the width of the grid, in the largest coordinate of a sample."""
_SHOWN_SEEDS = 3


@dataclass(frozen=True)
class SharedPlane:
    """Two posteriors on one plane; the lists have an entry for each posterior.

    Attributes:
        x: Places of the grid's columns.
        y: Places of the grid's rows.
        loss: Training loss on the grid, rows of y.
        sample_x: Coordinates of the samples' projections along x.
        sample_y: Coordinates along y.
        off_plane: Distance of each sample to the plane.
        sample_loss: Training loss of each sample.
        loss_below: Training loss at each sample's projection.
        share: Share of the variance of all samples that is within the plane.
    """

    x: list[float]
    y: list[float]
    loss: list[list[float]]
    sample_x: list[list[float]]
    sample_y: list[list[float]]
    off_plane: list[list[float]]
    sample_loss: list[list[float]]
    loss_below: list[list[float]]
    share: float


def shared_plane(
    posteriors: list[Posterior],
    task: Task,
    *,
    samples: int,
    seed: int = 0,
    shape: tuple[int, int] = _SHAPE,
) -> SharedPlane:
    """The training loss on the plane of the principal directions of all posteriors' samples.

    Args:
        posteriors: Posteriors over the same parameters.
        task: The task; its training set is evaluated.
        samples: Number of samples of each posterior.
        seed: Seed of the samples.
        shape: Number of points of the grid along (y, x).

    Raises:
        InputError: The samples span no plane.
    """
    drawn = [posterior.sample(posterior.num_available(samples), seed) for posterior in posteriors]
    together = torch.cat(drawn)
    plane = planes.principal(together)
    projections = [plane.project(weights) for weights in drawn]
    extent = _REACH * max(float(place.coordinates.abs().max()) for place in projections)
    grid = surface(
        posteriors[0],
        task.train,
        plane=plane,
        shape=shape,
        samples=samples,
        extent=extent,
        loss=task.loss,
        seed=seed,
        progress=False,
    )
    losses = [PosteriorLoss(posterior, task.train, task.loss) for posterior in posteriors]
    pairs = list(zip(losses, drawn, strict=True))
    below = [
        loss.evaluate_each(
            torch.stack([plane.at(float(x), float(y)) for x, y in place.coordinates])
        )
        for loss, place in zip(losses, projections, strict=True)
    ]
    return SharedPlane(
        x=grid.x.tolist(),
        y=grid.y.tolist(),
        loss=grid.loss.tolist(),
        sample_x=[place.coordinates[:, 0].tolist() for place in projections],
        sample_y=[place.coordinates[:, 1].tolist() for place in projections],
        off_plane=[place.off_plane.tolist() for place in projections],
        sample_loss=[[loss.evaluate(w).loss for w in weights] for loss, weights in pairs],
        loss_below=[[point.loss for point in points] for points in below],
        share=planes.variance_share(plane, together),
    )


def surfaces(runner: Runner, candidates: list[Candidate]) -> list[Table]:
    """FP-BMA's and PTL's samples on one plane, for every seed.

    Raises:
        InputError: One of the two diverged for all seeds.
    """
    finished = measured_trainings(runner, [CANDIDATES[name] for name in SHOWN])
    by_seed: dict[int, dict[str, Finished]] = {}
    for entry in finished:
        by_seed.setdefault(entry.training.seed, {})[entry.training.name] = entry
    complete = {seed: pair for seed, pair in by_seed.items() if len(pair) == len(SHOWN)}
    if not complete:
        raise InputError(f"no seed has both posteriors, {' and '.join(SHOWN)}: training diverged")
    ledger, report = Ledger(runner.folder / "surfaces-ledger.json"), runner.progress("surfaces")
    shared: dict[int, SharedPlane] = {}
    for index, (seed, pair) in enumerate(complete.items()):
        entries = [pair[name] for name in SHOWN]
        request = {
            "posteriors": [str(one.run.attributes["posterior_fingerprint"]) for one in entries],
            "samples": runner.budget.samples,
            "shape": _SHAPE,
            "seed": seed,
        }
        shared[seed] = SharedPlane(**ledger.get(request, partial(_measured, runner, entries)))
        report(index + 1, len(complete))
    return [_table(shared, finished)]


def _measured(runner: Runner, entries: list[Finished]) -> dict[str, Any]:
    trained = [workflow.load(entry.run.path, device=runner.device) for entry in entries]
    result = shared_plane(
        [one.posterior for one in trained],
        trained[0].task,
        samples=runner.budget.samples,
        seed=entries[0].training.seed,
        shape=_SHAPE,
    )
    return asdict(result)


def _table(shared: dict[int, SharedPlane], finished: list[Finished]) -> Table:
    def mean(attribute: str) -> Results:
        return {
            name: {
                seed: float(np.mean(getattr(plane, attribute)[index]))
                for seed, plane in shared.items()
            }
            for index, name in enumerate(SHOWN)
        }

    columns = {
        "distance to the plane": mean("off_plane"),
        "loss of the samples": mean("sample_loss"),
        "loss at their projections": mean("loss_below"),
        "share of the variance in the plane": {
            name: {seed: plane.share for seed, plane in shared.items()} for name in SHOWN
        },
        "lambda_1": collect(finished, lambda_1),
        "test NLL": collect(finished, test_metric("nll")),
    }
    low_at_zero = dict.fromkeys(columns, POSITIVE)
    panels = tuple(_panel(seed, plane) for seed, plane in list(shared.items())[:_SHOWN_SEEDS])
    table = means(
        "Figure 4 of the paper: two posteriors on one plane",
        columns,
        within=low_at_zero | {"share of the variance in the plane": (0.0, 1.0)},
        note="Losses are training losses in nats; distances are Euclidean, in R^P. The plane holds "
        "the two principal directions of all samples of both posteriors. The paper gives a picture "
        "and no numbers.",
    )
    return replace(table, figure=Figure("Training loss and samples on one plane", panels))


def _panel(seed: int, plane: SharedPlane) -> Panel:
    z = np.array(plane.loss)
    last = float(np.nanquantile(z[np.isfinite(z)], 0.9))
    lines = contours(np.array(plane.x), np.array(plane.y), z, (0.0, last, last / 15))
    series = [
        Series(name, numbers(x), numbers(y))
        for name, x, y in zip(SHOWN, plane.sample_x, plane.sample_y, strict=True)
    ]
    return Panel(f"seed {seed}", "first direction", "second direction", tuple(series), lines)
