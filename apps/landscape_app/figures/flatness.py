"""Curvature at each posterior sample: the largest eigenvalues, and the trace."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscape.runtime import limits
from landscape.store import Group, Run, SampleMean
from landscape_app import formats
from landscape_app.data import read_each
from landscape_app.figures import samples, theme
from landscape_app.figures.samples import Picked
from landscape_app.figures.scale import log_ticks

_HOVER_EIGENVALUE = (
    "%{customdata[0]}, sample %{customdata[1]}<br>λ<sub>INDEX</sub> = %{y:.4g} "
    "± %{error_y.array:.1g}<br>converged: %{customdata[2]}<extra></extra>"
)
_HOVER_TRACE = (
    "%{customdata[0]}, sample %{customdata[1]}<br>trace = %{y:.4g} ± %{error_y.array:.2g}"
    "<extra></extra>"
)


@np.errstate(all="ignore")  # a file may hold any number
def eigenvalues_figure(
    *runs: Run,
    log: bool = False,
    picked: Picked = samples.NONE,
    marks: theme.Marks = theme.MARKS,
) -> go.Figure:
    """The largest eigenvalues of every sample; error bars are the residuals.

    Args:
        *runs: The run files, one panel each.
        log: Logarithmic axis; eigenvalues that are not positive are then left out, and counted.
        picked: Samples to highlight.
        marks: Colour and marker of each run. The first eigenvalue has its colour, the others
            lighter shades of it.

    Returns:
        One trace per run and eigenvalue index. Hollow markers did not converge.

    Raises:
        NotMeasured: no run has eigenvalues.
        InputError: a run file cannot be read.
    """
    found = read_each(runs, "samples", "eigenvalues", optional=("residuals", "converged"))
    longest = max(group["eigenvalues"].shape[1] for group in found.values())
    for position, group in found.items():
        found[position] = Group(
            {name: values[:, : limits.MAX_DRAWN_MEMBERS] for name, values in group.items()},
            group.attributes,
        )
    titles = (
        [f"{theme.signed(marks[place])} {_brief(runs[place], len(found))}" for place in found]
        if len(runs) > 1
        else None
    )
    figure = make_subplots(
        cols=len(found), shared_yaxes=True, horizontal_spacing=0.02, subplot_titles=titles
    )
    unreached = 0
    for column, (position, group) in enumerate(found.items(), start=1):
        values = group["eigenvalues"]
        residuals = group.get("residuals", np.full(values.shape, np.nan))
        converged = group.get("converged", np.ones(values.shape, dtype="u1")).astype(bool)
        unreached += int(np.count_nonzero(~converged))
        for index, (colour, symbol) in enumerate(_looks(marks[position][0], values.shape[1])):
            reached = converged[:, index]
            trace = theme.scatter(
                x=np.arange(len(values)),
                y=values[:, index],
                error_y={"type": "data", "array": residuals[:, index], "thickness": 2, "width": 0},
                mode="markers",
                name=f"λ<sub>{index + 1}</sub>",
                legendgroup=index,
                showlegend=len(found) == 1,
                marker={
                    "color": colour,
                    "size": 8,
                    "symbol": [symbol if done else f"{symbol}-open" for done in reached],
                },
                hovertemplate=_HOVER_EIGENVALUE.replace("INDEX", str(index + 1)),
                **samples.points(
                    runs[position],
                    f"λ{index + 1}",
                    len(values),
                    picked,
                    converged=np.where(reached, "yes", "no"),
                ),
            )
            figure.add_traces(samples.with_bars(trace, colour), rows=1, cols=column)
        figure.update_xaxes(
            title_text="posterior sample", **samples.whole_ticks(len(values)), col=column
        )
    if len(found) > 1:  # a shade of grey in the legend, as each panel has its own colour
        most = max(group["eigenvalues"].shape[1] for group in found.values())
        for index, (colour, symbol) in enumerate(_looks(theme.MUTED, most)):
            look = {"mode": "markers", "marker": {"color": colour, "symbol": symbol, "size": 8}}
            figure.add_trace(theme.key(f"λ<sub>{index + 1}</sub>", legendgroup=index, **look))
    figure.update_yaxes(title_text="eigenvalue (nat)", col=1)
    every = np.concatenate([group["eigenvalues"].ravel() for group in found.values()])
    notes = ["error bars: residual ‖Hv − λv‖"]
    if unreached:
        notes.append(f"hollow: {unreached} not converged")
    if longest > limits.MAX_DRAWN_MEMBERS:
        notes.append(f"the first {limits.MAX_DRAWN_MEMBERS} of {longest:,} eigenvalues")
    if log:
        ticks, labels = log_ticks(every)
        figure.update_yaxes(type="log", tickvals=ticks, ticktext=labels)
        if (every <= 0).any():
            notes.append(f"{np.count_nonzero(every <= 0)} not positive: not on this axis")
    lines = samples.about(runs, found, "eigenvalues")
    lines.append(
        samples.lost(runs, {place: [group["eigenvalues"]] for place, group in found.items()})
    )
    matrix, which = samples.matrices(runs, found)
    title = f"Largest eigenvalues of {matrix}"
    samples.titled(figure, runs, "eigenvalues", title, *lines, which, " · ".join(notes))
    if titles:
        figure.update_layout(margin_t=figure.layout.margin.t + 24)
    return figure


@np.errstate(all="ignore")  # a file may hold any number
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
    longest = max(len(group["trace"]) for group in found.values())
    figure = go.Figure()
    means: dict[int, float] = {}
    for position, group in found.items():
        run, values = runs[position], group["trace"]
        errors = group.get("trace_standard_error", np.full(values.shape, np.nan))
        colour, symbol = marks[position]
        name = samples.plain_name(run)
        trace = theme.scatter(
            x=np.arange(len(values)) + samples.aside(position, len(runs)),
            y=values,
            error_y={"type": "data", "array": errors, "thickness": 1.5, "width": 5},
            mode="markers",
            name=name,
            legendgroup=name,
            marker={"color": colour, "symbol": symbol, "size": 9},
            hovertemplate=_HOVER_TRACE,
            showlegend=len(runs) > 1,
            **samples.points(run, "trace", len(values), picked),
        )
        figure.add_traces(samples.with_bars(trace, colour))
        if len(values) > 1:
            means[position] = SampleMean.of(values).mean
    for position, mean in means.items():
        name = samples.plain_name(runs[position])
        figure.add_scatter(
            x=[-0.5, longest - 0.5],
            y=[mean, mean],
            mode="lines",
            name=f"{name}: mean over samples",
            legendgroup=name,
            showlegend=False,
            line={"color": marks[position][0], "dash": "dash", "width": 1.5},
            hovertemplate=f"{name}: mean over samples<br>%{{y:.4g}}<extra></extra>",
            **samples.numbers(runs[position], "mean over samples", axes="y", once=True),
        )
    figure.update_xaxes(title_text="posterior sample", **samples.whole_ticks(longest))
    figure.update_yaxes(title_text="trace (nat)")
    notes = "error bars: standard error of the estimate"
    if means:
        whose = {
            position: f"{runs[position].path.stem} " if len(runs) > 1 else "" for position in means
        }
        written = ", ".join(
            f"{whose[position]}{formats.number(mean)}" for position, mean in means.items()
        )
        notes += f" · dashed: mean over samples, {written}"
    lines = samples.about(runs, found, "trace")
    lines.append(samples.lost(runs, {place: [group["trace"]] for place, group in found.items()}))
    matrix, which = samples.matrices(runs, found)
    details = [*lines, which, notes]
    return samples.titled(
        figure, runs, "trace", f"Trace of {matrix}", *details, legend_above=len(runs) > 1
    )


def _looks(colour: str, count: int) -> list[tuple[str, str]]:
    """Shades and markers of the first, second, ... eigenvalue."""
    return list(zip(theme.shades(colour, count), cycle(theme.SYMBOLS), strict=False))


def _brief(run: Run, columns: int) -> str:
    """A run's name that fits above its column."""
    return formats.plain(formats.shortened(run.path.stem, 100 // columns))
