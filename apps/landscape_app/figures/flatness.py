"""Figures of the curvature at each posterior sample: largest eigenvalues and trace."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from landscape.runtime import limits
from landscape.store import Run, SampleMean
from landscape.store.summary import places_of
from landscape_app import formats
from landscape_app.data import read_each
from landscape_app.figures import samples, theme
from landscape_app.figures.panels import Panels
from landscape_app.figures.samples import Picked
from landscape_app.figures.scale import asks_for_log, log_ticks

_HOVER_EIGENVALUE = (
    "%{customdata[0]}, sample %{customdata[1]}<br>λ<sub>INDEX</sub> = %{y:.4g} "
    "± %{error_y.array:.1g}<br>converged: %{customdata[2]}<extra></extra>"
)
_HOVER_TRACE = (
    "%{customdata[0]}, sample %{customdata[1]}<br>trace = %{y:.4g} ± %{error_y.array:.2g}"
    "<extra></extra>"
)
_WIDTH = 0.7
"""Width that the points of all runs take at a rank."""


@np.errstate(all="ignore")  # a file may hold any number
def eigenvalues_figure(
    *runs: Run,
    log: bool | None = None,
    picked: Picked = samples.NONE,
    marks: theme.Marks = theme.MARKS,
) -> go.Figure:
    """The largest eigenvalues of every sample by their rank, and their mean over samples.

    Points of one rank stand side by side, in the order of the samples. Error bars are residuals.

    Args:
        *runs: The run files.
        log: Whether the axis is logarithmic. Eigenvalues that are not positive are then left out
            and counted. By default it is if all are positive.
        picked: Samples to highlight.
        marks: Colour and marker of each run.

    Returns:
        One trace per run and rank, then the means of each run. Hollow markers are eigenvalues that
        did not converge.

    Raises:
        NotMeasured: no run has eigenvalues.
        InputError: a run file cannot be read.
    """
    groups = read_each(
        runs, "samples", "eigenvalues", optional=("residuals", "converged", "chain", "place")
    )
    num_eigenvalues = max(group["eigenvalues"].shape[1] for group in groups.values())
    all_values = np.concatenate([group["eigenvalues"].ravel() for group in groups.values()])
    if log is None:
        log = asks_for_log(all_values, factor=1.0)
    traces: list[theme.Trace] = []
    means: list[theme.Trace] = []
    num_unconverged = 0
    for slot, (position, group) in enumerate(groups.items()):
        run, mark = runs[position], marks[position]
        values = group["eigenvalues"][:, : limits.MAX_DRAWN_MEMBERS]
        residuals = group.get("residuals", np.full(values.shape, np.nan))
        converged = group.get("converged", np.ones(values.shape, dtype="u1")).astype(bool)
        num_unconverged += int(np.count_nonzero(~converged[:, : values.shape[1]]))
        beside = _beside(len(values), slot, len(groups))
        for index in range(values.shape[1]):
            traces += _rank(
                run, mark, index, values, residuals, converged, beside, picked, len(groups)
            )
        means += _means(run, mark[0], values, places_of(run, group, len(values)), beside.mean())
    panels = Panels()
    drawn_ranks = min(num_eigenvalues, limits.MAX_DRAWN_MEMBERS)
    panels.x(
        title="rank of the eigenvalue",
        range=[0.5, drawn_ranks + 0.5],
        tick0=1,
        dtick=max(1, round(drawn_ranks / 20)),
    )
    panels.y(title="eigenvalue (nat)")
    notes = ["points: samples, in their order · line: mean over samples with its 95 % interval"]
    notes.append("error bars of points: residual ‖Hv − λv‖")
    if num_unconverged:
        notes.append(f"hollow: {num_unconverged} not converged")
    if num_eigenvalues > limits.MAX_DRAWN_MEMBERS:
        notes.append(f"the first {limits.MAX_DRAWN_MEMBERS} of {num_eigenvalues:,} eigenvalues")
    if log:
        ticks, labels = log_ticks(all_values)
        panels.y(type="log", tickvals=ticks, ticktext=labels)
        if (all_values <= 0).any():
            notes.append(f"{np.count_nonzero(all_values <= 0)} not positive: not on this axis")
    lines = samples.about(runs, groups, "eigenvalues")
    shown = {place: [group["eigenvalues"]] for place, group in groups.items()}
    counts = {place: len(group["eigenvalues"]) for place, group in groups.items()}
    lines += [samples.lost(runs, shown), samples.not_highlighted(runs, picked, counts)]
    matrix, matrix_details = samples.matrices(runs, groups)
    title = f"Largest eigenvalues of {matrix}"
    details = [*lines, matrix_details, " · ".join(notes)]
    figure = panels.drawn([*traces, *means])
    return samples.titled(figure, runs, "eigenvalues", title, *details, legend_above=len(runs) > 1)


def _beside(count: int, slot: int, slots: int) -> np.ndarray:
    """Offsets of the samples of one of several runs from their rank, shape (count,)."""
    width = _WIDTH / slots
    left = -_WIDTH / 2 + slot * width
    return left + width * (np.arange(count) + 0.5) / count


def _rank(
    run: Run,
    mark: theme.Mark,
    index: int,
    values: np.ndarray,
    residuals: np.ndarray,
    converged: np.ndarray,
    beside: np.ndarray,
    picked: Picked,
    num_runs: int,
) -> list[theme.Trace]:
    """The points of one run and rank."""
    colour, symbol = mark
    name = samples.legend_name(run)
    is_converged = converged[:, index]
    trace = theme.scatter(
        x=index + 1 + beside,
        y=values[:, index],
        error_y={"type": "data", "array": residuals[:, index], "thickness": 1.5, "width": 0},
        mode="markers",
        name=name,
        legendgroup=name,
        showlegend=num_runs > 1 and index == 0,
        marker={
            "color": colour,
            "size": 7,
            "symbol": [symbol if done else f"{symbol}-open" for done in is_converged],
        },
        hovertemplate=_HOVER_EIGENVALUE.replace("INDEX", str(index + 1)),
        **samples.points(
            run,
            f"λ{index + 1}",
            len(values),
            picked,
            converged=np.where(is_converged, "yes", "no"),
        ),
    )
    return samples.with_bars(trace, colour)


def _means(
    run: Run, colour: str, values: np.ndarray, places: np.ndarray | None, beside: float
) -> list[theme.Trace]:
    """The mean of each rank over samples, with its interval; none for one sample."""
    if len(values) < 2:
        return []
    means = [SampleMean.of(column, places=places) for column in values.T]
    middle = np.array([mean.mean for mean in means])
    return [
        theme.scatter(
            x=np.arange(1, len(means) + 1) + beside,
            y=middle,
            error_y=samples.interval_bars(means),
            mode="lines+markers",
            line={"color": colour, "width": 1.2},
            marker={"color": colour, "symbol": "line-ew-open", "size": 14, "line": {"width": 2}},
            name=samples.legend_name(run),
            legendgroup=samples.legend_name(run),
            showlegend=False,
            hovertemplate="%{meta.run}: mean over samples<br>%{y:.4g}<extra></extra>",
            **samples.numbers(run, "mean over samples", x=np.arange(1, len(means) + 1), y=middle),
        )
    ]


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
    traces: list[theme.Trace] = []
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
        traces += samples.with_bars(trace, colour)
        if len(values) > 1:
            means[position] = SampleMean.of(values).mean
    for position, mean in means.items():
        name = samples.plain_name(runs[position])
        traces.append(
            theme.scatter(
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
        )
    panels = Panels()
    panels.x(title="posterior sample", **samples.whole_ticks(most_samples))
    panels.y(title="trace (nat)")
    notes = "error bars: standard error of the estimate"
    if means:
        prefixes = {
            position: f"{runs[position].name} " if len(runs) > 1 else "" for position in means
        }
        mean_texts = ", ".join(
            f"{prefixes[position]}{formats.number(mean)}" for position, mean in means.items()
        )
        notes += f" · dashed: mean over samples, {mean_texts}"
    lines = samples.about(runs, groups, "trace")
    lines.append(samples.lost(runs, {place: [group["trace"]] for place, group in groups.items()}))
    counts = {place: len(group["trace"]) for place, group in groups.items()}
    lines.append(samples.not_highlighted(runs, picked, counts))
    matrix, matrix_details = samples.matrices(runs, groups)
    details = [*lines, matrix_details, notes]
    figure, title = panels.drawn(traces), f"Trace of {matrix}"
    return samples.titled(figure, runs, "trace", title, *details, legend_above=len(runs) > 1)
