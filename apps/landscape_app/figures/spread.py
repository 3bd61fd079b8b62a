"""Figure of the flatness of all samples of each run: points, and their mean or a box."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.store import Run, SampleMean
from landscape.store.summary import places_of
from landscape_app import formats
from landscape_app.data import read_each
from landscape_app.figures import samples, theme
from landscape_app.figures.panels import Panels
from landscape_app.figures.samples import Picked
from landscape_app.figures.scale import asks_for_log, log_ticks

FEWEST_IN_A_BOX = 20
"""Smallest number of samples that a box sums up. Quartiles of fewer are mostly noise."""

# quantity, title of the axis, name of the points
_PANELS = (("largest", "λ<sub>1</sub> (nat)", "λ1"), ("trace", "trace (nat)", "trace"))
_HOVER = "%{customdata[0]}, sample %{customdata[1]}<br>%{y:.4g} ± %{error_y.array:.2g}"
_WIDTH = 0.6
"""Width of the points of a run, as a fraction of the distance to the next."""


@np.errstate(all="ignore")  # a file may hold any number
def spread_figure(
    *runs: Run,
    log: bool | None = None,
    picked: Picked = samples.NONE,
    marks: theme.Marks = theme.MARKS,
) -> go.Figure:
    """lambda_1 and trace of every sample, with the mean over samples and its interval.

    A run of 20 samples or more also has a box: its median and quartiles. Error bars of points are
    the residual of lambda_1 and the standard error of the trace.

    Args:
        *runs: The run files.
        log: Whether the axes are logarithmic. Values that are not positive are then left out and
            counted. By default an axis is if its largest value is ten times the smallest.
        picked: Samples to highlight.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has been measured.
        InputError: a run file cannot be read.
    """
    errors = ("residuals", "trace_standard_error", "chain", "place")
    groups = read_each(runs, "samples", "eigenvalues", "trace", optional=errors)
    panels = Panels(cols=2, horizontal_spacing=0.11)
    traces: list[theme.Trace] = []
    lost, boxes = 0, False
    for column, (quantity, label, series) in enumerate(_PANELS, start=1):
        axes = Panels.axes(column)
        drawn = []
        for slot, (position, group) in enumerate(groups.items()):
            run, mark = runs[position], marks[position]
            if quantity == "largest":
                values, bars = group["eigenvalues"][:, 0], group.get("residuals")
                bars = None if bars is None else bars[:, 0]
            else:
                values, bars = group["trace"], group.get("trace_standard_error")
            bars = np.full(len(values), np.nan) if bars is None else bars
            drawn.append(values)
            count = len(values)
            if count >= FEWEST_IN_A_BOX:
                boxes = True
                traces.append(_box(run, mark[0], slot, values) | axes)
            traces += [
                trace | axes for trace in _points(run, mark, slot, series, values, bars, picked)
            ]
            if count > 1:
                mean = SampleMean.of(values, places=places_of(run, group, count))
                traces.append(_mean(run, mark[0], slot, series, mean) | axes)
        all_values = np.concatenate(drawn)
        is_log = asks_for_log(all_values) if log is None else log
        panels.y(col=column, title=label, **theme.room(all_values))
        if is_log:
            ticks, labels = log_ticks(all_values)
            lost += int(np.count_nonzero(all_values <= 0))
            look: dict[str, Any] = {"type": "log", "tickvals": ticks, "ticktext": labels}
            panels.y(col=column, **look, range=None)
    names = [_label(runs[position], len(groups)) for position in groups]
    panels.x(tickvals=list(range(len(groups))), ticktext=names, range=[-0.5, len(groups) - 0.5])
    notes = ["one point per sample, in their order, with its error"]
    if any(len(group["trace"]) > 1 for group in groups.values()):
        notes.append("line: mean over samples with its 95 % interval")
    if boxes:
        notes.append("box: quartiles and median")
    if lost:
        notes.append(f"{lost} not positive: not on this axis")
    matrix, matrix_details = samples.matrices(runs, groups)
    lines = samples.about(runs, groups, "trace")
    shown = {place: [group["eigenvalues"][:, 0], group["trace"]] for place, group in groups.items()}
    counts = {place: len(group["trace"]) for place, group in groups.items()}
    lines += [samples.lost(runs, shown), samples.not_highlighted(runs, picked, counts)]
    title = f"Largest eigenvalue and trace of {matrix}"
    details = [*lines, matrix_details, " · ".join(notes)]
    return samples.titled(panels.drawn(traces), runs, "spread", title, *details)


def _points(
    run: Run,
    mark: theme.Mark,
    slot: int,
    series: str,
    values: np.ndarray,
    bars: np.ndarray,
    picked: Picked,
) -> list[theme.Trace]:
    colour, symbol = mark
    count = len(values)
    trace = theme.scatter(
        x=slot + _WIDTH * ((np.arange(count) + 0.5) / count - 0.5),
        y=values,
        error_y={"type": "data", "array": bars, "thickness": 1.2, "width": 0},
        mode="markers",
        name=samples.plain_name(run),
        marker={"color": colour, "symbol": symbol, "size": 7},
        showlegend=False,
        hovertemplate=_HOVER + "<extra></extra>",
        **samples.points(run, series, count, picked),
    )
    return samples.with_bars(trace, colour)


def _mean(run: Run, colour: str, slot: int, series: str, mean: SampleMean) -> theme.Trace:
    place = [slot + _WIDTH / 2 + 0.1]
    words = f"mean over {formats.count(mean.count, 'sample')}"
    return theme.scatter(
        x=place,
        y=[mean.mean],
        error_y=samples.interval_bars([mean]) | {"color": colour},
        mode="markers",
        marker={"color": colour, "symbol": "line-ew-open", "size": 20, "line": {"width": 3}},
        name=samples.plain_name(run),
        showlegend=False,
        hovertemplate=f"%{{meta.run}}: {words}<br>%{{y:.4g}}<extra></extra>",
        **samples.numbers(run, f"{series}: mean over samples", axes="y"),
    )


def _box(run: Run, colour: str, slot: int, values: np.ndarray) -> dict[str, Any]:
    return {
        "type": "box",
        "x": np.full(len(values), slot),
        "y": values,
        "name": samples.plain_name(run),
        "boxpoints": False,
        "width": _WIDTH,
        "line": {"color": colour, "width": 1},
        "fillcolor": theme.faint(colour, 0.12),
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _label(run: Run, columns: int) -> str:
    """The name of a run and its method, shortened to fit below its points."""
    most = 60 // columns
    name = formats.plain(formats.shortened(run.name, most))
    method = formats.plain(formats.label(run.attributes, "method"))
    return f"{name}<br>({formats.shortened(method, most)})" if method not in ("", name) else name
