"""Figures of the curvature at each posterior sample: largest eigenvalues and trace."""

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
        log: Whether the axis is logarithmic. Eigenvalues that are not positive are then left out
            and counted.
        picked: Samples to highlight.
        marks: Colour and marker of each run. The first eigenvalue has this colour, and the others
            have lighter shades of it.

    Returns:
        One trace per run and eigenvalue index. Hollow markers are eigenvalues that did not
        converge.

    Raises:
        NotMeasured: no run has eigenvalues.
        InputError: a run file cannot be read.
    """
    groups = read_each(runs, "samples", "eigenvalues", optional=("residuals", "converged"))
    num_eigenvalues = max(group["eigenvalues"].shape[1] for group in groups.values())
    for position, group in groups.items():
        groups[position] = Group(
            {name: values[:, : limits.MAX_DRAWN_MEMBERS] for name, values in group.items()},
            group.attributes,
        )
    titles = (
        [f"{theme.signed(marks[place])} {_brief(runs[place], len(groups))}" for place in groups]
        if len(runs) > 1
        else None
    )
    figure = make_subplots(
        cols=len(groups), shared_yaxes=True, horizontal_spacing=0.02, subplot_titles=titles
    )
    num_unconverged = 0
    for column, (position, group) in enumerate(groups.items(), start=1):
        values = group["eigenvalues"]
        residuals = group.get("residuals", np.full(values.shape, np.nan))
        converged = group.get("converged", np.ones(values.shape, dtype="u1")).astype(bool)
        num_unconverged += int(np.count_nonzero(~converged))
        for index, (colour, symbol) in enumerate(_looks(marks[position][0], values.shape[1])):
            is_converged = converged[:, index]
            trace = theme.scatter(
                x=np.arange(len(values)),
                y=values[:, index],
                error_y={"type": "data", "array": residuals[:, index], "thickness": 2, "width": 0},
                mode="markers",
                name=f"λ<sub>{index + 1}</sub>",
                legendgroup=index,
                showlegend=len(groups) == 1,
                marker={
                    "color": colour,
                    "size": 8,
                    "symbol": [symbol if done else f"{symbol}-open" for done in is_converged],
                },
                hovertemplate=_HOVER_EIGENVALUE.replace("INDEX", str(index + 1)),
                **samples.points(
                    runs[position],
                    f"λ{index + 1}",
                    len(values),
                    picked,
                    converged=np.where(is_converged, "yes", "no"),
                ),
            )
            figure.add_traces(samples.with_bars(trace, colour), rows=1, cols=column)
        figure.update_xaxes(
            title_text="posterior sample", **samples.whole_ticks(len(values)), col=column
        )
    if len(groups) > 1:  # the legend has shades of grey, as each panel has its own colour
        most = max(group["eigenvalues"].shape[1] for group in groups.values())
        for index, (colour, symbol) in enumerate(_looks(theme.MUTED, most)):
            look = {"mode": "markers", "marker": {"color": colour, "symbol": symbol, "size": 8}}
            figure.add_trace(theme.key(f"λ<sub>{index + 1}</sub>", legendgroup=index, **look))
    figure.update_yaxes(title_text="eigenvalue (nat)", col=1)
    all_values = np.concatenate([group["eigenvalues"].ravel() for group in groups.values()])
    notes = ["error bars: residual ‖Hv − λv‖"]
    if num_unconverged:
        notes.append(f"hollow: {num_unconverged} not converged")
    if num_eigenvalues > limits.MAX_DRAWN_MEMBERS:
        notes.append(f"the first {limits.MAX_DRAWN_MEMBERS} of {num_eigenvalues:,} eigenvalues")
    if log:
        ticks, labels = log_ticks(all_values)
        figure.update_yaxes(type="log", tickvals=ticks, ticktext=labels)
        if (all_values <= 0).any():
            notes.append(f"{np.count_nonzero(all_values <= 0)} not positive: not on this axis")
    lines = samples.about(runs, groups, "eigenvalues")
    lines.append(
        samples.lost(runs, {place: [group["eigenvalues"]] for place, group in groups.items()})
    )
    matrix, matrix_details = samples.matrices(runs, groups)
    title = f"Largest eigenvalues of {matrix}"
    samples.titled(figure, runs, "eigenvalues", title, *lines, matrix_details, " · ".join(notes))
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
    groups = read_each(runs, "samples", "trace", optional=("trace_standard_error",))
    most_samples = max(len(group["trace"]) for group in groups.values())
    figure = go.Figure()
    means: dict[int, float] = {}
    for position, group in groups.items():
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
            x=[-0.5, most_samples - 0.5],
            y=[mean, mean],
            mode="lines",
            name=f"{name}: mean over samples",
            legendgroup=name,
            showlegend=False,
            line={"color": marks[position][0], "dash": "dash", "width": 1.5},
            hovertemplate=f"{name}: mean over samples<br>%{{y:.4g}}<extra></extra>",
            **samples.numbers(runs[position], "mean over samples", axes="y", once=True),
        )
    figure.update_xaxes(title_text="posterior sample", **samples.whole_ticks(most_samples))
    figure.update_yaxes(title_text="trace (nat)")
    notes = "error bars: standard error of the estimate"
    if means:
        prefixes = {
            position: f"{runs[position].path.stem} " if len(runs) > 1 else "" for position in means
        }
        mean_texts = ", ".join(
            f"{prefixes[position]}{formats.number(mean)}" for position, mean in means.items()
        )
        notes += f" · dashed: mean over samples, {mean_texts}"
    lines = samples.about(runs, groups, "trace")
    lines.append(samples.lost(runs, {place: [group["trace"]] for place, group in groups.items()}))
    matrix, matrix_details = samples.matrices(runs, groups)
    details = [*lines, matrix_details, notes]
    return samples.titled(
        figure, runs, "trace", f"Trace of {matrix}", *details, legend_above=len(runs) > 1
    )


def _looks(colour: str, count: int) -> list[tuple[str, str]]:
    """Colours and markers of the first, second, ... eigenvalue."""
    return list(zip(theme.shades(colour, count), cycle(theme.SYMBOLS), strict=False))


def _brief(run: Run, columns: int) -> str:
    """The name of a run, shortened to fit above its column."""
    return formats.plain(formats.shortened(run.path.stem, 100 // columns))
