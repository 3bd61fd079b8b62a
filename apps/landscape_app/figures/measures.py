"""Figure of the further measures of flatness: a panel each, with the samples and their mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.runtime import limits
from landscape.store import Group, Run, SampleMean
from landscape.store.summary import measures_of, places_of
from landscape_app import formats
from landscape_app.data import PerRun, read_each
from landscape_app.figures import samples, theme
from landscape_app.figures.panels import Panels
from landscape_app.figures.samples import Picked
from landscape_app.figures.scale import log_ticks

_COLUMNS = 5
_HOVER = (
    "%{customdata[0]}, sample %{customdata[1]}<br>%{y:.4g} ± %{customdata[2]:.2g}"
    "<br>converged: %{customdata[3]}<extra></extra>"
)
_HOVER_MEAN = (
    "RUN: mean over samples<br>%{y:.4g} (− %{error_y.arrayminus:.2g}, + %{error_y.array:.2g})"
    "<extra></extra>"
)


@np.errstate(all="ignore")  # a file may hold any number
def measures_figure(
    *runs: Run, picked: Picked = samples.NONE, marks: theme.Marks = theme.MARKS
) -> go.Figure:
    """Every measure at every sample, with the mean over samples and its 95 % interval.

    The axes are logarithmic. One with a value that is not positive is linear.

    Args:
        *runs: The run files.
        picked: Samples to highlight.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has been measured with ``--sharpness``.
        InputError: a run file cannot be read.
    """
    groups = read_each(
        runs, "sharpness", "value", optional=("error", "converged", "chain", "place")
    )
    columns = {position: _columns(group) for position, group in groups.items()}
    names = list(dict.fromkeys(name for of_run in columns.values() for name in of_run))
    shown = names[: limits.MAX_DRAWN_MEMBERS]
    traces: list[theme.Trace] = []
    panels = Panels(
        rows=math.ceil(len(shown) / _COLUMNS),
        cols=min(len(shown), _COLUMNS),
        subplot_titles=tuple(formats.plain(name) for name in shown),
        horizontal_spacing=0.05,
        vertical_spacing=0.36 / math.ceil(len(shown) / _COLUMNS),
    )
    for index, name in enumerate(shown):
        place = {"row": index // _COLUMNS + 1, "col": index % _COLUMNS + 1}
        for position, of_run in columns.items():
            if name in of_run:
                of_panel = _of_run(
                    runs, position, groups, name, of_run[name], picked, marks, index == 0
                )
                traces += [trace | Panels.axes(index + 1) for trace in of_panel]
        values = np.concatenate(
            [
                groups[at]["value"][:, of_run[name]]
                for at, of_run in columns.items()
                if name in of_run
            ]
        )
        # The panel's title has the name; the hidden one is for the table of the numbers.
        axis: dict[str, Any] = {
            "title": {"text": formats.plain(name), "font": {"color": theme.HIDDEN, "size": 1}},
            "tickfont": {"size": 11},
        }
        if not (values <= 0).any():
            ticks, labels = log_ticks(values)
            axis |= {"type": "log", "tickvals": ticks, "ticktext": labels}
        panels.y(**place, **axis)
        panels.x(**place, showticklabels=False, range=[-0.6, len(runs) - 0.4], zeroline=False)
    panels.titles(font={"size": 12})
    figure = panels.drawn(traces)
    lines = samples.about(runs, groups, "value")
    lines.append(samples.lost(runs, {at: [group["value"]] for at, group in groups.items()}))
    notes = "large: mean over samples and its 95 % interval · hollow: not converged"
    if len(names) > len(shown):
        notes += f" · the first {len(shown)} of {len(names):,} measures"
    title = "Measures of flatness"
    samples.titled(figure, runs, "measures", title, *lines, notes, legend_above=len(runs) > 1)
    # The legend is above the titles of the first row.
    return figure.update_layout(margin_t=figure.layout.margin.t + 28, legend_y=1.03)


def _columns(group: Group) -> dict[str, int]:
    """Column of each measure."""
    names = measures_of(group)[: group["value"].shape[1]]
    return {name: index for index, name in enumerate(names)}


def _of_run(
    runs: tuple[Run, ...],
    position: int,
    groups: PerRun[Group],
    name: str,
    column: int,
    picked: Picked,
    marks: theme.Marks,
    in_legend: bool,
) -> list[theme.Trace]:
    """The points of a run in a panel, and their mean."""
    run, group, (colour, symbol) = runs[position], groups[position], marks[position]
    values = group["value"][:, column]
    errors = group.get("error", np.full(group["value"].shape, np.nan))[:, column]
    done = group.get("converged", np.ones(group["value"].shape, dtype="u1"))[:, column] > 0
    mean = SampleMean.of(values, places=places_of(run, group, len(values)))
    label = samples.plain_name(run)
    spread = np.linspace(-0.28, 0.28, len(values)) if len(values) > 1 else np.zeros(1)
    points = theme.scatter(
        x=position + spread,
        y=values,
        mode="markers",
        name=label,
        legendgroup=label,
        showlegend=in_legend and len(runs) > 1,
        marker={
            "color": colour,
            "size": 5,
            "symbol": [symbol if one else f"{symbol}-open" for one in done],
        },
        hovertemplate=_HOVER,
        **samples.points(
            run,
            formats.plain(name),
            len(values),
            picked,
            error=errors,
            converged=np.where(done, "yes", "no"),
        ),
    )
    if mean.count < 2:
        return [points]
    known = not math.isnan(mean.low)
    middle = theme.scatter(
        x=[float(position)],
        y=[mean.mean],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [mean.high - mean.mean if known else 0.0],
            "arrayminus": [mean.mean - mean.low if known else 0.0],
            "color": colour,
            "thickness": 2,
            "width": 6,
        },
        mode="markers",
        name=f"{label}: mean over samples",
        legendgroup=label,
        showlegend=False,
        marker={
            "color": colour,
            "symbol": symbol,
            "size": 11,
            "line": {"color": "white", "width": 1},
        },
        hovertemplate=_HOVER_MEAN.replace("RUN", label),
        **samples.numbers(run, f"{formats.plain(name)}, mean over samples", axes="y"),
    )
    return [points, middle]
