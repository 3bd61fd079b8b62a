"""Figure of the training record, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscape.store import Group, Run
from landscape.store.summary import number
from landscape_app import formats
from landscape_app.data import missing, read_each
from landscape_app.figures import samples, theme

# variable, axis, label, dash
_LINES = (
    ("train_loss", "loss (nat)", "loss of the training batches", "dot"),
    ("validation_loss", "loss (nat)", "validation loss", "solid"),
    ("validation_accuracy", "accuracy", "validation accuracy", "solid"),
    ("perturbation_norm", "length of the perturbation", "perturbation", "solid"),
)


@np.errstate(all="ignore")  # a file may hold any number
def training_figure(*runs: Run, marks: theme.Marks = theme.MARKS) -> go.Figure:
    """Losses, accuracy on the validation split and length of the perturbation, by epoch.

    Args:
        *runs: The run files.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has a training record.
        InputError: a run file cannot be read.
    """
    names = tuple(name for name, *_ in _LINES)
    groups = read_each(runs, "training", "epoch", optional=names)
    curves = {
        (position, name): group[name]
        for position, group in groups.items()
        for name in names
        if np.isfinite(group.get(name, np.empty(0))).any()
    }
    if not curves:
        raise missing(runs[0], "training")
    lines = [line for line in _LINES if any(name == line[0] for _, name in curves)]
    panels = list(dict.fromkeys(axis for _, axis, _, _ in lines))
    figure = make_subplots(cols=len(panels), horizontal_spacing=0.09)
    for (position, name), values in curves.items():
        _, axis, label, dash = next(line for line in lines if line[0] == name)
        colour, symbol = marks[position]
        prefix = f"{samples.plain_name(runs[position])}: " if len(groups) > 1 else ""
        epochs = groups[position]["epoch"]
        figure.add_trace(
            theme.scatter(
                x=epochs,
                y=values,
                mode="lines+markers" if len(epochs) < 40 else "lines",
                name=prefix + label,
                line={"color": colour, "width": 2, "dash": dash},
                marker={"size": 5, "symbol": symbol},
                legendgroup=samples.plain_name(runs[position]),
                showlegend=not prefix,
                **samples.numbers(runs[position], label),
                hovertemplate=f"{prefix}epoch %{{x}}<br>{label} %{{y:.4g}}<extra></extra>",
            ),
            row=1,
            col=panels.index(axis) + 1,
        )
    for column, axis in enumerate(panels, start=1):
        figure.update_yaxes(title_text=axis, col=column)
        if axis == "accuracy":
            figure.update_yaxes(tickformat=".1~%", col=column)
    figure.update_xaxes(title_text="epoch")
    if len(groups) > 1:
        dashes = {label: dash for _, axis, label, dash in lines if axis == "loss (nat)"}
        figure.add_traces(samples.keys(runs, groups, marks, dashes))
    shown = {
        place: [curves[place, name] for name in names if (place, name) in curves]
        for place in groups
    }
    details = [_about(runs, groups), samples.absent(runs, groups), samples.lost(runs, shown)]
    return samples.titled(figure, runs, "training", "Training record", *details, legend_above=True)


def _about(runs: Sequence[Run], groups: Mapping[int, Group]) -> str:
    lines = []
    for position, group in groups.items():
        seconds = number(runs[position].attributes, "training_seconds")
        total_time = f", {formats.duration(seconds)} in total" if seconds is not None else ""
        prefix = f"{runs[position].path.stem}: " if len(runs) > 1 else ""
        lines.append(prefix + formats.count(len(group["epoch"]), "epoch") + total_time)
    return " · ".join(lines)
