"""The loss surfaces of the chosen runs, side by side on the same scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import plotly.graph_objects as go
from dash import html

from landscape.errors import InputError
from landscape.store import Run
from landscape_app import figures
from landscape_app.components import SCALES, choice, graph, section, setting
from landscape_app.data import line_names, share_plane, surface_names
from landscape_app.figures import values
from landscape_app.inputs import point_entry
from landscape_app.pages.page import Page, marks
from landscape_app.url import MOST_RUNS, View

_RANGES = {"colours": "the loss", "all": "the loss and the axes", "nothing": "nothing"}
SLOTS = tuple(f"surface-{place}" for place in range(MOST_RUNS))
"""Identifiers of the surfaces, by the place of their run, so that surfaces keep their position."""


def _layout() -> list[Any]:
    return [
        section(
            "Loss surface",
            "The loss on a plane in parameter space, with the posterior's samples projected onto "
            "it. Hover over a sample for its distance to the plane. Click the surface to slice it "
            "at that point, or click a sample to highlight it in every figure that shows it.",
            html.Div([graph(slot, "Loss surface") for slot in SLOTS], className="surfaces"),
            point_entry(),
            graph("slices", "Loss along x and along y through the chosen point"),
            graph("lines", "Loss along the lines and curves that were measured"),
        )
    ]


def _controls(runs: Sequence[Run], view: View) -> list[Any]:
    try:
        names = surface_names(*runs)
    except InputError:  # the place of the figure shows the error
        names = []
    planes = {name: replace(view, plane=name) for name in names}
    return [
        *([choice("Plane", planes, _plane(runs, view))] if len(names) > 1 else []),
        setting("Value", "value", _values(runs, view), view),
        setting("View", "view", {"contour": "contour", "3d": "3D"}, view),
        *([setting("Loss scale", "loss", SCALES, view)] if _value(view) == "loss" else []),
        *([setting("Runs share", "ranges", _RANGES, view)] if _apart(runs, view) else []),
    ]


def _values(runs: Sequence[Run], view: View) -> dict[str, str]:
    """The words for each value that the surfaces may show."""
    name = _plane(runs, view)
    words = {"loss": "loss", "accuracy": "accuracy", "gap": "test − training loss"}
    if not any(values.has_accuracy(run, name) for run in runs) and _value(view) != "accuracy":
        del words["accuracy"]
    if values.differ(runs, name) or _value(view) == "difference":
        words["difference"] = "difference of the losses"
    return words


def _value(view: View) -> str:
    return view.setting("value")


def _plane(runs: Sequence[Run], view: View) -> str:
    """The plane to show: by default one that the runs share, or else the first one."""
    if view.plane:
        return view.plane
    names = surface_names(*runs)
    shared = [name for name in names if len(runs) > 1 and share_plane(runs, name)]
    return next(iter([*shared, *names]), "samples")


def _apart(runs: Sequence[Run], view: View) -> bool:
    """Whether several runs have planes of their own."""
    try:
        return len(runs) > 1 and not share_plane(runs, _plane(runs, view))
    except InputError:  # the place of the figure shows the error
        return False


def _draw(place: int, runs: Sequence[Run], view: View) -> go.Figure | None:
    run = next((run for run in runs if view.place(run.name) == place), None)
    if run is None:
        return None
    name = _plane(runs, view)
    kind: figures.Kind = "3d" if view.setting("view") == "3d" else "contour"
    several = len(runs) > 1
    if several and share_plane(runs, name):
        if run is not runs[0]:
            return None
        return figures.shared_surface_figure(
            *runs,
            name=name,
            kind=kind,
            log=view.log("loss"),
            picked=view.picked,
            marks=marks(runs, view),
            at=view.at,
            value=_value(view),
        )
    if _value(view) == "difference":
        raise InputError("a difference of two runs needs a plane that they share")
    frame = None
    if several:
        frame = figures.Frame.around(runs, name, view.log("loss"), _value(view))
        frame = frame.on(run, name, _shared(view))
    (mark,) = marks([run], view)
    return figures.surface_figure(
        run,
        name,
        kind,
        view.log("loss"),
        frame,
        view.picked,
        mark if several else None,
        view.at,
        _value(view),
    )


def _shared(view: View) -> figures.Shared:
    return cast(figures.Shared, view.setting("ranges"))


def _slices(runs: Sequence[Run], view: View) -> go.Figure | None:
    if view.at is None:
        return None
    return figures.slices_figure(
        *runs,
        name=_plane(runs, view),
        at=view.at,
        log=view.log("loss"),
        shared=_shared(view),
        marks=marks(runs, view),
        value=_value(view),
    )


def _lines(runs: Sequence[Run], view: View) -> go.Figure | None:
    if not line_names(*runs):
        return None
    return figures.lines_figure(*runs, log=view.log("loss"), marks=marks(runs, view))


PAGE = Page(
    key="surface",
    title="Surface",
    layout=_layout,
    graphs={slot: partial(_draw, place) for place, slot in enumerate(SLOTS)}
    | {"slices": _slices, "lines": _lines},
    controls=_controls,
    brushed=SLOTS,
)
