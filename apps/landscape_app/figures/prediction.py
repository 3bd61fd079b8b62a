"""What averaging over the posterior's samples does to the predictions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscape.store import Group, Run, Spread
from landscape.store.summary import number
from landscape_app import formats
from landscape_app.data import missing, read
from landscape_app.figures import theme

_AVERAGE = "average over samples"
_PANELS = (("nll", "negative log-likelihood (nat)", ".4f"), ("accuracy", "accuracy", ".1%"))


@dataclass(frozen=True)
class MetricRow:
    """One metric: of the averaged prediction, and of the samples alone where they were kept."""

    name: str
    average: float | None
    single: Spread | None
    lowest: float = math.nan
    highest: float = math.nan


def metrics_table(run: Run) -> list[MetricRow]:
    """Accuracy, NLL, ECE and Brier score of the average, beside those of single samples.

    Args:
        run: The run file.

    Raises:
        NotMeasured: the run has no predictions.
        InputError: the run file cannot be read.
    """
    group = read(run, "predictions", optional=("nll", "accuracy"))
    return [_row(group, name) for name in ("accuracy", "nll", "ece", "brier")]


def metrics_figure(run: Run) -> go.Figure:
    """Two panels, NLL and accuracy: every sample alone as a point, their average as a line.

    Args:
        run: The run file.

    Raises:
        NotMeasured: the run has no predictions.
        InputError: the run file cannot be read.
    """
    group = read(run, "predictions", "nll", "accuracy")
    samples = len(group["nll"])
    if not samples:
        raise missing(run, "predictions")
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.13)
    for column, (name, label, digits) in enumerate(_PANELS, start=1):
        average = number(group.attributes, name)
        figure.add_trace(
            go.Scatter(
                x=np.arange(samples),
                y=group[name],
                mode="markers",
                name="one sample alone",
                legendgroup="single",
                showlegend=column == 1,
                marker={"color": theme.BLUE, "size": 8},
                hovertemplate=f"sample %{{x}}<br>{label} %{{y:{digits}}}<extra></extra>",
            ),
            row=1,
            col=column,
        )
        if average is not None:
            figure.add_trace(
                go.Scatter(
                    x=[-0.5, samples - 0.5],
                    y=[average, average],
                    mode="lines",
                    name=_AVERAGE,
                    legendgroup="average",
                    showlegend=column == 1,
                    line={"color": theme.VERMILION, "width": 2.5},
                    hovertemplate=f"{_AVERAGE}<br>{label} %{{y:{digits}}}<extra></extra>",
                ),
                row=1,
                col=column,
            )
        figure.update_yaxes(title_text=label, row=1, col=column)
    figure.update_yaxes(tickformat=".1~%", row=1, col=2)
    figure.update_xaxes(title_text="posterior sample", range=[-0.5, samples - 0.5])
    figure.update_xaxes(tick0=0, dtick=max(1, round(samples / 10)))
    about = predicted_on(group, samples)
    return theme.titled(figure, "The average against single samples", about, legend_above=True)


def predicted_on(group: Group, samples: int) -> str:
    """In words: how many samples predicted which examples."""
    examples = number(group.attributes, "examples")
    split = group.attributes.get("split")
    words = formats.count(samples, "sample")
    if examples is not None:
        words += " on " + formats.count(int(examples), "example")
    return words + (f" of the {split} split" if split else "")


def _row(group: Group, name: str) -> MetricRow:
    average = number(group.attributes, name)
    values = group.get(name, np.empty(0))
    if not len(values):
        return MetricRow(name, average, None)
    return MetricRow(name, average, Spread.of(values), float(values.min()), float(values.max()))
