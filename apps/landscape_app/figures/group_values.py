"""Numbers of groups of runs: each run as a point, and the mean with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.errors import InputError
from landscape.results.sample_mean import ANYTHING
from landscape.store import SampleMean
from landscape_app import formats, quantities
from landscape_app.figures import samples, theme
from landscape_app.figures.groups import MEAN, group_marks, titled
from landscape_app.figures.panels import Panels
from landscape_app.figures.scale import asks_for_log, log_ticks
from landscape_app.groups import RunGroup

_MANY = 6
"""Number of groups above which their names are written at a slant."""
_HEIGHT = 500
_SHARES = {"accuracy": (0.0, 1.0), "ece": (0.0, 1.0)}
"""Ranges of quantities, at which an interval ends at the latest."""
_WIDTH = 0.5


@np.errstate(all="ignore")  # a file may hold any number
def group_values_figure(
    groups: Sequence[RunGroup],
    names: Sequence[str],
    *,
    name: str,
    title: str,
    by: Sequence[str],
    log: bool | None = None,
) -> go.Figure:
    """Numbers of runs, one panel each: a point for each run, and the mean of each group.

    Args:
        groups: The groups.
        names: Names of the quantities; those that no run has are left out.
        name: Name of the figure, for its file.
        title: Title of the figure.
        by: Names of the settings that make the groups.
        log: Whether axes are logarithmic; by default those are whose numbers span a decade.

    Raises:
        InputError: no run has any of the quantities.
    """
    tables = [[quantities.readings(summary) for summary in group.summaries] for group in groups]
    shown = [key for key in names if any(key in table for row in tables for table in row)]
    if not shown:
        words = ", ".join(quantities.label(key) for key in names)
        raise InputError(f"none of these runs has {theme.without_markup(words)}")
    panels = Panels(cols=len(shown), horizontal_spacing=0.27 / len(shown))
    traces: list[theme.Trace] = []
    lost: dict[str, int] = {}
    for column, key in enumerate(shown, start=1):
        axes = Panels.axes(column)
        drawn: list[float] = []
        for slot, (group, rows, mark) in enumerate(
            zip(groups, tables, group_marks(groups), strict=True)
        ):
            held = [place for place, table in enumerate(rows) if key in table]
            if len(held) < len(rows):
                lost[group.label] = max(lost.get(group.label, 0), len(rows) - len(held))
            if not held:
                continue
            values = np.array([rows[place][key].value for place in held])
            drawn += values.tolist()
            label = quantities.label(key)
            traces.append(_seeds(group, held, slot, values, label, mark) | axes)
            mean = SampleMean.of(values, within=_SHARES.get(key, ANYTHING))
            traces.append(_mean_of(group, slot, mean, label, mark[0]) | axes)
        all_values = np.array(drawn)
        look: dict[str, Any] = {"title": quantities.label(key), **theme.room(all_values)}
        if key != "accuracy" and (asks_for_log(all_values) if log is None else log):
            ticks, labels = log_ticks(all_values)
            look |= {"type": "log", "tickvals": ticks, "ticktext": labels, "range": None}
        if key == "accuracy":
            look["tickformat"] = ".1~%"
        panels.y(col=column, **look)
    many = len(groups) > _MANY
    most = 28 if many else max(12, 120 // len(groups) // len(shown))
    texts = [formats.plain(formats.shortened(group.label, most)) for group in groups]
    panels.x(
        tickvals=list(range(len(groups))),
        ticktext=texts,
        range=[-0.5, len(groups) - 0.5],
        tickangle=-50 if many else 0,
    )
    notes = "point: one run · bar: mean over runs with its 95 % interval (Student)"
    missing = " · ".join(
        f"{label}: {formats.count(count, 'run')} without a number" for label, count in lost.items()
    )
    figure, height = panels.drawn(traces), _HEIGHT if many else None
    return titled(figure, groups, name, title, by, notes, missing, height=height)


def _seeds(
    group: RunGroup,
    held: Sequence[int],
    slot: int,
    values: np.ndarray,
    label: str,
    mark: theme.Mark,
) -> theme.Trace:
    names = [samples.plain_name(group.runs[place]) for place in held]
    colour, symbol = mark
    group_label = formats.plain(group.label)
    return theme.scatter(
        x=slot - _WIDTH / 2 + _WIDTH * (np.arange(len(held)) + 0.5) / len(held),
        y=values,
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.75},
        name=group_label,
        showlegend=False,
        hovertemplate="%{customdata[0]}<br>%{y:.4g}<extra></extra>",
        meta={"run": "", "group": group_label, "series": label, "axes": "y", "columns": ["run"]},
        customdata=[[name] for name in names],
    )


def _mean_of(group: RunGroup, slot: int, mean: SampleMean, label: str, colour: str) -> theme.Trace:
    words = f"{MEAN}, {formats.count(mean.count, 'run')}"
    return theme.scatter(
        x=[slot],
        y=[mean.mean],
        error_y=samples.interval_bars([mean]) | {"color": colour},
        mode="markers",
        marker={"color": colour, "symbol": "line-ew-open", "size": 24, "line": {"width": 3}},
        name=formats.plain(group.label),
        showlegend=False,
        hovertemplate=f"{formats.plain(group.label)}: {words}<br>%{{y:.4g}}<extra></extra>",
        meta={"run": "", "group": formats.plain(group.label), "axes": "y"}
        | {"series": f"{label}, {MEAN}"},
    )
