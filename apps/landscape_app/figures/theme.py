"""The theme of all figures: fonts, and colours that colour-blind readers can tell apart."""

from __future__ import annotations

import html
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape_app.formats import plain

FONT = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", '
    '"DejaVu Sans", sans-serif'
)
"""Fonts in order of preference. The PDF writer knows no font named ``system-ui``."""
HIDDEN = "rgba(0,0,0,0)"
"""Colour of text that is only for the table of the numbers."""
TEXT = 13
"""Size of text in pixels."""
INK = "#1f2933"
MUTED = "#5f6b7a"
GRID = "#e4e8ee"
GREY = "#808a97"
"""A grey that is seen on white and on black."""
MISSING = "#d3d8df"
"""Background of a surface, visible at points without a finite value."""
WIDE, NARROW, SQUARE = 940, 500, 620
"""Smallest width of a figure in pixels: across a page, beside another figure, and of a square."""
_BETWEEN = " · "
LETTER, BOLD_LETTER = 6.2, 8.6
"""Average width of a letter in the details and the legend, and in the title, in pixels."""
_LIGHTEST = 0.62
"""Fraction of white in the lightest of several shades."""

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = OKABE_ITO = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
"""Colours of Okabe and Ito without yellow, which is too faint on white."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")

Mark = tuple[str, str]
Trace = dict[str, Any]
Marks = Sequence[Mark]
"""Colour and marker of each compared run, the same in all figures."""

MARKS: Marks = tuple(zip((BLUE, VERMILION, GREEN, ORANGE), SYMBOLS[:4], strict=True))
"""Default colours and markers of the first, second, ... run."""


def marks(count: int) -> Marks:
    """Colours and markers of ``count`` runs; 35 are different, and the first four are ``MARKS``."""
    colours = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, GREY)
    places = range(count)
    return [(colours[i % len(colours)], SYMBOLS[i % len(SYMBOLS)]) for i in places]


SIGNS = dict(zip(SYMBOLS, "●■◆▲✚", strict=True))
"""The markers as text."""

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
        "font": {"family": FONT, "size": TEXT, "color": INK},
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
        # Legend entries keep their order. Grouped entries would stand in columns with gaps.
        "legend": {
            "bgcolor": "rgba(0,0,0,0)",
            "font": {"size": 12.5},
            "traceorder": "normal",
            "itemsizing": "trace",
        },
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


def titled(
    figure: go.Figure,
    title: str,
    *details: str,
    mark: Mark | None = None,
    legend_above: bool = False,
    width: int = WIDE,
    lines: int = 0,
) -> go.Figure:
    """Give ``figure`` a title, and lines of details under it.

    Args:
        figure: Figure with all its traces, as by ``Panels.drawn``. It is changed in place and
            returned.
        title: Title of one line.
        *details: Lines in smaller type. Long lines are wrapped, and empty lines are left out.
        mark: Colour and marker of the run. The marker stands before the title.
        legend_above: Whether the legend stands between the details and the plot.
        width: Smallest width of the figure, in pixels.
        lines: Smallest number of lines of details to leave room for, so that the plots of figures
            side by side are aligned.
    """
    facts = [line for line in details if line]
    meta = {"heading": title, "details": facts} | ({"mark": mark} if mark else {})
    text, shown = heading([title], facts, width, mark)
    above = 8 + 22 * _legend_rows(figure, width) if legend_above else 0
    look: dict[str, Any] = {"title": {"text": text}}
    look |= {"margin": {"t": 40 + 20 * max(shown, lines) + above}}
    if legend_above:
        legend = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "entrywidth": 0}
        look["legend"] = legend
    figure.update_layout(meta=dict(figure.layout.meta or {}) | meta, **look)
    for part in (figure, figure.layout, *figure.data):
        part._validate = True  # from here on: what a notebook changes is checked
    return figure


def heading(
    title: Sequence[str], details: Iterable[str], width: float, mark: Mark | None = None
) -> tuple[str, int]:
    """The title of a figure with lines of details, and the number of lines below the first.

    Args:
        title: Lines of the title.
        details: Lines in smaller type. Long lines are wrapped.
        width: Width of the figure, in pixels.
        mark: Colour and marker of the run, which stands before the title.
    """
    small = f'<span style="font-size: 12.5px; color: {MUTED}">'
    sign = f"{signed(mark)} " if mark else ""
    lines = [f"<b>{plain(line)}</b>" for line in title]
    wrapped = [part for line in details for part in broken(line, width / LETTER)]
    lines += [f"{small}{plain(line)}</span>" for line in wrapped]
    return sign + "<br>".join(lines), len(lines) - 1


def room(values: np.ndarray) -> dict[str, Any]:
    """An axis range for ``values`` that are all equal; Plotly would choose an arbitrary range."""
    finite = values[np.isfinite(values)]
    if not finite.size or np.ptp(finite) > 1e-9 * np.abs(finite).max():
        return {}
    value = float(finite[0])
    around = 0.1 * abs(value) or 0.1
    return {"range": [value - around, value + around]}


def signed(mark: Mark) -> str:
    """The marker of a run as coloured text."""
    colour, symbol = mark
    return f'<span style="color: {colour}">{SIGNS[symbol]}</span>'


def scatter(**look: Any) -> Trace:
    """Points or a line as a dict. Plotly then checks it only once, as part of a figure.

    Args:
        **look: Properties of a ``plotly.graph_objects.Scatter``.
    """
    return {"type": "scatter", **look}


def scatter3d(**look: Any) -> Trace:
    """Points or a line in 3D, as ``scatter``.

    Args:
        **look: Properties of a ``plotly.graph_objects.Scatter3d``.
    """
    return {"type": "scatter3d", **look}


def bars(**look: Any) -> Trace:
    """Bars, as ``scatter``.

    Args:
        **look: Properties of a ``plotly.graph_objects.Bar``.
    """
    return {"type": "bar", **look}


def key(name: str, **look: Any) -> Trace:
    """An entry that appears only in the legend, for all lines of one kind.

    Args:
        name: Text of the entry.
        **look: Properties of the trace: mode, line, marker.
    """
    return scatter(x=[None], y=[None], name=name, hoverinfo="skip", showlegend=True, **look)


@lru_cache
def colour_scale(name: str) -> list[list[Any]]:
    """Places from 0 to 1 and colours of one of Plotly's scales, in Plotly's own form."""
    return [list(pair) for pair in go.Surface(colorscale=name).colorscale]


def shades(colour: str, count: int) -> list[str]:
    """``count`` colours from ``colour`` to a light one of the same hue."""
    parts = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    shares = [_LIGHTEST * index / max(count - 1, 1) for index in range(count)]
    return [
        "#" + "".join(f"{round(part + share * (255 - part)):02x}" for part in parts)
        for share in shares
    ]


def darkened(figure: go.Figure) -> go.Figure:
    """The figure with dark colours. It is changed in place and returned."""
    text = str(figure.layout.title.text or "").replace(MUTED, _DARK_MUTED)
    figure.update_layout(template=_DARK, title_text=text)
    figure.update_shapes({"fillcolor": _DARK_MISSING}, {"fillcolor": MISSING})
    return figure


def without_markup(text: str) -> str:
    """Text of a figure without Plotly's markup."""
    return html.unescape(re.sub(r"<[^>]*>", "", text))


def faint(colour: str, opacity: float = 0.22) -> str:
    """``#rrggbb`` as a transparent colour, for bands and boxes."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def broken(line: str, most: float) -> list[str]:
    """``line`` in parts of at most ``most`` letters, broken between facts if possible."""
    facts = [
        part for fact in line.split(_BETWEEN) for part in textwrap.wrap(fact, max(1, int(most)))
    ]
    parts: list[str] = []
    for fact in facts:
        if parts and len(parts[-1]) + len(_BETWEEN) + len(fact) <= most:
            parts[-1] += _BETWEEN + fact
        else:
            parts.append(fact)
    return parts


def _legend_rows(figure: go.Figure, width: int) -> int:
    return math.ceil(sum(_widths(figure)) / width)


def _widths(figure: go.Figure) -> Iterable[float]:
    """The width of each entry of the legend, in pixels."""
    for trace in figure.data:
        if trace.name and trace.showlegend is not False:
            yield 48 + LETTER * len(without_markup(trace.name))
