"""Any number of all runs, or of their samples, against any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from dash import dcc, html

from landscape.errors import InputError
from landscape.store import Run
from landscape_app import quantities
from landscape_app.components import (
    SCALES,
    choose_one,
    choose_several,
    graph,
    named,
    section,
    setting,
)
from landscape_app.figures import theme
from landscape_app.figures.parallel import MOST_AXES, parallel_figure
from landscape_app.figures.scatter import Item, scatter_figure
from landscape_app.folders import Where
from landscape_app.groups import groupings
from landscape_app.numbers import DEFAULT, comparison, default_axes, filters, number_names
from landscape_app.pages.page import Page
from landscape_app.url import View

FIELDS = {"x": "x axis", "y": "y axis", "hue": "Colour by"}
"""Fields that choose a number or a setting, by their name in the address."""


def _layout() -> list[Any]:
    fields = [
        choose_one(f"compare-{name}", label=words, allowDeselect=False, w=230)
        for name, words in FIELDS.items()
    ]
    where = choose_several(
        "compare-where",
        label="Only runs with",
        placeholder="setting: value",
        w=330,
        maw="100%",
        **named("Only runs with"),
    )
    return [
        section(
            "Any number against any other",
            "Every run of the folder, or every sample of the chosen runs. The choice is in the "
            "address.",
            html.Div([*fields, where, dcc.Store(id="compare-filled")], className="fields"),
            graph("scatter", "One number against another"),
        ),
        section(
            "Many numbers at once",
            "A line for each run or sample, with the colours and conditions of the fields above. "
            "Hover over a line for its name and values.",
            html.Div(
                choose_several(
                    "compare-axes",
                    label="Axes, in their order",
                    placeholder="numbers and settings",
                    maxValues=MOST_AXES,
                    w=700,
                    maw="100%",
                ),
                className="fields",
            ),
            graph("parallel", "Many numbers and settings of each run at once"),
        ),
    ]


def fill(folder: Where, view: View) -> tuple[Any, ...]:
    """The options of each field, then the value of each, then all values by name."""
    try:
        numbers = [(name, _words(name)) for name in number_names(folder, view)]
        settings = [(name, name) for name in groupings(folder)]
        conditions = filters(folder)
        chosen_axes = _axes(folder, view, comparison(folder, view).items)
    except InputError:  # the place of the figure shows the error
        numbers, settings, conditions, chosen_axes = [], [], [], []
    axes = [{"value": value, "label": label} for value, label in numbers]
    known = {name for name, _ in numbers}
    colours = [{"value": value, "label": label} for value, label in settings] + [
        option for option in axes if option["value"] not in dict(settings)
    ]
    lines = colours + [option for option in axes if option not in colours]
    x, y = (view.texts.get(name, DEFAULT[name]) for name in "xy")
    colour = view.texts.get("hue", "") or ",".join(view.by) or "method"
    conditions += [condition for condition in view.where if condition not in conditions]
    values = {
        "x": x if x in known else None,
        "y": y if y in known else None,
        "hue": colour if any(option["value"] == colour for option in colours) else None,
        "where": list(view.where),
        "axes": chosen_axes,
    }
    return axes, axes, colours, conditions, lines, *values.values(), values


def draw(folder: Where, view: View) -> go.Figure:
    """The figure of the page.

    Raises:
        InputError: the folder cannot be read, or nothing has both numbers.
    """
    chosen = comparison(folder, view)
    return scatter_figure(
        chosen.items,
        view.texts.get("x", DEFAULT["x"]),
        view.texts.get("y", DEFAULT["y"]),
        marks=chosen.marks,
        colour=chosen.colour,
        of=view.setting("of"),
        logs=(view.log("xscale"), view.log("yscale")),
        note=chosen.note,
    )


def draw_parallel(folder: Where, view: View) -> go.Figure:
    """Parallel coordinates of the same runs or samples.

    Raises:
        InputError: the folder cannot be read, or nothing has values on two axes.
    """
    chosen = comparison(folder, view)
    return parallel_figure(
        chosen.items,
        _axes(folder, view, chosen.items),
        marks=chosen.marks,
        colour=chosen.colour,
        of=view.setting("of"),
        log=view.log("axscale"),
        note=chosen.note,
    )


def _axes(folder: Where, view: View, items: Sequence[Item]) -> list[str]:
    names = [name for name in view.texts.get("axes", "").split(",") if name]
    return names or default_axes(folder, items)


def _words(name: str) -> str:
    return theme.without_markup(quantities.label(name))


def _controls(_: Sequence[Run], view: View) -> list[Any]:
    return [
        setting("Points are", "of", {"runs": "runs", "samples": "samples"}, view),
        setting("x scale", "xscale", SCALES, view),
        setting("y scale", "yscale", SCALES, view),
        setting("Scale of parallel axes", "axscale", SCALES, view),
    ]


PAGE = Page(
    key="compare",
    title="Compare",
    layout=_layout,
    graphs=dict.fromkeys(("scatter", "parallel"), lambda runs, view: None),
    of_folder={"scatter": draw, "parallel": draw_parallel},
    controls=_controls,
)
