"""Reliability diagrams: the accuracy of predictions at each level of their confidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch

from landscape.prediction import Calibration, Prediction, reliability
from landscape.store import Group, Run
from landscape_app import formats
from landscape_app.data import PerRun, each_of, read_class_probabilities
from landscape_app.figures import samples, theme
from landscape_app.figures.panels import figure_of

_HOVER = (
    "%{meta.run}<br>confidence %{x:.1%}<br>accuracy %{y:.1%}, %{customdata[1]:.1%} – "
    "%{customdata[2]:.1%}<br>%{customdata[0]:,} examples<extra></extra>"
)
_FILLED = 0.92
"""Fraction of a bin that the bars of all runs fill."""
FEW, _FADED = 10, 0.35
"""Number of examples below which a bin is faint, and its opacity."""
_FAINT = f"faint: bins of fewer than {FEW} examples"


@np.errstate(all="ignore")  # a file may hold any number
def calibration_figure(*runs: Run, marks: theme.Marks = theme.MARKS) -> go.Figure:
    """Reliability diagram of the averaged prediction: accuracy against confidence, with counts.

    There are fifteen bins of equal width; a step spans each bin, and its point stands at the mean
    confidence. Error bars are Wilson's 95 % intervals of the accuracy. Bins of fewer than ten
    examples are faint. ``landscape.prediction.ece`` defines the calibration errors in the subtitle.

    Args:
        *runs: The run files.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has predictions.
        InputError: a run file cannot be read, or its predictions cannot be scored.
    """
    results = each_of(runs, scored)
    groups: PerRun[Group] = PerRun()
    groups.update({position: group for position, (group, _) in results.items()})
    groups.absent = results.absent
    traces = [
        theme.scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            line={"color": theme.MUTED, "dash": "dash", "width": 1.2},
            name="perfect calibration",
            hoverinfo="skip",
        )
    ]
    errors = []
    for place, (position, (_, bins)) in enumerate(results.items()):
        prefix = f"{runs[position].name}: " if len(runs) > 1 else ""
        errors.append(f"{prefix}ECE {formats.number(float(bins.ece))}")
        part = (place / len(results), 1 / len(results))
        traces += _traces(bins, marks[position], runs[position], part)
    # Both parts have one x axis, so that it stays as wide as the square above it is.
    layout: dict[str, Any] = {
        "barmode": "overlay",  # the bars of each run have their own part of a bin
        "xaxis": {"range": [0, 1], "tickformat": ".0%", "anchor": "y2", "constrain": "domain"}
        | {"title": {"text": "confidence of the averaged prediction"}},
        "yaxis": {"range": [0, 1], "tickformat": ".0%", "domain": [0.24, 1], "scaleanchor": "x"}
        | {"constrain": "domain", "constraintoward": "bottom", "title": {"text": "accuracy"}},
        "yaxis2": {"domain": [0, 0.19], "type": "log", "dtick": 1, "title": {"text": "examples"}}
        | {"anchor": "x"},
    }
    figure = figure_of(traces, layout)
    for words, x, y in (("underconfident", 0.2, 0.8), ("overconfident", 0.8, 0.2)):
        look = {"showarrow": False, "font": {"color": theme.MUTED, "size": 12.5}}
        figure.add_annotation(text=words, x=x, y=y, **look)
    lines = [
        *samples.about(runs, groups, "log_probabilities"),
        samples.different_data(runs, groups),
    ]
    notes = " · ".join([*errors, "error bars: 95 % intervals (Wilson)", _FAINT])
    title = "Reliability diagram"
    details = [*lines, notes]
    return samples.titled(
        figure, runs, "calibration", title, *details, legend_above=True, width=theme.SQUARE
    )


def scored(run: Run) -> tuple[Group, Calibration]:
    """The predictions of a run, and their reliability by confidence."""
    group = read_class_probabilities(run)
    return group, reliability(average(group), torch.from_numpy(group["labels"]))


def average(group: Group) -> torch.Tensor:
    """Logarithm of the probabilities averaged over samples, shape (N, C)."""
    log_probabilities = torch.from_numpy(group["log_probabilities"])
    return Prediction(log_probabilities, torch.from_numpy(group["labels"])).average


def _traces(
    bins: Calibration, mark: theme.Mark, run: Run, part: tuple[float, float]
) -> list[theme.Trace]:
    """The traces of one run. ``part``: start and width of its bars as fractions of a bin."""
    filled = bins.counts > 0
    counts, confidence = bins.counts[filled], bins.mean_confidence[filled]
    accuracy = bins.accuracy[filled]
    low, high = (end[filled] for end in bins.accuracy_interval())
    above, below = ((high - accuracy).clamp(min=0).numpy(), (accuracy - low).clamp(min=0).numpy())
    colour, symbol = mark
    name = samples.plain_name(run)
    shared = {"name": name, "legendgroup": name}
    edges = bins.edges
    is_small = (counts < FEW).numpy()
    traces: list[theme.Trace] = []
    for small in (False, True):
        steps = np.flatnonzero(filled.numpy())[is_small == small]
        if not len(steps):
            continue
        gap = np.full(len(steps), np.nan)
        ends = np.stack([edges[steps].numpy(), edges[steps + 1].numpy(), gap], axis=1)
        levels = bins.accuracy[steps].numpy()
        traces.append(
            theme.scatter(
                x=ends.ravel(),
                y=np.stack([levels, levels, gap], axis=1).ravel(),
                mode="lines",
                line={"color": colour, "width": 2.5},
                opacity=_FADED if small else 1,
                hoverinfo="skip",
                showlegend=False,
                **shared,
            )
        )
    opacity = np.where(is_small, _FADED, 1.0)
    traces.append(
        theme.scatter(
            x=confidence.numpy(),
            y=accuracy.numpy(),
            error_y={"type": "data", "symmetric": False, "thickness": 1.2, "width": 3}
            | {"array": above, "arrayminus": below, "color": theme.faint(colour, 0.6)},
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 7, "opacity": opacity},
            hovertemplate=_HOVER,
            **shared,
            **samples.numbers(
                run, "accuracy", examples=counts.long().numpy(), low=low.numpy(), high=high.numpy()
            ),
        )
    )
    # Plotly derives its own widths from the filled bins: a single one would fill the axis.
    widths = _FILLED * (edges[1:] - edges[:-1])[filled].numpy()
    traces.append(
        theme.bars(
            x=((edges[:-1] + edges[1:]) / 2)[filled].numpy(),
            y=counts.long().numpy(),
            yaxis="y2",
            offset=(part[0] - 0.5) * widths,
            width=part[1] * widths,
            marker={"color": colour, "opacity": opacity},
            showlegend=False,
            hovertemplate="%{meta.run}<br>confidence %{customdata[0]:.1%} – %{customdata[1]:.1%}"
            "<br>%{y:,} examples<extra></extra>",
            **shared,
            **samples.numbers(
                run, "examples", low=edges[:-1][filled].numpy(), high=edges[1:][filled].numpy()
            ),
        )
    )
    return traces
