"""Figure of the training record, over epochs or over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.store import Group, Run
from landscape.store.summary import number
from landscape_app import formats
from landscape_app.data import missing, read_each
from landscape_app.figures import samples, theme
from landscape_app.figures.panels import Panels
from landscape_app.figures.scale import asks_for_log, log_ticks

# variable, axis, label, dash
_LINES = (
    ("train_loss", "loss (nat)", "loss of the training batches", "dot"),
    ("validation_loss", "loss (nat)", "validation loss", "solid"),
    ("validation_accuracy", "accuracy", "validation accuracy", "solid"),
    ("perturbation_norm", "length of the perturbation", "perturbation", "solid"),
    ("learning_rate", "learning rate", "learning rate", "solid"),
)
_LOGARITHMIC = ("loss (nat)", "learning rate")
"""Axes that may be logarithmic."""
_DIVERGED = 3.0
"""Multiple of the largest first loss beyond which a loss has left the axis: it only diverges."""
_TIMES = {"epoch": "epoch", "seconds": "time since training began (s)"}
_ABOVE, _ROW = 130, 270
"""Height in pixels of the titles, and of a row of panels."""


@np.errstate(all="ignore")  # a file may hold any number
def training_figure(
    *runs: Run,
    time: str = "epoch",
    log: bool | None = None,
    marks: theme.Marks = theme.MARKS,
) -> go.Figure:
    """Losses, accuracy on the validation split, length of the perturbation and learning rate.

    A loss axis ends at three times the largest loss of a first epoch, so that a run that diverges
    does not flatten the others. A note names what lies beyond.

    Args:
        *runs: The run files.
        time: Axis of time: ``"epoch"``, or ``"seconds"`` of wall-clock time.
        log: Whether the axes of loss and learning rate are logarithmic. By default each of them is
            if its numbers ask for it.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has a training record.
        InputError: a run file cannot be read.
    """
    names = tuple(name for name, *_ in _LINES)
    groups = read_each(runs, "training", time, optional=(*names, "epoch"))
    curves = {
        (position, name): group[name]
        for position, group in groups.items()
        for name in names
        if np.isfinite(group.get(name, np.empty(0))).any()
    }
    if not curves:
        raise missing(runs[0], "training")
    lines = [line for line in _LINES if any(name == line[0] for _, name in curves)]
    shown_axes = list(dict.fromkeys(axis for _, axis, _, _ in lines))
    columns = len(shown_axes) if len(shown_axes) < 4 else 2
    rows = math.ceil(len(shown_axes) / columns)
    panels = Panels(rows=rows, cols=columns, horizontal_spacing=0.09, vertical_spacing=0.3 / rows)
    cells = {axis: divmod(place, columns) for place, axis in enumerate(shown_axes)}
    traces: list[theme.Trace] = []
    for (position, name), values in curves.items():
        _, axis, label, dash = next(line for line in lines if line[0] == name)
        colour, symbol = marks[position]
        prefix = f"{samples.plain_name(runs[position])}: " if len(groups) > 1 else ""
        moments = groups[position][time]
        traces.append(
            theme.scatter(
                x=moments,
                y=values,
                mode="lines+markers" if len(moments) < 40 else "lines",
                name=prefix + label,
                line={"color": colour, "width": 2, "dash": dash},
                marker={"size": 5, "symbol": symbol},
                legendgroup=samples.plain_name(runs[position]),
                showlegend=not prefix,
                **samples.numbers(runs[position], label),
                hovertemplate=f"{prefix}{time} %{{x:.4g}}<br>{label} %{{y:.4g}}<extra></extra>",
                **Panels.axes(shown_axes.index(axis) + 1),
            )
        )
    beyond: dict[int, str] = {}
    for axis, (row, column) in cells.items():
        cell = {"row": row + 1, "col": column + 1}
        of_axis = {key: curves[key] for key in curves if _axis_of(key[1]) == axis}
        look: dict[str, Any] = {"title": axis}
        values = np.concatenate(list(of_axis.values()))
        top = _top(of_axis) if axis == "loss (nat)" else np.inf
        asked = asks_for_log(values[values <= top]) if log is None else log
        is_log = axis in _LOGARITHMIC and asked
        if axis == "accuracy":
            look["tickformat"] = ".1~%"
        if is_log:
            ticks, labels = log_ticks(values[values <= top])
            look |= {"type": "log", "tickvals": ticks, "ticktext": labels}
        if (values[np.isfinite(values)] > top).any():
            look["range"] = _range(values, top, is_log)
            for (position, _), curve in of_axis.items():
                if (curve > top).any():
                    highest = float(np.max(curve[np.isfinite(curve)], initial=0.0))
                    beyond[position] = f"loss beyond the axis, up to {formats.number(highest)}"
        panels.y(**cell, **look)
    for column in range(columns):
        last = max(row for row, other in cells.values() if other == column)
        panels.x(last + 1, column + 1, title=_TIMES[time])
    if len(groups) > 1:
        dashes = {label: dash for _, axis, label, dash in lines if axis == "loss (nat)"}
        traces += samples.keys(runs, groups, marks, dashes)
    figure = panels.drawn(traces)
    shown = {
        place: [curves[place, name] for name in names if (place, name) in curves]
        for place in groups
    }
    details = [
        _about(runs, groups),
        samples.by_run(runs, beyond) if len(runs) > 1 else "".join(beyond.values()),
        samples.absent(runs, groups),
        samples.lost(runs, shown),
    ]
    return samples.titled(
        figure,
        runs,
        "training",
        "Training record",
        *details,
        legend_above=True,
        height=None if rows == 1 else _ABOVE + _ROW * rows,
    )


def _axis_of(name: str) -> str:
    return next(axis for variable, axis, *_ in _LINES if variable == name)


def _top(losses: Mapping[tuple[int, str], np.ndarray]) -> float:
    """The upper end of an axis of losses: what lies beyond belongs to a run that diverges."""
    firsts = [values[np.isfinite(values)][0] for values in losses.values()]
    return _DIVERGED * float(max(firsts)) if max(firsts) > 0 else np.inf


def _range(values: np.ndarray, top: float, log: bool) -> list[float]:
    low = float(values[np.isfinite(values) & ((values > 0) | (not log))].min())
    ends = np.log10([low, top]) if log else np.array([min(low, 0.0), top])
    return [float(ends[0] - 0.03 * (ends[1] - ends[0])), float(ends[1])]


def _about(runs: Sequence[Run], groups: Mapping[int, Group]) -> str:
    lines = []
    for position, group in groups.items():
        seconds = number(runs[position].attributes, "training_seconds")
        total_time = f", {formats.duration(seconds)} in total" if seconds is not None else ""
        prefix = f"{runs[position].name}: " if len(runs) > 1 else ""
        lines.append(prefix + formats.count(_epochs(group), "epoch") + total_time)
    return " · ".join(lines)


def _epochs(group: Group) -> int:
    return max(len(values) for values in group.values())
