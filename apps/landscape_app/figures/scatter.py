"""Figure of any number of runs or samples against any other, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.errors import InputError
from landscape.prediction import spearman
from landscape.prediction.correlation import FEWEST
from landscape_app import formats, quantities
from landscape_app.figures import theme
from landscape_app.figures.panels import Panels
from landscape_app.figures.scale import asks_for_log, log_ticks
from landscape_app.quantities import Reading

SHARES = ("accuracy", "test accuracy", "training accuracy")
"""Numbers that are written as percentages."""


@dataclass(frozen=True)
class Item:
    """A run or a sample.

    Attributes:
        run: Name of the run.
        label: Words that name it.
        readings: Its numbers, by name.
        series: Label of its colour, for colours by kind.
        sample: Number of the sample; None for a run.
        texts: Its settings that are no numbers, by name.
    """

    run: str
    label: str
    readings: Mapping[str, Reading]
    series: str = ""
    sample: int | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


@np.errstate(all="ignore")  # a file may hold any number
def scatter_figure(
    items: Sequence[Item],
    x: str,
    y: str,
    *,
    marks: Mapping[str, theme.Mark],
    colour: str = "",
    of: str = "runs",
    logs: tuple[bool | None, bool | None] = (None, None),
    note: str = "",
) -> go.Figure:
    """One number against another, with the 95 % intervals over samples that they have.

    Args:
        items: Runs or samples. Those without one of the numbers are left out and counted.
        x: Name of the number on the x axis.
        y: Name of the number on the y axis.
        marks: Colour and marker of each series.
        colour: Name of a number that colours the points; empty for colours by series.
        of: Word for the items, ``"runs"`` or ``"samples"``.
        logs: Whether the axes x and y are logarithmic; None for the numbers to decide.
        note: Another line of details.

    Raises:
        InputError: no item has both numbers.
    """
    wanted = (x, y, colour) if colour else (x, y)
    shown = [item for item in items if all(name in item.readings for name in wanted)]
    if not shown:
        words = " and ".join(theme.without_markup(quantities.label(name)) for name in wanted)
        raise InputError(f"none of the {of} has {words}")
    traces: list[theme.Trace] = []
    series = list(dict.fromkeys(item.series for item in shown)) if not colour else [""]
    ordered = [label for label in marks if label in series] if not colour else series
    for label in ordered:
        members = [item for item in shown if colour or item.series == label]
        marker: dict[str, Any] = {"size": 9}
        if colour:
            shade = [item.readings[colour].value for item in members]
            bar = {"title": {"text": quantities.label(colour), "side": "right"}, "thickness": 14}
            marker |= {"color": shade, "colorscale": theme.colour_scale("Viridis"), "colorbar": bar}
        else:
            marker |= {"color": marks[label][0], "symbol": marks[label][1]}
        bars_colour = theme.faint(theme.GREY if colour else marks[label][0], 0.6)
        traces.append(_points(members, (x, y), label, marker, bars_colour, len(series) > 1))
    panel = Panels()
    for axis, name, log in zip("xy", (x, y), logs, strict=True):
        values = np.array([item.readings[name].value for item in shown])
        look: dict[str, Any] = {"title": quantities.label(name), **theme.room(values)}
        if asks_for_log(values) if log is None else log:
            ticks, labels = log_ticks(values)
            look |= {"type": "log", "tickvals": ticks, "ticktext": labels, "range": None}
        look |= {"tickformat": ".1~%"} if name in SHARES else {}
        (panel.x if axis == "x" else panel.y)(**look)
    rank = spearman(
        np.array([item.readings[x].value for item in shown]),
        np.array([item.readings[y].value for item in shown]),
    )
    words = "undefined" if math.isnan(rank.rho) else formats.number(rank.rho, 2)
    # Samples of one run are alike, so that an interval over those of several would be too narrow.
    is_independent = of == "runs" or len({item.run for item in shown}) == 1
    if not math.isnan(rank.low) and is_independent:
        words += f" [{formats.number(rank.low, 2)}, {formats.number(rank.high, 2)}]"
    why = f"95 % interval from n = {FEWEST}" if is_independent else "no interval over several runs"
    notes = f"Spearman's ρ over all points {words} (n = {rank.count}; {why})"
    lost = len(items) - len(shown)
    left_out = f"{lost} of {len(items)} {of} lack one of the numbers" if lost else ""
    bars = "bars: 95 % intervals over samples" if of == "runs" else "bars: errors of the estimates"
    names = [theme.without_markup(quantities.label(name)) for name in (y, x)]
    title = f"{names[0]} against {names[1]}, {of}"
    file = formats.file_name(f"{y}-against-{x}-{of}")
    figure = panel.drawn(traces, meta={"file": file, "title": title, "height": 560})
    return theme.titled(figure, title, notes, left_out, bars, note, legend_above=len(series) > 1)


def _points(
    members: Sequence[Item],
    names: tuple[str, str],
    label: str,
    marker: Mapping[str, Any],
    bars_colour: str,
    legend: bool,
) -> theme.Trace:
    columns = zip(names, ("x", "y"), strict=True)
    trace: theme.Trace = {}
    for name, axis in columns:
        values = [item.readings[name] for item in members]
        middle = np.array([value.value for value in values])
        trace[axis] = middle
        above = np.array([value.high for value in values]) - middle
        below = middle - np.array([value.low for value in values])
        if np.isfinite(above).any():
            look = {"type": "data", "symmetric": False, "thickness": 1.2, "width": 0}
            trace[f"error_{axis}"] = look | {
                "array": above,
                "arrayminus": below,
                "color": bars_colour,
            }
    identity = [[formats.plain(item.run), item.sample] for item in members]
    is_samples = any(item.sample is not None for item in members)
    return theme.scatter(
        **trace,
        mode="markers",
        marker=dict(marker),
        name=formats.plain(label) if label else "all",
        showlegend=legend,
        text=[formats.plain(item.label) for item in members],
        hovertemplate="%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>",
        meta={"run": "", "series": formats.plain(label) or "all", "axes": "xy"}
        | {"columns": ["run", "sample"] if is_samples else ["run"]},
        customdata=identity if is_samples else [row[:1] for row in identity],
    )
