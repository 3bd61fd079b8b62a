"""Metrics of the averaged prediction, and of the predictions of single samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from landscape.store import Group, Run, SampleMean
from landscape.store.summary import number, places_of
from landscape_app.data import read, read_each
from landscape_app.figures import samples, theme
from landscape_app.figures.panels import Panels
from landscape_app.figures.samples import Picked

_SINGLE, _AVERAGE = "one sample alone", "average over samples"
_PANELS = (
    ("nll", "NLL (nat)", ".4f"),
    ("accuracy", "accuracy", ".1%"),
    ("rmse", "RMSE", ".4g"),  # regression
)
_OF_CLASSES, _OF_REAL_TARGETS = ("accuracy", "nll", "ece", "brier"), ("nll", "rmse")


@dataclass(frozen=True)
class MetricRow:
    """One metric of the averaged prediction, and of single samples if the file holds them.

    Attributes:
        name: Name of the metric.
        average: Metric of the averaged prediction; None if it is not in the file.
        single: Mean over single samples; None if they are not in the file.
        lowest: Lowest value of a single sample.
        highest: Highest value of a single sample.
    """

    name: str
    average: float | None
    single: SampleMean | None
    lowest: float = math.nan
    highest: float = math.nan


def metrics_table(run: Run) -> list[MetricRow]:
    """Accuracy, NLL, ECE and Brier score of the average and of single samples.

    For regression, the metrics are NLL and root mean squared error.

    Args:
        run: The run file.

    Raises:
        NotMeasured: the run has no predictions.
        InputError: the run file cannot be read.
    """
    group = read(
        run, "predictions", optional=tuple({*_OF_CLASSES, *_OF_REAL_TARGETS, "chain", "place"})
    )
    names = _OF_REAL_TARGETS if "rmse" in group.attributes else _OF_CLASSES
    return [_row(run, group, name) for name in names]


@np.errstate(all="ignore")  # a file may hold any number
def metrics_figure(
    *runs: Run, picked: Picked = samples.NONE, marks: theme.Marks = theme.MARKS
) -> go.Figure:
    """NLL and accuracy, or RMSE: single samples as points, and their average as a line.

    Args:
        *runs: The run files.
        picked: Samples to highlight.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has predictions.
        InputError: a run file cannot be read.
    """
    groups = read_each(runs, "predictions", "nll", optional=("accuracy", "rmse"))
    one_run = len(groups) == 1
    drawn = [panel for panel in _PANELS if any(panel[0] in group for group in groups.values())]
    panels = Panels(cols=len(drawn), horizontal_spacing=0.13)
    traces: list[theme.Trace] = []
    for column, (metric, label, digits) in enumerate(drawn, start=1):
        for position, group in groups.items():
            if metric not in group:
                continue
            run, count = runs[position], len(group[metric])
            colour, symbol = marks[position]
            name = samples.plain_name(run)
            traces.append(
                theme.scatter(
                    x=np.arange(count) + samples.aside(position, len(runs)),
                    y=group[metric],
                    mode="markers",
                    name=_SINGLE if one_run else name,
                    legendgroup=_SINGLE if one_run else name,
                    showlegend=column == 1,
                    marker={"color": colour, "symbol": symbol, "size": 8},
                    hovertemplate=f"%{{customdata[0]}}, sample %{{customdata[1]}}<br>{label} "
                    f"%{{y:{digits}}}<extra></extra>",
                    **Panels.axes(column),
                    **samples.points(run, _SINGLE, count, picked),
                )
            )
            average = number(group.attributes, metric)
            if average is None:
                continue
            traces.append(
                theme.scatter(
                    x=[-0.5, count - 0.5],
                    y=[average, average],
                    mode="lines",
                    name=_AVERAGE,
                    legendgroup=_AVERAGE if one_run else name,
                    showlegend=column == 1 and one_run,
                    line={"color": colour, "width": 2.5},
                    hovertemplate=f"{name}: {_AVERAGE}<br>{label} %{{y:{digits}}}<extra></extra>",
                    **Panels.axes(column),
                    **samples.numbers(run, _AVERAGE, axes="y", once=True),
                )
            )
        metric_values = [group[metric] for group in groups.values() if metric in group]
        look = theme.room(np.concatenate(metric_values))
        look |= {"tickformat": ".1~%"} if metric == "accuracy" else {}
        panels.y(col=column, title=label, **look)
    if not one_run:
        traces.append(theme.key(_SINGLE, mode="markers", marker={"color": theme.MUTED}))
        traces.append(theme.key(_AVERAGE, mode="lines", line={"color": theme.MUTED}))
    most_samples = max(len(group["nll"]) for group in groups.values())
    panels.x(title="posterior sample", **samples.whole_ticks(most_samples))
    shown = {
        place: [group[metric] for metric, *_ in drawn if metric in group]
        for place, group in groups.items()
    }
    lines = [*samples.about(runs, groups, "nll"), samples.different_data(runs, groups)]
    lines.append(samples.lost(runs, shown))
    title = "The average against single samples"
    figure = panels.drawn(traces)
    return samples.titled(figure, runs, "metrics", title, *lines, legend_above=True)


def _row(run: Run, group: Group, name: str) -> MetricRow:
    average = number(group.attributes, name)
    values = group.get(name, np.empty(0))
    if not len(values):
        return MetricRow(name, average, None)
    mean_over_samples = SampleMean.of(values, places=places_of(run, group, len(values)))
    return MetricRow(name, average, mean_over_samples, float(values.min()), float(values.max()))
