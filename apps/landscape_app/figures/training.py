"""How training went, epoch by epoch."""

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

# name of the variable, axis, words in the legend, dash
_LINES = (
    ("train_loss", "loss (nat)", "loss of the training batches", "dot"),
    ("validation_loss", "loss (nat)", "validation loss", "solid"),
    ("validation_accuracy", "accuracy", "validation accuracy", "solid"),
    ("perturbation_norm", "length of the perturbation", "perturbation", "solid"),
)


@np.errstate(all="ignore")  # a file may hold any number
def training_figure(*runs: Run, marks: theme.Marks = theme.MARKS) -> go.Figure:
    """Panels over the epochs: losses, accuracy on the validation split, the perturbation's length.

    Args:
        *runs: The run files.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has a training record.
        InputError: a run file cannot be read.
    """
    names = tuple(name for name, *_ in _LINES)
    found = read_each(runs, "training", "epoch", optional=names)
    drawn = {
        (position, name): group[name]
        for position, group in found.items()
        for name in names
        if np.isfinite(group.get(name, np.empty(0))).any()
    }
    if not drawn:
        raise missing(runs[0], "training")
    lines = [line for line in _LINES if any(name == line[0] for _, name in drawn)]
    panels = list(dict.fromkeys(axis for _, axis, _, _ in lines))
    figure = make_subplots(cols=len(panels), horizontal_spacing=0.09)
    for (position, name), values in drawn.items():
        _, axis, words, dash = next(line for line in lines if line[0] == name)
        colour, symbol = marks[position]
        whose = f"{samples.plain_name(runs[position])}: " if len(found) > 1 else ""
        epochs = found[position]["epoch"]
        figure.add_trace(
            theme.scatter(
                x=epochs,
                y=values,
                mode="lines+markers" if len(epochs) < 40 else "lines",
                name=whose + words,
                line={"color": colour, "width": 2, "dash": dash},
                marker={"size": 5, "symbol": symbol},
                legendgroup=samples.plain_name(runs[position]),
                showlegend=not whose,
                **samples.numbers(runs[position], words),
                hovertemplate=f"{whose}epoch %{{x}}<br>{words} %{{y:.4g}}<extra></extra>",
            ),
            row=1,
            col=panels.index(axis) + 1,
        )
    for column, axis in enumerate(panels, start=1):
        figure.update_yaxes(title_text=axis, col=column)
        if axis == "accuracy":
            figure.update_yaxes(tickformat=".1~%", col=column)
    figure.update_xaxes(title_text="epoch")
    if len(found) > 1:
        dashes = {words: dash for _, axis, words, dash in lines if axis == "loss (nat)"}
        figure.add_traces(samples.keys(runs, found, marks, dashes))
    shown = {
        place: [drawn[place, name] for name in names if (place, name) in drawn] for place in found
    }
    details = [_about(runs, found), samples.absent(runs, found), samples.lost(runs, shown)]
    return samples.titled(figure, runs, "training", "Training record", *details, legend_above=True)


def _about(runs: Sequence[Run], found: Mapping[int, Group]) -> str:
    lines = []
    for position, group in found.items():
        seconds = number(runs[position].attributes, "training_seconds")
        took = f", {formats.duration(seconds)} in all" if seconds is not None else ""
        whose = f"{runs[position].path.stem}: " if len(runs) > 1 else ""
        lines.append(whose + formats.count(len(group["epoch"]), "epoch") + took)
    return " · ".join(lines)
