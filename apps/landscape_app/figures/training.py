"""How training went, epoch by epoch."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscape.store import Run
from landscape.store.summary import number
from landscape_app import formats
from landscape_app.data import missing, read
from landscape_app.figures import theme

# name of the variable, panel, words in the legend, colour
_LINES = (
    ("train_loss", 1, "loss of the training batches", theme.BLUE),
    ("validation_loss", 1, "validation loss", theme.VERMILION),
    ("validation_accuracy", 2, "validation accuracy", theme.VERMILION),
)


def training_figure(run: Run) -> go.Figure:
    """Two panels over the epochs: the losses, and the accuracy on the validation split.

    Args:
        run: The run file.

    Raises:
        NotMeasured: the run has no training record.
        InputError: the run file cannot be read.
    """
    group = read(run, "training", "epoch", optional=tuple(name for name, *_ in _LINES))
    epochs = group["epoch"]
    lines = [line for line in _LINES if np.isfinite(group.get(line[0], np.empty(0))).any()]
    if not lines:
        raise missing(run, "training")
    panels = sorted({panel for _, panel, _, _ in lines})
    figure = make_subplots(rows=1, cols=len(panels), horizontal_spacing=0.13)
    for name, panel, words, colour in lines:
        column = panels.index(panel) + 1
        figure.add_trace(
            go.Scatter(
                x=epochs,
                y=group[name],
                mode="lines+markers" if len(epochs) < 40 else "lines",
                name=words,
                line={"color": colour, "width": 2, "dash": "dot" if panel == 2 else "solid"},
                marker={"size": 5},
                hovertemplate=f"epoch %{{x}}<br>{words} %{{y:.4g}}<extra></extra>",
            ),
            row=1,
            col=column,
        )
        figure.update_yaxes(title_text="loss (nat)" if panel == 1 else "accuracy", col=column)
        if panel == 2:
            figure.update_yaxes(tickformat=".1~%", col=column)
    figure.update_xaxes(title_text="epoch")
    seconds = number(run.attributes, "training_seconds")
    took = f", {formats.duration(seconds)} in all" if seconds is not None else ""
    about = formats.count(len(epochs), "epoch") + took
    return theme.titled(figure, "Training record", about, legend_above=True)
