"""Figure of the flatness of all samples of each run: boxes with one point for each sample."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscape.store import Run
from landscape_app import formats
from landscape_app.data import read_each
from landscape_app.figures import samples, theme
from landscape_app.figures.samples import Picked
from landscape_app.figures.scale import log_ticks

_PANELS = (("largest", "λ<sub>1</sub> (nat)", "λ1"), ("trace", "trace (nat)", "trace"))
_HOVER = "%{customdata[0]}, sample %{customdata[1]}<br>%{y:.4g}<extra></extra>"


@np.errstate(all="ignore")  # a file may hold any number
def spread_figure(
    *runs: Run,
    log: bool = False,
    picked: Picked = samples.NONE,
    marks: theme.Marks = theme.MARKS,
) -> go.Figure:
    """lambda_1 and trace of every sample, with a box and its points for each run.

    Args:
        *runs: The run files.
        log: Whether the axes are logarithmic. Values that are not positive are then left out and
            counted.
        picked: Samples to highlight.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has been measured.
        InputError: a run file cannot be read.
    """
    groups = read_each(runs, "samples", "eigenvalues", "trace")
    figure = make_subplots(cols=2, horizontal_spacing=0.11)
    lost = 0
    for column, (quantity, label, series) in enumerate(_PANELS, start=1):
        drawn = []
        for position, group in groups.items():
            values = group["eigenvalues"][:, 0] if quantity == "largest" else group["trace"]
            drawn.append(values)
            colour, symbol = marks[position]
            name = samples.plain_name(runs[position])
            method = formats.plain(formats.label(runs[position].attributes, "method"))
            figure.add_trace(
                go.Box(
                    x=[f"{name}<br>({method})" if method not in ("", name) else name] * len(values),
                    y=np.where((values > 0) | (not log), values, np.nan),
                    name=name,
                    boxpoints="all",
                    jitter=0.5,
                    pointpos=0,
                    line={"color": colour, "width": 1.5},
                    fillcolor=theme.faint(colour),
                    marker={"color": colour, "symbol": symbol, "size": 7},
                    showlegend=False,
                    hoveron="points",
                    hovertemplate=_HOVER,
                    **samples.points(runs[position], series, len(values), picked, y=values),
                ),
                row=1,
                col=column,
            )
        figure.update_yaxes(title_text=label, row=1, col=column)
        if log:
            all_values = np.concatenate(drawn)
            ticks, labels = log_ticks(all_values)
            lost += int(np.count_nonzero(all_values <= 0))
            figure.update_yaxes(type="log", tickvals=ticks, ticktext=labels, col=column)
    notes = "one point per sample; box: quartiles and median"
    if lost:
        notes += f" · {lost} not positive: not on this axis"
    matrix, matrix_details = samples.matrices(runs, groups)
    lines = samples.about(runs, groups, "trace")
    shown = {place: [group["eigenvalues"][:, 0], group["trace"]] for place, group in groups.items()}
    lines.append(samples.lost(runs, shown))
    title = f"Spread over samples of {matrix}"
    return samples.titled(figure, runs, "spread", title, *lines, matrix_details, notes)
