"""Figure of what was measured at the weights along a training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.errors import InputError
from landscape.runtime.json_text import parse_object
from landscape.store import Group, Run
from landscape.store.summary import number
from landscape_app import formats
from landscape_app.cache import cached
from landscape_app.data import PerRun, each_of, missing, read
from landscape_app.figures import samples, theme
from landscape_app.figures.panels import Panels
from landscape_app.figures.scale import asks_for_log, log_ticks

CURVATURE, LOSS, DISTANCE = "curvature", "loss", "distance"
"""Kinds of axes, each with a scale of its own."""
_ABOVE, _ROW = 150, 270
"""Height in pixels of the titles, and of a row of panels."""
_EDGE_ROOM = 3.0
"""Multiple of the largest lambda_1 beyond which the edge of stability leaves the axis."""
_MOST_MARKED = 60
"""Largest number of points of a line with markers and error bars."""
_PLAIN_SGD = ("map", "swag")
"""Methods whose weights move by SGD with momentum."""


Edge = tuple[np.ndarray, np.ndarray, float]
"""Steps or epochs, the edge of stability there, 2 (1 + m) / rate, and the momentum m."""


@dataclass(frozen=True)
class Quantity:
    """A number of each point along a training.

    Attributes:
        axis: Title of its axis.
        words: Name of the number.
        kind: Kind of its axis.
    """

    axis: str
    words: str
    kind: str


QUANTITIES: Mapping[str, Quantity] = {
    "lambda_1": Quantity("λ<sub>1</sub> (nat)", "λ1", CURVATURE),
    "trace": Quantity("trace (nat)", "trace", CURVATURE),
    "loss": Quantity("training loss (nat)", "training loss", LOSS),
    "off_plane": Quantity("distance to the plane", "distance to the plane", DISTANCE),
}
"""The panels, by the name of their number."""


@dataclass(frozen=True)
class Along:
    """Numbers at the points along a training, in its order.

    Attributes:
        unit: Unit of the counts, ``"steps"`` or ``"epochs"``.
        values: Number of steps or epochs before each point and the numbers there, by the name of
            the number.
        errors: Errors of the numbers, of the same shape, by the name of the number.
        points: Number of points with curvature.
        attributes: Attributes of the group ``trajectory``; empty if there is only a plane.
    """

    unit: str
    values: Mapping[str, tuple[np.ndarray, np.ndarray]]
    errors: Mapping[str, np.ndarray]
    points: int
    attributes: Mapping[str, str | int | float]


def along(run: Run) -> Along:
    """What a run holds of its weights along the training.

    Raises:
        NotMeasured: it holds neither their curvature nor their plane.
        InputError: the file cannot be read.
    """
    values: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    errors: dict[str, np.ndarray] = {}
    group, plane = Group({}), Group({})
    names = run.groups
    if "trajectory" in names:
        errors_of = ("eigenvalues", "residuals", "trace", "trace_standard_error", "loss")
        group = read(run, "trajectory", "count", optional=errors_of)
        order = np.argsort(group["count"], kind="stable")
        counts = group["count"][order].astype(float)
        if group.get("eigenvalues", np.empty((0, 0))).size:
            values["lambda_1"] = counts, group["eigenvalues"][order, 0]
        for name in ("trace", "loss"):
            if name in group:
                values[name] = counts, group[name][order]
        if "residuals" in group and "lambda_1" in values:
            errors["lambda_1"] = group["residuals"][order, 0]
        if "trace_standard_error" in group and "trace" in values:
            errors["trace"] = group["trace_standard_error"][order]
    if "surfaces/trajectory" in names:
        plane = read(run, "surfaces/trajectory", optional=("sample_count", "sample_off_plane"))
        if "sample_count" in plane and "sample_off_plane" in plane:
            order = np.argsort(plane["sample_count"], kind="stable")
            counts = plane["sample_count"][order].astype(float)
            values["off_plane"] = counts, plane["sample_off_plane"][order]
    if not any(len(counts) for counts, _ in values.values()):
        raise missing(run, "trajectory")
    unit = formats.label(group.attributes or plane.attributes, "unit", "steps")
    points = len(group.get("count", ()))
    return Along(unit, values, errors, points, group.attributes)


@np.errstate(all="ignore")  # a file may hold any number
def along_figure(
    *runs: Run,
    log: Mapping[str, bool | None] | None = None,
    marks: theme.Marks = theme.MARKS,
) -> go.Figure:
    """lambda_1, trace and loss along a training, and the distance to the plane of its path.

    Bars are the errors of the numbers: the residual of the eigenvalue and the standard error of the
    trace. Where the weights move by SGD, a dashed line is the edge of stability of gradient
    descent with momentum m and learning rate r, 2 (1 + m) / r: beyond it the descent along an
    eigenvector diverges on a quadratic loss (Cohen et al., arXiv 2103.00065).

    Args:
        *runs: The run files.
        log: Whether the axes of a kind are logarithmic, by the kind. By default an axis is if its
            numbers ask for it.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has been measured along its training.
        InputError: a run file cannot be read.
    """
    results = each_of(runs, along)
    unit = next(iter(results.values())).unit
    for position in [position for position, own in results.items() if own.unit != unit]:
        results.absent[position] = f"counted in {results.pop(position).unit}, not in {unit}"
    shown = [name for name in QUANTITIES if any(name in own.values for own in results.values())]
    columns = len(shown) if len(shown) < 4 else 2
    rows = math.ceil(len(shown) / columns)
    panels = Panels(rows=rows, cols=columns, horizontal_spacing=0.1, vertical_spacing=0.27 / rows)
    edges = {
        position: edge
        for position, own in results.items()
        if "lambda_1" in own.values and (edge := edge_of(runs[position], unit))
    }
    traces: list[theme.Trace] = []
    for place, name in enumerate(shown):
        quantity = QUANTITIES[name]
        axes = Panels.axes(place + 1)
        drawn = []
        for position, own in results.items():
            if name in own.values:
                drawn.append(own.values[name][1])
                traces.append(_line(runs[position], own, name, marks[position]) | axes)
        values = np.concatenate(drawn)
        asked = (log or {}).get(quantity.kind)
        is_log = asks_for_log(values) if asked is None else asked
        look: dict[str, Any] = {"title": quantity.axis, **theme.room(values)}
        if name == "lambda_1":
            traces += [_edge(runs[p], edge, marks[p]) | axes for p, edge in edges.items()]
            look |= _with_edges(values, [edge for _, edge, _ in edges.values()], is_log)
        if is_log:
            ticks, labels = log_ticks(_within(values, look.get("range"), is_log))
            look |= {"type": "log", "tickvals": ticks, "ticktext": labels}
            look |= {} if name == "lambda_1" else {"range": None}
        row, column = divmod(place, columns)
        panels.y(row + 1, column + 1, **look)
        panels.x(row + 1, column + 1, title=title(unit))
    dashes = {"edge of stability": "dash"} if edges else {}
    traces += samples.keys(runs, results if len(runs) > 1 else {}, marks, dashes)
    figure = panels.drawn(traces)
    return samples.titled(
        figure,
        runs,
        "along",
        "Curvature and loss along the training",
        *_details(runs, results, edges),
        legend_above=True,
        height=None if rows == 1 else _ABOVE + _ROW * rows,
    )


def unit_of(runs: Iterable[Run]) -> str:
    """The unit of the first run that was measured along its training."""
    for run in runs:
        unit = cached("unit along the training", run.path, partial(_unit, run))
        if unit:
            return unit
    return "steps"


def _unit(run: Run) -> str:
    """The unit of a run; empty if it was not measured along its training."""
    try:
        return along(run).unit
    except InputError:
        return ""


def curve(run: Run, name: str, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """A number along the training, for figures of groups.

    Args:
        run: The run.
        name: Name of the number.
        unit: Unit of the counts.

    Raises:
        InputError: the run does not have it, counts in another unit, or cannot be read.
    """
    own = along(run)
    if name not in own.values or own.unit != unit:
        raise missing(run, "trajectory")
    return own.values[name]


def edge_of(run: Run, unit: str) -> Edge | None:
    """The edge of stability at the end of each epoch.

    It is None for weights that do not move by SGD alone, and where the rates are not known. The
    weight decay d adds d to the curvature of what is descended, so that it is taken off the edge.
    """
    settings = run.config.get("method")
    try:
        group = read(run, "training", "epoch", "learning_rate")
        if not isinstance(settings, dict) or settings.get("name") not in _PLAIN_SGD:
            return None
        if settings.get("ball", "none") != "none":
            return None
        momentum, decay = float(settings["momentum"]), float(settings["weight_decay"])
        per_epoch = 1.0
        if unit == "steps":
            examples = parse_object(str(run.attributes["task_sizes"]), "task_sizes")["train"]
            per_epoch = math.ceil(float(examples) / float(settings["batch_size"]))
    except (InputError, KeyError, TypeError, ValueError):  # another figure reports what is damaged
        return None
    rates = group["learning_rate"]
    known = np.isfinite(rates) & (rates > 0)
    edge = 2 * (1 + momentum) / rates[known] - decay
    return (group["epoch"][known] * per_epoch, edge, momentum) if known.any() else None


def title(unit: str) -> str:
    """The title of an axis of counts."""
    return "step" if unit == "steps" else "epoch"


def _line(run: Run, own: Along, name: str, mark: theme.Mark) -> theme.Trace:
    counts, values = own.values[name]
    colour, symbol = mark
    few = len(counts) <= _MOST_MARKED
    run_name, words = samples.plain_name(run), QUANTITIES[name].words
    trace = theme.scatter(
        x=counts,
        y=values,
        mode="lines+markers" if few else "lines",
        name=run_name,
        legendgroup=run_name,
        showlegend=False,
        line={"color": colour, "width": 2},
        marker={"symbol": symbol, "size": 5},
        hovertemplate=f"{run_name}<br>{title(own.unit)} %{{x}}<br>{words} %{{y:.4g}}"
        "<extra></extra>",
        **samples.numbers(run, words),
    )
    if name in own.errors:
        bars = {"type": "data", "array": own.errors[name], "thickness": 1.2, "width": 0}
        trace["error_y"] = bars | {"color": theme.faint(colour, 0.6)}
    return trace


def _edge(run: Run, edge: Edge, mark: theme.Mark) -> theme.Trace:
    x, y, _ = edge
    return theme.scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": mark[0], "width": 1.3, "dash": "dash"},
        showlegend=False,
        legendgroup=samples.plain_name(run),
        name="edge of stability",
        hovertemplate=f"{samples.plain_name(run)}<br>edge of stability %{{y:.4g}}<extra></extra>",
        **samples.numbers(run, "edge of stability"),
    )


def _with_edges(values: np.ndarray, edges: list[np.ndarray], log: bool) -> dict[str, Any]:
    """The range of an axis of lambda_1, with an edge that may leave it at the top."""
    finite = values[np.isfinite(values) & ((values > 0) | (not log))]
    near = [edge[edge <= _EDGE_ROOM * finite.max(initial=0.0)] for edge in edges]
    shown = np.concatenate([finite, *near])
    if not edges or not shown.size or np.ptp(shown) == 0:
        return {}
    low, high = float(shown.min()), float(shown.max())
    if log:
        ends = np.log10([low, high])
        room = 0.06 * float(np.ptp(ends))
        return {"range": [ends[0] - room, ends[1] + room]}
    return {"range": [low - 0.06 * (high - low), high + 0.06 * (high - low)]}


def _within(values: np.ndarray, limits: Any, log: bool) -> np.ndarray:
    """The values, and the ends of the axis if it has a range of its own."""
    return values if limits is None or not log else np.append(values, 10.0 ** np.asarray(limits))


def _details(runs: tuple[Run, ...], results: PerRun[Along], edges: Mapping[int, Edge]) -> list[str]:
    about = {}
    for position, own in results.items():
        examples = number(own.attributes, "examples")
        words = formats.count(own.points, "point") if own.points else "no curvature"
        if own.points and examples is not None:
            words += f" on {formats.count(int(examples), 'example')}"
        about[position] = words
    single = len(runs) == 1
    lowest = {
        position: f"edge of stability from {formats.number(float(edge.min()))}, momentum "
        f"{formats.number(momentum, 2)}"
        for position, (_, edge, momentum) in edges.items()
    }
    rule = "edge: 2 (1 + momentum) / learning rate, for steps on the whole training set"
    edge_words = "".join(lowest.values()) if single else samples.by_run(runs, lowest)
    spoken = {
        place: [values for _, values in own.values.values()] for place, own in results.items()
    }
    return [
        "".join(about.values()) if single else samples.by_run(runs, about),
        f"{edge_words} · {rule}" if edges else "",
        "" if single else samples.absent(runs, results),
        samples.lost(runs, spoken),
        "bars: residual of the eigenvalue, standard error of the trace",
    ]
