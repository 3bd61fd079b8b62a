"""Curvature at each posterior sample: the largest eigenvalues, and the trace."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscape.store import Run, Spread
from landscape_app import formats
from landscape_app.data import read_each
from landscape_app.figures import samples, theme
from landscape_app.figures.samples import Picked
from landscape_app.figures.scale import log_ticks

HOVER_EIGENVALUE = (
    "%{customdata[0]}, sample %{customdata[1]}<br>λ<sub>%{meta}</sub> = %{y:.4g} "
    "± %{error_y.array:.1g}<br>%{customdata[2]}<extra></extra>"
)
HOVER_TRACE = (
    "%{customdata[0]}, sample %{customdata[1]}<br>trace = %{y:.4g} ± %{error_y.array:.2g}"
    "<extra></extra>"
)


def eigenvalues_figure(*runs: Run, log: bool = False, picked: Picked = samples.NONE) -> go.Figure:
    """The largest eigenvalues of every sample; error bars are the residuals.

    Args:
        *runs: The run files, one panel each.
        log: Logarithmic axis; eigenvalues that are not positive are then left out, and counted.
        picked: Samples to highlight.

    Returns:
        One trace per run and eigenvalue index. Hollow markers did not converge.

    Raises:
        NotMeasured: no run has eigenvalues.
        InputError: a run file cannot be read.
    """
    found = read_each(runs, "samples", "eigenvalues", optional=("residuals", "converged"))
    titles = [samples.plain_name(runs[position]) for position in found] if len(runs) > 1 else None
    figure = make_subplots(
        cols=len(found), shared_yaxes=True, horizontal_spacing=0.02, subplot_titles=titles
    )
    widest = max(found, key=lambda position: found[position]["eigenvalues"].shape[1])
    unreached = 0
    for column, (position, group) in enumerate(found.items(), start=1):
        values = group["eigenvalues"]
        residuals = group.get("residuals", np.full(values.shape, np.nan))
        converged = group.get("converged", np.ones(values.shape, dtype="u1")).astype(bool)
        unreached += np.count_nonzero(~converged)
        for index, (colour, symbol) in enumerate(theme.line_styles(values.shape[1])):
            reached = converged[:, index]
            words = np.where(reached, "converged", "not converged").tolist()
            figure.add_trace(
                go.Scatter(
                    x=np.arange(len(values)),
                    y=values[:, index],
                    error_y={"type": "data", "array": residuals[:, index]}
                    | {"thickness": 2, "width": 0},
                    mode="markers",
                    name=f"λ<sub>{index + 1}</sub>",
                    legendgroup=index,
                    showlegend=position == widest,
                    meta=index + 1,
                    marker={
                        "color": colour,
                        "size": 8,
                        "symbol": [symbol if done else f"{symbol}-open" for done in reached],
                    },
                    hovertemplate=HOVER_EIGENVALUE,
                    **samples.points(runs[position], len(values), picked, words),
                ),
                row=1,
                col=column,
            )
        figure.update_xaxes(
            title_text="posterior sample", **samples.whole_ticks(len(values)), col=column
        )
    figure.update_yaxes(title_text="eigenvalue (nat)", col=1)
    every = np.concatenate([group["eigenvalues"].ravel() for group in found.values()])
    notes = ["error bars: residual ‖Hv − λv‖"]
    if unreached:
        notes.append(f"hollow: {unreached} not converged")
    if log:
        marks, labels = log_ticks(every)
        figure.update_yaxes(type="log", tickvals=marks, ticktext=labels)
        if (every <= 0).any():
            notes.append(f"{np.count_nonzero(every <= 0)} not positive: not on this axis")
    lines = samples.about(runs, found, "eigenvalues")
    matrix, which = samples.matrices(runs, found)
    theme.titled(figure, f"Largest eigenvalues of {matrix}", *lines, which, " · ".join(notes))
    if titles:
        figure.update_layout(margin_t=figure.layout.margin.t + 24)
    return figure


def trace_figure(
    *runs: Run, picked: Picked = samples.NONE, marks: theme.Marks = theme.MARKS
) -> go.Figure:
    """The trace at every sample with its standard error, and the mean over samples.

    Args:
        *runs: The run files.
        picked: Samples to highlight.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has traces.
        InputError: a run file cannot be read.
    """
    found = read_each(runs, "samples", "trace", optional=("trace_standard_error",))
    figure = go.Figure()
    means = []
    for position, group in found.items():
        values = group["trace"]
        errors = group.get("trace_standard_error", np.full(values.shape, np.nan))
        colour, symbol = marks[position]
        figure.add_trace(
            go.Scatter(
                x=np.arange(len(values)) + samples.aside(position, len(runs)),
                y=values,
                error_y={"type": "data", "array": errors, "thickness": 1.5, "width": 5},
                mode="markers",
                name=samples.plain_name(runs[position]),
                marker={"color": colour, "symbol": symbol, "size": 9},
                hovertemplate=HOVER_TRACE,
                showlegend=len(runs) > 1,
                **samples.points(runs[position], len(values), picked),
            )
        )
        if len(values) > 1:
            mean = Spread.of(values).mean
            means.append(formats.number(mean))
            figure.add_hline(y=mean, line={"color": colour, "dash": "dash", "width": 1.5})
    longest = max(len(group["trace"]) for group in found.values())
    figure.update_xaxes(title_text="posterior sample", **samples.whole_ticks(longest))
    figure.update_yaxes(title_text="trace (nat)")
    notes = "error bars: standard error of the estimate"
    if means:
        notes += f" · dashed: mean over samples, {', '.join(means)}"
    lines = samples.about(runs, found, "trace")
    matrix, which = samples.matrices(runs, found)
    title = f"Trace of {matrix}"
    return theme.titled(figure, title, *lines, which, notes, legend_above=len(runs) > 1)
