"""Figure of many numbers and settings of runs or samples at once: parallel coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from landscape.errors import InputError
from landscape_app import formats, quantities
from landscape_app.figures import theme
from landscape_app.figures.panels import Panels
from landscape_app.figures.scale import Scale, asks_for_log, log_ticks
from landscape_app.figures.scatter import SHARES, Item

MOST_AXES = 12
_MOST_LINES = 600
"""Largest number of lines: more are neither told apart nor drawn quickly."""
_COLOURS = "Viridis"
_SHADES = 24
"""Number of colours for a number; lines of one colour are one trace."""
_LONGEST, _FEWEST_LETTERS = 26, 9
"""Lengths of the words at an axis, in letters: at most, and at most with many axes."""
_HEIGHT = 540
_HOVER = "%{customdata[0]}<br>%{customdata[1]}: %{customdata[2]}<extra></extra>"


@dataclass(frozen=True)
class _Axis:
    """An axis of the figure.

    Attributes:
        title: Its title.
        places: Height of each item, between 0 and 1; NaN for items that lack the value.
        ticks: Heights of the ticks and their words.
        values: Each value as text, for the words beside the mouse.
    """

    title: str
    places: np.ndarray
    ticks: Sequence[tuple[float, str]]
    values: Sequence[str]


@np.errstate(all="ignore")  # a file may hold any number
def parallel_figure(
    items: Sequence[Item],
    names: Sequence[str],
    *,
    marks: Mapping[str, theme.Mark],
    colour: str = "",
    of: str = "runs",
    log: bool | None = None,
    note: str = "",
) -> go.Figure:
    """A line for each run or sample through its values on one axis for each number or setting.

    Args:
        items: Runs or samples. Where one lacks a value, its line has a gap.
        names: Names of numbers and settings, one for each axis, in their order.
        marks: Colour and marker of each series.
        colour: Name of a number that colours the lines; empty for colours by series.
        of: Word for the items, ``"runs"`` or ``"samples"``.
        log: Whether axes of positive numbers are logarithmic. By default an axis is if its numbers
            ask for it.
        note: Another line of details.

    Raises:
        InputError: there are fewer than two axes, or no item has a value on two of them.
    """
    names = [name for name in dict.fromkeys(names) if any(_has(item, name) for item in items)]
    if len(names) < 2:
        raise InputError("parallel coordinates need two axes or more on which runs have values")
    left_out = len(names) - MOST_AXES
    names = names[:MOST_AXES]
    shown = [item for item in items if sum(_has(item, name) for name in names) > 1]
    shown = [item for item in shown if not colour or colour in item.readings]
    if not shown:
        raise InputError(f"none of the {of} has values on two of these axes")
    beyond = len(shown) - _MOST_LINES
    shown = shown[:_MOST_LINES]
    axes = [_axis(shown, name, log) for name in names]
    heights = np.stack([axis.places for axis in axes], axis=1)
    most = max(_FEWEST_LETTERS, min(_LONGEST, 100 // len(axes)))
    lines = _lines(shown, axes, heights, marks, colour)
    gaps = int(np.count_nonzero(np.isnan(heights).any(1)))
    lost = len(items) - len(shown) - max(beyond, 0)
    details = [
        f"{formats.count(len(shown), of.removesuffix('s'))}, a line each",
        f"{lost} of {len(items)} {of} left out: too few values" if lost else "",
        f"{gaps} with a gap: they lack a value" if gaps else "",
        f"the first {_MOST_LINES} of {beyond + _MOST_LINES:,} are shown" if beyond > 0 else "",
        f"the first {MOST_AXES} axes are shown" if left_out > 0 else "",
    ]
    words = ", ".join(theme.without_markup(quantities.label(name)) for name in names)
    file = formats.file_name(f"parallel-{'-'.join(names)}-{of}")
    title = "Many numbers at once"
    longest = max((len(formats.shortened(text, most)) for _, text in axes[0].ticks), default=0)
    figure = _named(axes, most).drawn(
        [*lines, *_axis_lines(axes, most)],
        meta={"file": file, "title": f"{title}: {words}", "height": _HEIGHT},
        hovermode="closest",
        margin={"l": 30 + 6 * longest, "r": 24},
    )
    has_legend = not colour and len({item.series for item in shown}) > 1
    return theme.titled(
        figure, title, " · ".join(filter(None, details)), note, legend_above=has_legend
    )


def _has(item: Item, name: str) -> bool:
    return name in item.readings or name in item.texts


def _axis(items: Sequence[Item], name: str, log: bool | None) -> _Axis:
    title = quantities.label(name)
    if not all(name in item.readings for item in items if _has(item, name)):
        return _axis_of_words(items, name, title)
    values = np.array(
        [item.readings[name].value if name in item.readings else np.nan for item in items]
    )
    is_positive = bool((values[np.isfinite(values)] > 0).all())
    is_log = is_positive and (asks_for_log(values) if log is None else log)
    scale = Scale.over(values, is_log)
    drawn = scale(values)
    low, high = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    is_share = name in SHARES
    words = [
        formats.percent(value) if is_share else formats.number(value, 4)
        for value in values.tolist()
    ]
    if low == high:
        known = np.where(np.isfinite(drawn), 0.5, np.nan)
        text = next(word for word, value in zip(words, drawn, strict=True) if np.isfinite(value))
        return _Axis(title, known, [(0.5, text)], words)
    marks = log_ticks(values)[0] if is_log else _round_marks(low, high)
    texts = [f"{100 * mark:.4g} %" if is_share else _short(mark) for mark in marks]
    at = (scale(np.array(marks)) - low) / (high - low)
    return _Axis(title, (drawn - low) / (high - low), list(zip(at.tolist(), texts)), words)  # noqa: B905


def _axis_of_words(items: Sequence[Item], name: str, title: str) -> _Axis:
    words = [
        item.texts.get(name)
        or (_short(item.readings[name].value) if name in item.readings else None)
        for item in items
    ]
    known = sorted({word for word in words if word is not None})
    height = {word: index / max(len(known) - 1, 1) for index, word in enumerate(known)}
    places = np.array([np.nan if word is None else height[word] for word in words])
    return _Axis(title, places, [(height[word], word) for word in known], [w or "" for w in words])


def _short(value: float) -> str:
    """A number at a tick: without zeros at its end."""
    text = formats.number(value, 4)
    mantissa, sign, power = text.partition("×")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return mantissa + sign + power


def _round_marks(low: float, high: float) -> list[float]:
    """About five round numbers between two numbers."""
    step = 10.0 ** np.floor(np.log10((high - low) / 4))
    while (high - low) / step > 6:
        step *= 2 if (high - low) / step < 12 else 5 if (high - low) / step < 30 else 10
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [float(index * step) for index in np.arange(first, last + 1)]


def _lines(
    items: Sequence[Item],
    axes: Sequence[_Axis],
    heights: np.ndarray,
    marks: Mapping[str, theme.Mark],
    colour: str,
) -> list[theme.Trace]:
    """The lines of each colour as one trace, with a gap between two lines."""
    members: dict[str, list[int]] = {}
    colours: dict[str, str] = {}
    if colour:
        shades = np.array([item.readings[colour].value for item in items])
        is_log = asks_for_log(shades)
        levels = _levels(np.log10(shades) if is_log else shades)
        for index, level in enumerate(levels.tolist()):
            members.setdefault(str(level), []).append(index)
        for key in members:
            colours[key] = sample_colorscale(_COLOURS, [int(key) / (_SHADES - 1)])[0]
    else:
        ordered = [label for label in marks if any(item.series == label for item in items)]
        members = {label: [] for label in ordered}
        for index, item in enumerate(items):
            members[item.series].append(index)
        colours = {label: marks[label][0] for label in ordered}
    opacity = 0.85 if len(items) < 40 else 0.45 if len(items) < 300 else 0.2
    traces = []
    for key, indices in members.items():
        x: list[float | None] = []
        y: list[float | None] = []
        told: list[list[str]] = []
        for index in indices:
            name = formats.plain(items[index].label)
            for place, axis in enumerate(axes):
                height = float(heights[index, place])
                x.append(place)
                y.append(height if np.isfinite(height) else None)
                value = formats.plain(axis.values[index])
                told.append([name, theme.without_markup(axis.title), value])
            x.append(None)
            y.append(None)
            told.append(["", "", ""])
        traces.append(
            theme.scatter(
                x=x,
                y=y,
                mode="lines+markers",
                connectgaps=False,
                line={"color": colours[key], "width": 1.6},
                marker={"color": colours[key], "size": 4},
                opacity=opacity,
                name=formats.plain(key),
                showlegend=not colour and len(members) > 1,
                customdata=told,
                hovertemplate=_HOVER,
                meta={
                    "run": "",
                    "series": "value" if colour else formats.plain(key) or "all",
                    "axes": "",
                    "columns": ["run", "quantity", "value"],
                },
            )
        )
    if colour:
        traces.append(_colour_bar(shades, is_log, colour))
    return traces


def _levels(shades: np.ndarray) -> np.ndarray:
    low, reach = float(shades.min()), float(np.ptp(shades)) or 1.0
    levels: np.ndarray = np.round((shades - low) / reach * (_SHADES - 1)).astype(int)
    return levels


def _colour_bar(shades: np.ndarray, log: bool, name: str) -> theme.Trace:
    scale = Scale.over(shades, log)
    drawn = scale(shades)
    bar: dict[str, Any] = {"title": {"text": quantities.label(name), "side": "right"}}
    bar |= {"thickness": 14, "outlinewidth": 0, **scale.ticks}
    look_of_scale = {"colorscale": theme.colour_scale(_COLOURS), "colorbar": bar}
    marker = {"color": [drawn.min(), drawn.max()], **look_of_scale}
    look = {"mode": "markers", "showlegend": False, "hoverinfo": "skip"}
    return theme.scatter(
        x=[None, None], y=[None, None], marker={**marker, "showscale": True}, **look
    )


def _axis_lines(axes: Sequence[_Axis], most: int) -> list[theme.Trace]:
    """A vertical line for each axis, with its ticks; words have up to ``most`` letters."""
    lines, ticks = ([], []), ([], [], [])  # type: ignore[var-annotated]
    for place, axis in enumerate(axes):
        lines[0].extend([place, place, None])
        lines[1].extend([0, 1, None])
        for height, text in axis.ticks:
            ticks[0].append(place)
            ticks[1].append(height)
            ticks[2].append(f"{formats.plain(formats.shortened(text, most))} ")
    quiet: dict[str, Any] = {"hoverinfo": "skip", "showlegend": False, "cliponaxis": False}
    line = {"color": theme.GREY, "width": 1.2}
    return [
        theme.scatter(x=lines[0], y=lines[1], mode="lines", line=line, **quiet),
        theme.scatter(
            x=ticks[0],
            y=ticks[1],
            mode="markers+text",
            text=ticks[2],
            textposition="middle left",
            textfont={"size": 11},
            marker={"symbol": "line-ew-open", "size": 7, "color": theme.GREY},
            **quiet,
        ),
    ]


def _named(axes: Sequence[_Axis], most: int) -> Panels:
    """A panel with the names of the axes below them, in lines of up to ``most`` letters."""
    titles = [_broken(axis.title, most) for axis in axes]
    panel = Panels()
    panel.x(
        tickvals=list(range(len(axes))),
        ticktext=titles,
        tickangle=0,
        range=[-0.08, len(axes) - 0.8],
        showgrid=False,
        showline=False,
        ticks="",
        side="bottom",
    )
    panel.y(visible=False, range=[-0.06, 1.06])
    return panel


def _broken(title: str, most: int) -> str:
    """The title of an axis in lines: the names of settings are long."""
    if len(theme.without_markup(title)) <= most:
        return title
    return title.replace(".", ".<br>").replace(" (", "<br>(").replace("_", "_<br>", 1)
