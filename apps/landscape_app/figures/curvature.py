"""Curvature at each posterior sample: the largest Hessian eigenvalues, and the trace."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from landscape.store import Group, Run, Spread
from landscape_app import formats
from landscape_app.data import missing, read
from landscape_app.figures import theme
from landscape_app.figures.scale import log_ticks

HOVER_EIGENVALUE = (
    "sample %{x}<br>λ<sub>%{meta}</sub> = %{y:.4g} ± %{error_y.array:.1g}"
    "<br>%{customdata}<extra></extra>"
)
HOVER_TRACE = "sample %{x}<br>trace = %{y:.4g} ± %{error_y.array:.2g}<extra></extra>"


def eigenvalues_figure(run: Run, log: bool = False) -> go.Figure:
    """The largest Hessian eigenvalues of every sample; error bars are the residuals.

    Args:
        run: The run file.
        log: Logarithmic axis; eigenvalues that are not positive are then left out, and counted.

    Returns:
        One trace per eigenvalue index over the samples. Hollow markers did not converge.

    Raises:
        NotMeasured: the run has no eigenvalues.
        InputError: the run file cannot be read.
    """
    group = read(run, "samples", "eigenvalues", optional=("residuals", "converged"))
    values = group["eigenvalues"]
    if not values.size:
        raise missing(run, "samples")
    residuals = group.get("residuals", np.full(values.shape, np.nan))
    converged = group.get("converged", np.ones(values.shape, dtype="u1")).astype(bool)
    figure = go.Figure()
    for index, (colour, symbol) in enumerate(theme.line_styles(values.shape[1])):
        reached = converged[:, index]
        figure.add_trace(
            go.Scatter(
                x=np.arange(len(values)),
                y=values[:, index],
                error_y={"type": "data", "array": residuals[:, index], "thickness": 2, "width": 0},
                mode="markers",
                name=f"λ<sub>{index + 1}</sub>",
                meta=index + 1,
                customdata=np.where(reached, "converged", "not converged"),
                marker={
                    "color": colour,
                    "size": 8,
                    "symbol": [symbol if done else f"{symbol}-open" for done in reached],
                },
                hovertemplate=HOVER_EIGENVALUE,
            )
        )
    figure.update_xaxes(title_text="posterior sample", **_whole_ticks(len(values)))
    figure.update_yaxes(title_text="eigenvalue (nat)")
    if log:
        marks, labels = log_ticks(values)
        figure.update_yaxes(type="log", tickvals=marks, ticktext=labels)
    notes = ["error bars: residual ‖Hv − λv‖"]
    if not converged.all():
        notes.append(f"hollow: {np.count_nonzero(~converged)} not converged")
    if log and (values <= 0).any():
        notes.append(f"{np.count_nonzero(values <= 0)} not positive: not on this axis")
    about = _measured_on(group, len(values))
    return theme.titled(figure, "Largest Hessian eigenvalues", about, " · ".join(notes))


def trace_figure(run: Run) -> go.Figure:
    """The trace of the Hessian at every sample with its standard error, and the mean over samples.

    Args:
        run: The run file.

    Raises:
        NotMeasured: the run has no traces.
        InputError: the run file cannot be read.
    """
    group = read(run, "samples", "trace", optional=("trace_standard_error",))
    values = group["trace"]
    if not values.size:
        raise missing(run, "samples")
    errors = group.get("trace_standard_error", np.full(values.shape, np.nan))
    figure = go.Figure(
        go.Scatter(
            x=np.arange(len(values)),
            y=values,
            error_y={"type": "data", "array": errors, "thickness": 1.5, "width": 5},
            mode="markers",
            name="trace",
            marker={"color": theme.BLUE, "size": 9},
            hovertemplate=HOVER_TRACE,
            showlegend=False,
        )
    )
    spread = Spread.of(values)
    if len(values) > 1:
        figure.add_hline(
            y=spread.mean,
            line={"color": theme.VERMILION, "dash": "dash", "width": 1.5},
        )
    figure.update_xaxes(title_text="posterior sample", **_whole_ticks(len(values)))
    figure.update_yaxes(title_text="trace (nat)")
    notes = "error bars: standard error of the estimate"
    if len(values) > 1:
        notes += f" · dashed: mean over samples, {formats.number(spread.mean)}"
    return theme.titled(figure, "Trace of the Hessian", _measured_on(group, len(values)), notes)


def _whole_ticks(samples: int) -> dict[str, object]:
    # Half a sample is no place for a tick, and one sample should not stretch over the whole axis.
    return {"range": [-0.5, samples - 0.5], "tick0": 0, "dtick": max(1, round(samples / 10))}


def _measured_on(group: Group, samples: int) -> str:
    requested = group.attributes.get("requested", samples)
    counted = formats.count(samples, "sample")
    if requested != samples:
        counted = f"{samples} of {requested} samples"
    examples, split = group.attributes.get("examples"), group.attributes.get("split")
    where = f" on {examples} examples" if examples is not None else ""
    return counted + where + (f" ({split})" if split else "")
