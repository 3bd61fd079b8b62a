"""Figure of the average over the first n samples: do flat samples improve it more?"""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.store import Run
from landscape_app import formats
from landscape_app.data import each_of
from landscape_app.figures import samples, theme
from landscape_app.figures.panels import Panels
from landscape_app.figures.scale import range_of_one
from landscape_app.joined import ORDERS, Averages, Curves, averages

_PANELS = (("nll", "NLL (nat)", ".4f"), ("accuracy", "accuracy", ".1%"), ("ece", "ECE", ".4f"))
# attribute of Averages, label, dash
_LINES = (
    ("flat_first", "flat first", "solid"),
    ("sharp_first", "sharp first", "dash"),
    ("random", "random, mean", "dot"),
)


@np.errstate(all="ignore")  # a file may hold any number
def averaging_figure(*runs: Run, marks: theme.Marks = theme.MARKS) -> go.Figure:
    """NLL, accuracy and ECE of the average over the first n samples, in several orders.

    "Flat first" is the order of increasing lambda_1. The band holds the middle 90 % of twenty
    random orders.

    Args:
        *runs: The run files.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has predictions.
        InputError: a run file cannot be read, or its predictions cannot be scored.
    """
    results = each_of(runs, averages)
    panels = Panels(cols=3, horizontal_spacing=0.08)
    traces: list[theme.Trace] = []
    for column, (metric, label, _) in enumerate(_PANELS, start=1):
        drawn: list[theme.Trace] = []
        for position, curves in results.items():
            legend = column == 1 and len(results) == 1
            drawn += _traces(runs[position], curves, column, marks[position], legend)
        look: dict[str, Any] = {"title": label}
        look |= {"range": range_of_one(np.concatenate([trace["y"] for trace in drawn]))}
        look |= {"tickformat": ".1~%"} if metric == "accuracy" else {}
        panels.y(col=column, **look)
        traces += drawn
    if len(results) > 1:
        dashes = {words: dash for _, words, dash in _LINES}
        traces += samples.keys(runs, results, marks, dashes)
    most_samples = max(len(curves.random["nll"]) for curves in results.values())
    panels.x(
        title="samples averaged",
        tick0=1,
        dtick=max(1, round(most_samples / 6)),
        range=[0.5, most_samples + 0.5],
    )
    drawn_values = {
        position: [curves.random[metric] for metric, *_ in _PANELS]
        for position, curves in results.items()
    }
    lines = [samples.different_data(runs, results), samples.absent(runs, results)]
    lines.append(samples.lost(runs, drawn_values))
    for position, curves in results.items():
        prefix = f"{runs[position].name}: " if len(runs) > 1 else ""
        if curves.lost:
            lines.append(f"{prefix}no order by flatness: {curves.lost}")
        if curves.undefined:
            lost = formats.count(curves.undefined, "sample")
            lines.append(f"{prefix}λ1 of {lost} is not finite: taken as the sharpest")
    counts = {position: _counted(curves) for position, curves in results.items()}
    same_count = len(set(counts.values())) == 1
    about = next(iter(counts.values())) if same_count else samples.by_run(runs, counts)
    notes = f"{about} · band: the middle 90 % of {ORDERS} random orders"
    title = "The average over the first n samples"
    figure = panels.drawn(traces)
    return samples.titled(figure, runs, "averaging", title, notes, *lines, legend_above=True)


def _counted(result: Averages) -> str:
    averaged = len(result.random["nll"])
    if averaged == result.samples:
        return formats.count(averaged, "sample")
    return f"{averaged} of {result.samples} samples, those with curvature"


def _traces(
    run: Run, result: Averages, column: int, mark: theme.Mark, legend: bool
) -> list[theme.Trace]:
    metric, _, digits = _PANELS[column - 1]
    colour, symbol = mark
    name = samples.plain_name(run)
    count = np.arange(1, len(result.random[metric]) + 1)
    shared: dict[str, Any] = {"x": count, "legendgroup": name} | Panels.axes(column)
    ends: dict[str, Any] = {"line": {"width": 0}, "mode": "lines"}
    ends |= {"hoverinfo": "skip", "showlegend": False}
    fill = {"fill": "tonexty", "fillcolor": theme.faint(colour)}
    low, high = "random, 5 %", "random, 95 %"
    traces = [
        theme.scatter(
            y=result.low[metric], name=low, **shared, **ends, **samples.numbers(run, low)
        ),
        theme.scatter(
            y=result.high[metric], name=high, **shared, **ends, **fill, **samples.numbers(run, high)
        ),
    ]
    for attribute, words, dash in _LINES:
        curves: Curves | None = getattr(result, attribute)
        if curves is None:
            continue
        one_point = len(count) == 1  # a line through one point is invisible
        traces.append(
            theme.scatter(
                y=curves[metric],
                mode="lines+markers" if attribute == "flat_first" or one_point else "lines",
                line={"color": colour, "width": 2 if attribute != "random" else 1.4, "dash": dash},
                marker={"size": 5, "symbol": symbol},
                name=words,
                showlegend=legend,
                hovertemplate=f"{name}, {words}<br>%{{x}} samples: %{{y:{digits}}}<extra></extra>",
                **(shared | {"legendgroup": words} if legend else shared),
                **samples.numbers(run, words),
            )
        )
    return traces
