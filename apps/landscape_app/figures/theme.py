"""The look that all figures share: fonts, colours that colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import plotly.graph_objects as go

from landscape_app.formats import plain

FONT = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", '
    '"DejaVu Sans", sans-serif'
)
"""What a browser finds first; what writes a PDF finds no font by the name of ``system-ui``."""
INK = "#1f2933"
MUTED = "#5f6b7a"
GRID = "#e4e8ee"
MISSING = "#d3d8df"
"""Ground of a surface: what shows through where there is no finite value."""

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = OKABE_ITO = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
"""Okabe and Ito's colours without yellow, which is too faint on white."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")

Marks = Sequence[tuple[str, str]]
"""Colour and marker of each of the runs that are compared, the same in all figures."""

MARKS: Marks = tuple(zip((BLUE, VERMILION, GREEN, ORANGE), SYMBOLS[:4], strict=True))
"""Of the first, second, ... run, unless a figure is told otherwise."""

CONFIG: dict[str, Any] = {
    "displaylogo": False,
    # The button would upload the figure's data to a public service.
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["sendChartToCloud"],
}
"""Plotly configuration for ``figure.show(config=CONFIG)`` and for the pages."""

_AXIS = {
    "gridcolor": GRID,
    "linecolor": "#b8c0cc",
    "showline": True,
    "ticks": "outside",
    "tickcolor": "#b8c0cc",
    "ticklen": 4,
    "zeroline": False,
    "automargin": True,
    "title": {"standoff": 10},
}
_DARK_MUTED, _DARK_MISSING = "#9aa7b8", "#4a5462"
_DARK_GROUND, _DARK_LINE = "#161b22", "#3a4452"
_SCENE_AXIS = {
    "gridcolor": "#cfd6df",
    "backgroundcolor": "#f7f8fa",
    "showbackground": True,
    "zeroline": False,
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "title": {
            "font": {"size": 16},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "pad": {"l": 2, "t": 18},
            "yref": "container",
            "y": 1,
            "yanchor": "top",
        },
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": OKABE_ITO,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "scene": {"xaxis": _SCENE_AXIS, "yaxis": _SCENE_AXIS, "zaxis": _SCENE_AXIS},
        "hoverlabel": {"font": {"family": FONT, "size": 12.5}, "align": "left"},
        "legend": {"bgcolor": "rgba(0,0,0,0)", "font": {"size": 12.5}},
        "margin": {"l": 64, "r": 24, "b": 56},
    }
)

_DARK_AXIS = {"gridcolor": "#29313c", "linecolor": _DARK_LINE, "tickcolor": _DARK_LINE}
_DARK_SCENE_AXIS = {"gridcolor": _DARK_LINE, "backgroundcolor": "#1d232c"}
_DARK = go.layout.Template(TEMPLATE).update(
    layout={
        "font": {"color": "#e3e8ef"},
        "paper_bgcolor": _DARK_GROUND,
        "plot_bgcolor": _DARK_GROUND,
        "xaxis": _DARK_AXIS,
        "yaxis": _DARK_AXIS,
        "scene": dict.fromkeys(("xaxis", "yaxis", "zaxis"), _DARK_SCENE_AXIS),
    }
)


def titled(figure: go.Figure, title: str, *details: str, legend_above: bool = False) -> go.Figure:
    """Give ``figure`` the template, a title, and lines of details under it.

    Args:
        figure: Changed in place, and returned.
        title: One line.
        *details: Lines in a smaller type; empty ones are left out.
        legend_above: Lay the legend out between the details and the plot.
    """
    small = f'<span style="font-size: 12.5px; color: {MUTED}">'
    lines = [f"{small}{plain(line)}</span>" for line in details if line]
    figure.update_layout(
        template=TEMPLATE,
        title={"text": "<br>".join([f"<b>{plain(title)}</b>", *lines])},
        margin={"t": 40 + 20 * len(lines) + (30 if legend_above else 0)},
    )
    if legend_above:
        figure.update_layout(
            legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "entrywidth": 0}
        )
    return figure


def line_styles(count: int) -> list[tuple[str, str]]:
    """``count`` pairs of colour and marker symbol, all different for the first 35."""
    return list(islice(zip(cycle(OKABE_ITO), cycle(SYMBOLS), strict=False), count))


def darkened(figure: go.Figure) -> go.Figure:
    """The same figure for a dark page; changed in place, and returned."""
    text = str(figure.layout.title.text or "").replace(MUTED, _DARK_MUTED)
    figure.update_layout(template=_DARK, title_text=text)
    if figure.layout.plot_bgcolor == MISSING:
        figure.update_layout(plot_bgcolor=_DARK_MISSING)
        # Rings are black, as on the surface: they need a light ground in the legend, too.
        figure.update_layout(legend={"bgcolor": _DARK_MUTED, "font": {"color": INK}})
    return figure


def faint(colour: str) -> str:
    """``#rrggbb`` as a transparent colour, for bands and boxes."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.22)"
