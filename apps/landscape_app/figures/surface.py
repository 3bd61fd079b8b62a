"""Figure of the loss on a plane in parameter space, with the posterior's samples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from landscape.errors import InputError
from landscape.store import Group, Run, SampleMean
from landscape.store.summary import count, number
from landscape_app import formats
from landscape_app.figures import path, samples, theme, values
from landscape_app.figures.contours import flat
from landscape_app.figures.frame import Frame
from landscape_app.figures.plane import (
    Placed,
    Plane,
    axis_words,
    has_one_scale,
    has_samples,
    length,
)
from landscape_app.figures.samples import Picked
from landscape_app.figures.solid import solid
from landscape_app.figures.values import VALUES

Kind = Literal["contour", "3d"]

_PLANES = {
    "samples": "the plane through the samples",
    "random": "a random plane",
    "pca": "the plane of the samples' principal directions",
    "shared": "the plane of several runs' principal directions",
    "means": "the plane through several runs' means",
}
_GROWS = "markers grow with the distance of a sample to the plane"
_EIGENVALUE = re.compile(r"[-+.\de]+$")
_LITTLE = 0.05
"""Fraction of the shared ranges below which a plane is too small to see."""
_LINES = {"contour": 3, "3d": 4}
"""Number of lines of details that surfaces side by side leave room for."""
_SHARED = {
    "all": "",
    "colours": "coordinates are of this run's own plane; colours and heights are shared",
    "nothing": "coordinates, colours and heights are this run's own: compare numbers, not looks",
}
"""Words for the parts of a frame that other surfaces share."""


@np.errstate(all="ignore")  # a file may hold any number
def surface_figure(
    run: Run,
    name: str,
    kind: Kind = "contour",
    log: bool | None = None,
    frame: Frame | None = None,
    picked: Picked = samples.NONE,
    mark: theme.Mark | None = None,
    at: tuple[float, float] | None = None,
    value: str = "loss",
) -> go.Figure:
    """The loss on the plane ``name``, with the posterior's samples projected onto it.

    Grid points with a loss that is NaN or infinite are gaps. The subtitle counts them.

    Args:
        run: The run file.
        name: Name of the surface, e.g. ``"samples"`` or ``"random"``.
        kind: Kind of figure: ``"contour"``, or ``"3d"`` with samples at the height of their loss.
        log: Whether colour and height show the logarithm of the loss. By default they do if the
            losses ask for it: see ``scale.asks_for_log``.
        frame: Ranges and scale to use instead of the surface's own.
        picked: Samples to highlight.
        mark: Colour and marker of the run. The marker stands before the title.
        at: x and y of a point. The figure shows the lines through the nearest grid point, along
            which ``slices_figure`` draws the loss.
        value: What is drawn in place of the loss: one of ``values.VALUES``. A frame has its own.

    Raises:
        NotMeasured: the run has no such surface.
        InputError: the run file cannot be read, or the surface has no value to draw.
    """
    if kind not in ("contour", "3d"):
        raise InputError(f"a surface is drawn as 'contour' or '3d', not '{kind}'")
    limits = Frame.around([run], name, log, value) if frame is None else frame
    group = values.read_surfaces([run], name, limits.value)[0]
    loss, words = group["loss"], VALUES[limits.value].words
    if not (np.isfinite(loss) & ((loss > 0) | (not limits.log))).any():
        kind_of_loss = "positive finite" if limits.log else "finite"
        raise InputError(
            f"surface '{name}' of {run.path.name} has no {kind_of_loss} {words} to draw"
        )
    placed = [Placed(run, group, samples.picked_of(run, picked))]
    plane = Plane(run, group, limits, placed, at)
    figure = solid(plane) if kind == "3d" else flat(plane)
    title = f"{_capital(words)} on {_plane(group, name)}"
    # An axis in 3D has no room for a sentence.
    axes = f"x: {length(group, 'x')} · y: {length(group, 'y')}" if kind == "3d" else ""
    share = limits.share(group["x"], group["y"])
    coverage = f"covers {formats.number(100 * share, 2)} % of the ranges shared by all planes"
    return samples.titled(
        figure,
        [run],
        f"surface-{name}",
        title,
        _facts(group),
        *_blanks(plane.drawn, group.get("finished", np.ones(len(plane.drawn)))),
        _SHARED[limits.shared] if frame is not None else "",
        coverage if share < _LITTLE else "",
        "" if has_one_scale(limits) else "the axes have different scales",
        axes,
        mark=mark,
        legend_above=True,
        width=theme.NARROW,
        lines=0 if frame is None else _LINES[kind],
    )


@np.errstate(all="ignore")  # a file may hold any number
def shared_surface_figure(
    *runs: Run,
    name: str,
    kind: Kind = "contour",
    log: bool | None = None,
    picked: Picked = samples.NONE,
    marks: theme.Marks = theme.MARKS,
    at: tuple[float, float] | None = None,
    value: str = "loss",
) -> go.Figure:
    """The loss on a plane that several runs share, with the samples of each in its colour.

    Args:
        *runs: The run files, of which some have the same plane: see ``data.share_plane``.
        name: Name of the surface.
        kind: Kind of figure, as for ``surface_figure``.
        log: Whether the scale of the loss is logarithmic, as for ``surface_figure``.
        picked: Samples to highlight.
        marks: Colour and marker of each run.
        at: Point of the slices, as for ``surface_figure``.
        value: What is drawn in place of the loss, as for ``surface_figure``.

    Raises:
        NotMeasured: no run has such a surface.
        InputError: a run file cannot be read, or the surface has no value to draw.
    """
    groups = values.read_surfaces(runs, name, value)
    position, group = next(iter(groups.items()))
    limits = Frame.around([runs[place] for place in groups], name, log, value)
    placed = [
        Placed(runs[place], own, samples.picked_of(runs[place], picked), marks[place])
        for place, own in groups.items()
    ]
    plane = Plane(runs[position], group, limits, placed, at)
    figure = solid(plane) if kind == "3d" else flat(plane)
    figure.data[0].meta = dict(figure.data[0].meta) | {"run": ""}
    distances = {place: _distance(own) for place, own in groups.items() if has_samples(own)}
    axes = f"x: {length(group, 'x')} · y: {length(group, 'y')}" if kind == "3d" else ""
    return samples.titled(
        figure,
        runs,
        f"surface-{name}",
        f"{_capital(VALUES[value].words)} on a plane of {formats.count(len(groups), 'run')}",
        samples.by_run(runs, distances),
        " · ".join(filter(None, [_GROWS, _examples(group)])),
        samples.absent(runs, groups),
        *_blanks(plane.drawn, group.get("finished", np.ones(len(plane.drawn)))),
        "" if has_one_scale(limits) else "the axes have different scales",
        axes,
        legend_above=True,
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _facts(group: Group) -> str:
    share = number(group.attributes, "variance_share")
    facts = []
    if share is not None:
        whose = "path's" if path.is_path(group) else "samples'"
        facts.append(f"the plane holds {formats.percent(share)} of the {whose} variance")
    return " · ".join([*facts, *filter(None, [_examples(group)])])


def _examples(group: Group) -> str:
    examples = count(group.attributes, "examples")
    if examples is None:
        return ""
    split = formats.label(group.attributes, "split")
    return formats.count(examples, "example") + (f" ({split})" if split else "")


def _distance(group: Group) -> str:
    """How far the samples of a run are from a shared plane, and how much of them it shows."""
    words = f"{formats.spread(SampleMean.of(group['sample_off_plane']))} off the plane"
    share = number(group.attributes, "variance_share")
    if share is None:
        return words
    return f"{words}, which holds {formats.percent(share)} of their variance"


def _blanks(drawn: np.ndarray, finished: np.ndarray) -> Iterator[str]:
    """Yield notes about rows and points left blank. ``finished`` marks the evaluated rows."""
    is_finished = finished > 0
    if not is_finished.all():
        num_missing = np.count_nonzero(~is_finished)
        yield f"{num_missing:,} of {len(is_finished):,} rows are not evaluated yet"
    blank = int(np.count_nonzero(~np.isfinite(drawn[is_finished])))
    if blank:
        yield f"{blank:,} of {drawn.size:,} points have no value to draw: left blank"


def _plane(group: Group, name: str) -> str:
    """The plane in words. A plane of eigenvectors is named by their eigenvalues."""
    kind = str(group.attributes.get("kind"))
    if kind == "eigenvectors":
        found = [_EIGENVALUE.search(axis_words(group, axis)) for axis in "xy"]
        named = [f"λ{rank} = {match[0]}" for rank, match in enumerate(found, 1) if match]
        return f"the plane of the eigenvectors of {' and '.join(named) or 'the Hessian'}"
    if path.is_path(group):
        return "the plane of the training"
    return _PLANES.get(kind, f"the plane {name}")
