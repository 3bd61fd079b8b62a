"""Curves of groups of runs: each run as a thin line, and the mean with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.errors import InputError
from landscape.store import Run
from landscape_app import formats
from landscape_app.cache import cached
from landscape_app.figures import samples, theme
from landscape_app.figures.groups import MEAN, group_marks, titled
from landscape_app.figures.panels import Panels
from landscape_app.figures.scale import asks_for_log, log_ticks
from landscape_app.groups import RunGroup

Curve = tuple[np.ndarray, np.ndarray]
"""x and y of a curve of one run."""
_MOST_POINTS = 2000
"""Largest number of points of a mean curve; with more, it has those of one run."""
_MOST_IN_DETAIL = 4
"""Largest number of groups whose single runs and bands are drawn beside their mean curves."""
_SEED_OPACITY = 0.3
_MOST_NAMED = 4000
"""Largest number of points of a group's thin lines with the names of their runs beside them."""
_HOVER = "%{x:.4g}: %{y:.4g}<extra></extra>"


@dataclass(frozen=True)
class CurvePanel:
    """A panel of curves.

    Attributes:
        x: Title of the x axis.
        y: Title of the y axis.
        read: Function that reads the curve of a run, or raises ``InputError`` if it has none.
        dash: Dash of the curves.
        words: Name of the curves, if a panel has several kinds.
        factor: Ratio of the largest to the smallest value from which the scale is logarithmic.
        percent: Whether y is a share.
        x_axis: Settings of the x axis.
        y_range: Range of the y axis, if it does not follow the curves.
    """

    x: str
    y: str
    read: Callable[[Run], Curve]
    dash: str = "solid"
    words: str = ""
    factor: float = 10.0
    percent: bool = False
    x_axis: Mapping[str, Any] | None = None
    y_range: tuple[float, float] | None = None

    def reader(self, run: Run) -> Callable[[], Curve | InputError]:
        """``read`` of one run, as a function that returns its error in place of raising it."""

        def read() -> Curve | InputError:
            try:
                return self.read(run)
            except InputError as fault:
                return fault

        return read


@np.errstate(all="ignore")  # a file may hold any number
def group_curves_figure(
    groups: Sequence[RunGroup],
    panels: Sequence[CurvePanel],
    *,
    name: str,
    title: str,
    by: Sequence[str],
    log: bool | None = None,
    **look: Any,
) -> go.Figure:
    """Curves of runs as thin lines, and the mean of each group with its interval at each x.

    Args:
        groups: The groups.
        panels: The panels; those with the same y title are drawn in one.
        name: Name of the figure, for its file.
        title: Title of the figure.
        by: Names of the settings that make the groups.
        log: Whether y axes are logarithmic; by default those are whose numbers ask for it.
        **look: More arguments of ``theme.titled``.

    Raises:
        InputError: no run has any of the curves. The message is about the first.
    """
    faults: list[InputError] = []
    curves: dict[tuple[int, int], list[tuple[Run, Curve]]] = {}
    lost: dict[str, set[str]] = {}
    for index, panel in enumerate(panels):
        for place, group in enumerate(groups):
            for run in group.runs:
                what = f"{name}, curve {index} over {panel.x}"
                curve = cached(what, run.path, panel.reader(run))
                if isinstance(curve, InputError):
                    faults.append(curve)
                    lost.setdefault(group.label, set()).add(run.name)
                else:
                    curves.setdefault((index, place), []).append((run, curve))
    if not curves:
        raise faults[0]
    titles = list(dict.fromkeys(panels[index].y for index, _ in sorted(curves)))
    marks = group_marks(groups)
    in_detail = len(groups) <= _MOST_IN_DETAIL
    floors = {
        y: _floor(_values(curves, panels, y), next(panel for panel in panels if panel.y == y), log)
        for y in titles
    }
    traces: list[theme.Trace] = []
    named: dict[int, int] = {}
    for (index, place), members in curves.items():
        panel, group = panels[index], groups[place]
        column = titles.index(panel.y) + 1
        axes = Panels.axes(column)
        traces += [
            trace | axes
            for trace in _group_curves(
                group, members, panel, marks[place], in_detail, floors[panel.y]
            )
        ]
        named.setdefault(place, len(members))
    traces += [
        theme.key(
            f"{formats.plain(groups[place].label)} ({count})",
            mode="lines+markers",
            legendgroup=formats.plain(groups[place].label),
            line={"color": marks[place][0]},
            marker={"symbol": marks[place][1], "size": 7},
        )
        for place, count in sorted(named.items())
    ]
    kinds = {panel.words: panel.dash for panel in panels if panel.words}
    traces += [
        theme.key(words, mode="lines", line={"color": theme.MUTED, "dash": dash})
        for words, dash in kinds.items()
    ]
    spacing = 0.24 / max(len(titles), 2)
    row = Panels(cols=len(titles), horizontal_spacing=spacing)
    for column, y in enumerate(titles, start=1):
        here = [index for index, _ in curves if panels[index].y == y]
        panel = panels[here[0]]
        style: dict[str, Any] = {"title": y}
        if floors[y] is not None:
            ticks, labels = log_ticks(_values(curves, panels, y))
            style |= {"type": "log", "tickvals": ticks, "ticktext": labels}
        style |= {"tickformat": ".1~%"} if panel.percent else {}
        style |= {"range": list(panel.y_range)} if panel.y_range else {}
        row.y(col=column, **style)
        row.x(col=column, title=panel.x, **(panel.x_axis or {}))
    notes = "thin: one run · thick: mean over runs · band: its 95 % interval (Student)"
    if not in_detail:
        notes = (
            f"lines: means over runs; up to {_MOST_IN_DETAIL} groups show runs and intervals too"
        )
    missing = " · ".join(
        f"{label}: {formats.count(len(stems), 'run')} without some of these"
        for label, stems in lost.items()
    )
    figure = row.drawn(traces)
    return titled(figure, groups, name, title, by, notes, missing, legend_above=True, **look)


def _values(
    curves: Mapping[tuple[int, int], Sequence[tuple[Run, Curve]]],
    panels: Sequence[CurvePanel],
    y: str,
) -> np.ndarray:
    """All numbers of a panel."""
    members = [curves[key] for key in curves if panels[key[0]].y == y]
    return np.concatenate([curve[1] for runs in members for _, curve in runs])


def _floor(values: np.ndarray, panel: CurvePanel, log: bool | None) -> float | None:
    """The lowest end of a band if the axis is logarithmic, else None.

    An interval that reaches zero has no lower end on such an axis: its band ends at the lowest
    value of a run.
    """
    if panel.percent or not (asks_for_log(values, panel.factor) if log is None else log):
        return None
    positive = values[np.isfinite(values) & (values > 0)]
    return float(positive.min()) if positive.size else None


def mean_curve(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The mean of curves with its interval: x, mean, low and high, each of shape (X,).

    Between its points a curve is linear, and beyond its ends it does not exist. There is an
    interval where two curves exist or more.
    """
    from scipy.special import stdtrit  # the import is too slow for the start of a page

    every = np.unique(np.concatenate([x[np.isfinite(x)] for x, _ in curves]))
    x = every if len(every) <= _MOST_POINTS else max((c[0] for c in curves), key=len)
    rows = np.array([_at(x, curve) for curve in curves])
    count = np.isfinite(rows).sum(0)
    finite = np.where(np.isfinite(rows), rows, 0.0)
    mean = np.where(count > 0, finite.sum(0) / np.maximum(count, 1), np.nan)
    squares = (np.where(np.isfinite(rows), rows - mean, 0.0) ** 2).sum(0)
    deviation = np.sqrt(squares / np.maximum(count - 1, 1))
    half = stdtrit(np.maximum(count - 1, 1), 0.975) * deviation / np.sqrt(np.maximum(count, 1))
    half = np.where(count > 1, half, np.nan)
    return x, mean, mean - half, mean + half


def _at(x: np.ndarray, curve: Curve) -> np.ndarray:
    """The values of a curve at x; NaN beyond its ends and beside values that are not finite."""
    own, values = curve
    order = np.argsort(own)
    values = np.where(np.isfinite(values), values, np.nan)
    result: np.ndarray = np.interp(x, own[order], values[order], left=np.nan, right=np.nan)
    return result


def _group_curves(
    group: RunGroup,
    members: Sequence[tuple[Run, Curve]],
    panel: CurvePanel,
    mark: theme.Mark,
    in_detail: bool,
    floor: float | None,
) -> list[theme.Trace]:
    colour, symbol = mark
    label = formats.plain(group.label)
    series = f"{panel.words}, {MEAN}" if panel.words else MEAN
    shared: dict[str, Any] = {"mode": "lines", "legendgroup": label}
    traces = []
    if len(members) > 1 and in_detail:
        # One trace for all of them: Plotly takes a millisecond for each trace. NaN is a gap.
        stops = np.cumsum([len(x) for _, (x, _) in members])
        names = [samples.plain_name(run) for run, _ in members]
        named: dict[str, Any] = {"hovertemplate": f"one run of {label}<br>{_HOVER}"}
        if stops[-1] <= _MOST_NAMED:
            words = np.repeat(names, np.diff(stops, prepend=0)).tolist()
            named = {"text": np.insert(np.array(words, dtype=object), stops, "")}
            named |= {"hovertemplate": f"%{{text}}<br>{_HOVER}"}
        traces.append(
            theme.scatter(
                x=np.insert(np.concatenate([x for _, (x, _) in members]), stops, np.nan),
                y=np.insert(np.concatenate([y for _, (_, y) in members]), stops, np.nan),
                line={"color": colour, "width": 1, "dash": panel.dash},
                opacity=_SEED_OPACITY,
                connectgaps=False,
                name=label,
                showlegend=False,
                meta={"run": "", "group": label, "axes": "xy", "series": panel.words or panel.y}
                | {"runs": names, "ends": (stops + np.arange(len(stops))).tolist()},
                **named,
                **shared,
            )
        )
    x, mean, low, high = mean_curve([curve for _, curve in members])
    if panel.percent:
        low, high = np.maximum(low, 0.0), np.minimum(high, 1.0)
    if np.isfinite(low).any() and in_detail:
        ends = {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        where = np.isfinite(low)
        bottom = low if floor is None else np.maximum(low, floor)
        top = high if floor is None else np.maximum(high, floor)
        for ends_y, fill in ((bottom, None), (top, "tonexty")):
            colours = {"fill": fill, "fillcolor": theme.faint(colour, 0.15)}
            traces.append(theme.scatter(x=x[where], y=ends_y[where], **ends, **colours, **shared))
    traces.append(
        theme.scatter(
            x=x,
            y=mean,
            line={"color": colour, "width": 2.5, "dash": panel.dash},
            marker={"symbol": symbol, "size": 7, "maxdisplayed": 8},
            name=label,
            showlegend=False,
            hovertemplate=f"{label}, mean over {formats.count(len(members), 'run')}"
            "<br>%{x:.4g}: %{y:.4g}<extra></extra>",
            meta={"run": "", "group": label, "series": series, "axes": "xy"}
            | {"columns": ["low", "high"]},
            customdata=np.stack([low, high], axis=-1).tolist(),
            **(shared | {"mode": "lines+markers"}),
        )
    )
    return traces
