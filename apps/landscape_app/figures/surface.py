"""Figure of the loss on a plane in parameter space, with the posterior's samples."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from landscape.errors import InputError
from landscape.store import Group, Run, SampleMean
from landscape.store.summary import count, number
from landscape_app import formats
from landscape_app.figures import path, samples, theme, values
from landscape_app.figures.frame import Frame
from landscape_app.figures.panels import figure_of
from landscape_app.figures.samples import Picked
from landscape_app.figures.scale import Scale
from landscape_app.figures.values import SAMPLES, VALUES

Kind = Literal["contour", "3d"]
_RING, _GROWTH = 8.0, 8.0
"""Diameter of a sample in the plane, and the growth for the farthest sample, in pixels."""
_PLANES = {
    "samples": "the plane through the samples",
    "random": "a random plane",
    "pca": "the plane of the samples' principal directions",
    "shared": "the plane of several runs' principal directions",
    "means": "the plane through several runs' means",
}
_GROWS = "markers grow with the distance of a sample to the plane"
_EIGENVALUE = re.compile(r"[-+.\de]+$")
_LITTLE = 0.05
"""Fraction of the shared ranges below which a plane is too small to see."""
_THIN = 3.0
"""Largest aspect ratio of a plane that is drawn with the same scale on both axes."""
_LINES = {"contour": 3, "3d": 4}
"""Number of lines of details that surfaces side by side leave room for."""
_SHARED = {
    "all": "",
    "colours": "coordinates are of this run's own plane; colours and heights are shared",
    "nothing": "coordinates, colours and heights are this run's own: compare numbers, not looks",
}
"""Words for the parts of a frame that other surfaces share."""
_LEVELS = 24
_LIFT = 0.025
"""Fraction of the height in 3D by which a sample floats above its loss, clear of the surface."""


@np.errstate(all="ignore")  # a file may hold any number
def surface_figure(
    run: Run,
    name: str,
    kind: Kind = "contour",
    log: bool | None = None,
    frame: Frame | None = None,
    picked: Picked = samples.NONE,
    mark: theme.Mark | None = None,
    at: tuple[float, float] | None = None,
    value: str = "loss",
) -> go.Figure:
    """The loss on the plane ``name``, with the posterior's samples projected onto it.

    Grid points with a loss that is NaN or infinite are gaps. The subtitle counts them.

    Args:
        run: The run file.
        name: Name of the surface, e.g. ``"samples"`` or ``"random"``.
        kind: Kind of figure: ``"contour"``, or ``"3d"`` with samples at the height of their loss.
        log: Whether colour and height show the logarithm of the loss. By default they do if the
            losses ask for it: see ``scale.asks_for_log``.
        frame: Ranges and scale to use instead of the surface's own.
        picked: Samples to highlight.
        mark: Colour and marker of the run. The marker stands before the title.
        at: x and y of a point. The figure shows the lines through the nearest grid point, along
            which ``slices_figure`` draws the loss.
        value: What is drawn in place of the loss: one of ``values.VALUES``. A frame has its own.

    Raises:
        NotMeasured: the run has no such surface.
        InputError: the run file cannot be read, or the surface has no value to draw.
    """
    if kind not in ("contour", "3d"):
        raise InputError(f"a surface is drawn as 'contour' or '3d', not '{kind}'")
    limits = Frame.around([run], name, log, value) if frame is None else frame
    group = values.read_surfaces([run], name, limits.value)[0]
    loss, words = group["loss"], VALUES[limits.value].words
    if not (np.isfinite(loss) & ((loss > 0) | (not limits.log))).any():
        kind_of_loss = "positive finite" if limits.log else "finite"
        raise InputError(
            f"surface '{name}' of {run.path.name} has no {kind_of_loss} {words} to draw"
        )
    scale = Scale.over(np.array(limits.loss), limits.log)
    drawn = scale(loss)
    marked = samples.picked_of(run, picked)
    lines = [] if at is None else _lines(group, drawn, at)
    draw = _solid if kind == "3d" else _flat
    figure = draw(run, group, drawn, scale, limits, lines, [_Placed(run, group, marked)])
    title = f"{_capital(words)} on {_plane(group, name)}"
    # An axis in 3D has no room for a sentence.
    axes = f"x: {_length(group, 'x')} · y: {_length(group, 'y')}" if kind == "3d" else ""
    share = limits.share(group["x"], group["y"])
    coverage = f"covers {formats.number(100 * share, 2)} % of the ranges shared by all planes"
    return samples.titled(
        figure,
        [run],
        f"surface-{name}",
        title,
        _facts(group),
        *_blanks(drawn, group.get("finished", np.ones(len(drawn)))),
        _SHARED[limits.shared] if frame is not None else "",
        coverage if share < _LITTLE else "",
        "the axes have different scales" if _aspect(limits) > _THIN else "",
        axes,
        mark=mark,
        legend_above=True,
        width=theme.NARROW,
        lines=0 if frame is None else _LINES[kind],
    )


@np.errstate(all="ignore")  # a file may hold any number
def shared_surface_figure(
    *runs: Run,
    name: str,
    kind: Kind = "contour",
    log: bool | None = None,
    picked: Picked = samples.NONE,
    marks: theme.Marks = theme.MARKS,
    at: tuple[float, float] | None = None,
    value: str = "loss",
) -> go.Figure:
    """The loss on a plane that several runs share, with the samples of each in its colour.

    Args:
        *runs: The run files, of which some have the same plane: see ``data.share_plane``.
        name: Name of the surface.
        kind: Kind of figure, as for ``surface_figure``.
        log: Whether the scale of the loss is logarithmic, as for ``surface_figure``.
        picked: Samples to highlight.
        marks: Colour and marker of each run.
        at: Point of the slices, as for ``surface_figure``.
        value: What is drawn in place of the loss, as for ``surface_figure``.

    Raises:
        NotMeasured: no run has such a surface.
        InputError: a run file cannot be read, or the surface has no value to draw.
    """
    groups = values.read_surfaces(runs, name, value)
    position, group = next(iter(groups.items()))
    limits = Frame.around([runs[place] for place in groups], name, log, value)
    scale = Scale.over(np.array(limits.loss), limits.log)
    drawn = scale(group["loss"])
    placed = [
        _Placed(runs[place], own, samples.picked_of(runs[place], picked), marks[place])
        for place, own in groups.items()
    ]
    lines = [] if at is None else _lines(group, drawn, at)
    draw = _solid if kind == "3d" else _flat
    figure = draw(runs[position], group, drawn, scale, limits, lines, placed)
    figure.data[0].meta = dict(figure.data[0].meta) | {"run": ""}
    distances = {place: _distance(own) for place, own in groups.items() if _has_samples(own)}
    axes = f"x: {_length(group, 'x')} · y: {_length(group, 'y')}" if kind == "3d" else ""
    return samples.titled(
        figure,
        runs,
        f"surface-{name}",
        f"{_capital(VALUES[value].words)} on a plane of {formats.count(len(groups), 'run')}",
        samples.by_run(runs, distances),
        " · ".join(filter(None, [_GROWS, _examples(group)])),
        samples.absent(runs, groups),
        *_blanks(drawn, group.get("finished", np.ones(len(drawn)))),
        "the axes have different scales" if _aspect(limits) > _THIN else "",
        axes,
        legend_above=True,
    )


@dataclass(frozen=True)
class _Placed:
    """Samples of a run on a plane.

    Attributes:
        run: The run.
        group: Its surface.
        marked: Highlighted samples.
        mark: Colour and marker of the run, if the plane has samples of other runs.
    """

    run: Run
    group: Group
    marked: list[int]
    mark: theme.Mark | None = None


def _flat(
    run: Run,
    group: Group,
    drawn: np.ndarray,
    scale: Scale,
    limits: Frame,
    lines: list[np.ndarray],
    placed: list[_Placed],
) -> go.Figure:
    x, y, words = group["x"], group["y"], VALUES[limits.value].words
    low, high = (float(end) for end in scale(np.array(limits.loss)))
    traces: list[theme.Trace] = [
        {
            "type": "contour",
            "x": x,
            "y": y,
            "z": drawn,
            "zmin": low,
            "zmax": high,
            "text": _written(group["loss"]),
            "colorscale": _ground(placed, limits),
            "connectgaps": False,
            **_levels(low, high, scale, drawn, limits),
            "line": {"width": 0.6, "color": _lines_on(limits)},
            "colorbar": values.bar(limits.value, scale),
            "hovertemplate": f"x %{{x:.4g}}, y %{{y:.4g}}<br>{words} %{{text}}<extra></extra>",
            "name": words,
            **_numbers(run, group, drawn, words),
        }
    ]
    for line_x, line_y, _ in lines:
        for colour, width, dash in (("white", 3.5, "solid"), (theme.INK, 1.3, "4px,4px")):
            traces.append(
                theme.scatter(
                    x=line_x,
                    y=line_y,
                    mode="lines",
                    line={"color": colour, "width": width, "dash": dash},
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
    for label, place_x, place_y, symbol in _places(group, placed, limits.value):
        look = {"symbol": symbol, "size": 12, "color": "white"}
        outline = {"line": {"width": 1.5, "color": theme.INK}}
        traces.append(
            theme.scatter(
                x=[place_x],
                y=[place_y],
                mode="markers",
                marker=look | outline,
                name=label,
                hovertemplate=f"{label}<br>x %{{x:.4g}}, y %{{y:.4g}}<extra></extra>",
            )
        )
    for own in placed:
        if path.is_path(own.group):
            traces += path.flat(own.run, own.group, limits)
        elif _has_samples(own.group):
            traces += _rings(own, limits)
    # Grid points without a value are grey. The area beside the grid stays white.
    grid: dict[str, Any] = {"type": "rect", "layer": "below", "fillcolor": theme.MISSING}
    grid |= {"line": {"width": 0}}
    grid |= {"x0": float(x.min()), "x1": float(x.max())}
    grid |= {"y0": float(y.min()), "y1": float(y.max())}
    x_axis, y_axis = (
        {"title": {"text": formats.plain(_length(group, name))}, "range": list(ends)}
        | {"constrain": "domain", "showgrid": False}
        for name, ends in (("x", limits.x), ("y", limits.y))
    )
    if _aspect(limits) <= _THIN:  # coordinates are Euclidean lengths: the axes have one scale
        y_axis["scaleanchor"] = "x"
    return figure_of(traces, {"shapes": [grid], "xaxis": x_axis, "yaxis": y_axis})


def _rings(placed: _Placed, limits: Frame) -> list[theme.Trace]:
    """The samples of a run in the plane, which grow with their distance to it."""
    group = placed.group
    distances = np.nan_to_num(group["sample_off_plane"])
    ring = _RING + _GROWTH * distances / (limits.off_plane or 1.0)
    name = samples.plain_name(placed.run)
    legend_group = name if placed.mark else "samples"
    shared: dict[str, Any] = {"x": group["sample_x"], "y": group["sample_y"]}
    shared |= {"mode": "markers", "legendgroup": legend_group, "cliponaxis": False}
    # A dark ring inside a light ring is visible on every colour of the scale.
    halo: dict[str, Any] = {
        "symbol": "circle-open",
        "color": "white",
        "line": {"width": 4, "color": "white"},
    }
    symbol, colour = "circle-open-dot", theme.BLACK
    label = "posterior sample, in the plane"
    if limits.off_plane > 0:
        label = "posterior sample; ring: distance to the plane, "
        label += f"up to {formats.number(limits.off_plane)}"
    open_ring: dict[str, Any] = {"symbol": symbol, "line": {"width": 2}}
    if placed.mark:
        colour, symbol = placed.mark
        label = name
        halo = {"symbol": symbol, "color": "rgba(0,0,0,0)"}
        # Samples of another run show through.
        open_ring = {"symbol": symbol, "line": {"width": 1.5, "color": "white"}, "opacity": 0.65}
    look = {"color": colour if placed.mark else theme.MUTED, "size": _RING, **open_ring}
    return [
        theme.scatter(
            **shared, marker={"size": ring + 3, **halo}, hoverinfo="skip", showlegend=False
        ),
        theme.key(label, mode="markers", legendgroup=legend_group, marker=look),
        theme.scatter(
            **shared,
            marker={"size": ring, "color": _colours(group, placed.marked, colour), **open_ring},
            hovertemplate=(f"{name}, " if placed.mark else "") + _hover_sample(limits.value),
            name=label,
            showlegend=False,
            **_sample_numbers(placed.run, group, limits.value),
        ),
    ]


def _solid(
    run: Run,
    group: Group,
    drawn: np.ndarray,
    scale: Scale,
    limits: Frame,
    lines: list[np.ndarray],
    placed: list[_Placed],
) -> go.Figure:
    words = VALUES[limits.value].words
    low, high = (float(end) for end in scale(np.array(limits.loss)))
    bottom, top = (float(end) for end in scale(np.array(limits.height)))
    lift = _LIFT * (top - bottom)
    within = {"range": [bottom, top + 2 * lift]} if lift else {}
    traces: list[theme.Trace] = [
        {
            "type": "surface",
            "x": group["x"],
            "y": group["y"],
            "z": drawn,
            "cmin": low,
            "cmax": high,
            "text": _written(group["loss"]),
            "colorscale": _ground(placed, limits),
            "connectgaps": False,
            "colorbar": values.bar(limits.value, scale),
            "uid": "bar-beside",  # see ``sized``
            "hovertemplate": f"x %{{x:.4g}}, y %{{y:.4g}}<br>{words} %{{text}}<extra></extra>",
            "name": words,
            **_numbers(run, group, drawn, words),
        }
    ]
    for own in placed:
        if path.is_path(own.group):
            traces.append(path.solid(own.run, own.group, scale, lift, limits.value))
        elif _has_samples(own.group):
            traces += _floating(own, scale, lift, top, limits.value)
    for line_x, line_y, heights in lines:
        traces.append(
            theme.scatter3d(
                x=line_x,
                y=line_y,
                z=heights,
                mode="lines",
                line={"color": theme.INK, "width": 5},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    width, depth = float(np.ptp(limits.x)), float(np.ptp(limits.y))
    if _aspect(limits) > _THIN:
        width = depth = 1.0
    longest = max(width, depth) or 1.0
    scene = {
        "xaxis": {"title": {"text": "x"}, "range": list(limits.x)},
        "yaxis": {"title": {"text": "y"}, "range": list(limits.y)},
        "zaxis": {"title": {"text": VALUES[limits.value].axis}} | within | scale.ticks,
        "aspectmode": "manual",
        "aspectratio": {"x": width / longest, "y": depth / longest, "z": 0.6},
        "camera": {
            "up": {"x": 0, "y": 0, "z": 1},
            "center": {"x": 0, "y": 0, "z": -0.12},
            "eye": {"x": -1.1, "y": -1.25, "z": 0.8},
            "projection": {"type": "perspective"},
        },
    }
    look = {"margin": {"l": 0, "r": 0, "b": 8}, "legend": {"itemsizing": "constant"}}
    return figure_of(traces, look | {"scene": scene})


def _floating(
    placed: _Placed, scale: Scale, lift: float, top: float, value: str
) -> list[theme.Trace]:
    """The samples of a run at the height of their own loss, or on another surface."""
    group, marked = placed.group, placed.marked
    label = "posterior sample"
    label += ", at the height of its own loss off the plane" if value == "loss" else ""
    colour = theme.ORANGE
    name = samples.plain_name(placed.run)
    if placed.mark:
        colour, label = placed.mark[0], name
    dot = {"size": 5, "line": {"width": 1, "color": "white"}}
    legend_group = name if placed.mark else "samples"
    shared: dict[str, Any] = {"mode": "markers", "legendgroup": legend_group, "name": label}
    traces = [
        theme.scatter3d(
            x=group["sample_x"],
            y=group["sample_y"],
            z=scale(group["sample_loss"]) + lift,
            marker={"color": _colours(group, marked, colour), **dot},
            hovertemplate=(f"{name}, " if placed.mark else "") + _hover_sample(value),
            showlegend=False,
            **shared,
            **_sample_numbers(placed.run, group, value),
        ),
        theme.scatter3d(x=[None], y=[None], z=[None], marker={"color": colour, **dot}, **shared),
    ]
    # A vertical line marks the sample even if another sample hides it.
    return traces + [
        theme.scatter3d(
            x=[group["sample_x"][index]] * 2,
            y=[group["sample_y"][index]] * 2,
            z=[float(scale(group["sample_loss"])[index]) + lift, top + 2 * lift],
            mode="lines",
            line={"color": theme.VERMILION, "width": 4},
            hoverinfo="skip",
            showlegend=False,
        )
        for index in marked
        if index < len(group["sample_x"])
    ]


def _ground(placed: Sequence[_Placed], limits: Frame) -> Any:
    """The colours of the grid: greys below the coloured line of a training."""
    value = VALUES[limits.value]
    has_path = any(path.is_path(own.group) for own in placed) and not value.is_difference
    return path.GROUND if has_path else theme.colour_scale(value.colours)


def _lines_on(limits: Frame) -> str:
    """The colour of the lines between levels: the middle of a difference is white itself."""
    return "rgba(31,41,51,0.3)" if VALUES[limits.value].is_difference else "rgba(255,255,255,0.55)"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _lines(group: Group, drawn: np.ndarray, at: tuple[float, float]) -> list[np.ndarray]:
    """x, y and height along the grid row and the grid column nearest to ``at``."""
    x, y = group["x"], group["y"]
    column, row = int(np.abs(x - at[0]).argmin()), int(np.abs(y - at[1]).argmin())
    return [
        np.array([x, np.full(len(x), y[row]), drawn[row]]),
        np.array([np.full(len(y), x[column]), y, drawn[:, column]]),
    ]


def _levels(
    low: float, high: float, scale: Scale, drawn: np.ndarray, limits: Frame
) -> dict[str, Any]:
    """Contour levels: round numbers on a linear scale, equal steps on a logarithmic one.

    The levels of a difference are within its own range: that of its colours is centred at zero.
    """
    if VALUES[limits.value].is_difference:
        finite = drawn[np.isfinite(drawn)]
        low, high = float(finite.min()), float(finite.max())
    elif not scale.log:
        return {"ncontours": _LEVELS}
    if low == high:
        return {"ncontours": _LEVELS}
    return {"contours": {"start": low, "end": high, "size": (high - low) / _LEVELS}}


def _aspect(limits: Frame) -> float:
    """The ratio of the longer side to the shorter side."""
    width, depth = np.ptp(limits.x), np.ptp(limits.y)
    return float(max(width, depth) / min(width, depth)) if min(width, depth) > 0 else 1.0


def _numbers(run: Run, group: Group, drawn: np.ndarray, words: str) -> dict[str, Any]:
    # If the drawn number differs from the loss, the data also hold the loss itself.
    is_unchanged = np.array_equal(drawn, group["loss"], equal_nan=True)
    columns = {} if is_unchanged else {"z": group["loss"]}
    columns |= {"accuracy": group["accuracy"]} if "accuracy" in group else {}
    return samples.grid_numbers(run, words, **columns)


def _sample_numbers(run: Run, group: Group, value: str) -> dict[str, Any]:
    columns = {values.of_sample(value): group["sample_loss"]}
    columns |= {"off_plane": group["sample_off_plane"]}
    count = len(group["sample_x"])
    return samples.points(run, "posterior sample", count, samples.NONE, axes="xy", **columns)


def _hover_sample(value: str) -> str:
    return (
        "sample %{customdata[1]}<br>x %{x:.4g}, y %{y:.4g}<br>"
        f"{values.of_sample_words(value)} %{{customdata[2]:.4g}}"
        "<br>distance to the plane %{customdata[3]:.4g}<extra></extra>"
    )


def _colours(group: Group, marked: list[int], plain: str = theme.BLACK) -> list[str]:
    colours = [plain] * len(group["sample_x"])
    for index in marked:
        if index < len(colours):
            colours[index] = theme.VERMILION
    return colours


def _facts(group: Group) -> str:
    share = number(group.attributes, "variance_share")
    facts = []
    if share is not None:
        whose = "path's" if path.is_path(group) else "samples'"
        facts.append(f"the plane holds {formats.percent(share)} of the {whose} variance")
    return " · ".join([*facts, *filter(None, [_examples(group)])])


def _examples(group: Group) -> str:
    examples = count(group.attributes, "examples")
    if examples is None:
        return ""
    split = formats.label(group.attributes, "split")
    return formats.count(examples, "example") + (f" ({split})" if split else "")


def _distance(group: Group) -> str:
    """How far the samples of a run are from a shared plane, and how much of them it shows."""
    words = f"{formats.spread(SampleMean.of(group['sample_off_plane']))} off the plane"
    share = number(group.attributes, "variance_share")
    if share is None:
        return words
    return f"{words}, which holds {formats.percent(share)} of their variance"


def _blanks(drawn: np.ndarray, finished: np.ndarray) -> Iterator[str]:
    """Yield notes about rows and points left blank. ``finished`` marks the evaluated rows."""
    is_finished = finished > 0
    if not is_finished.all():
        num_missing = np.count_nonzero(~is_finished)
        yield f"{num_missing:,} of {len(is_finished):,} rows are not evaluated yet"
    blank = int(np.count_nonzero(~np.isfinite(drawn[is_finished])))
    if blank:
        yield f"{blank:,} of {drawn.size:,} points have no value to draw: left blank"


def _plane(group: Group, name: str) -> str:
    """The plane in words. A plane of eigenvectors is named by their eigenvalues."""
    kind = str(group.attributes.get("kind"))
    if kind == "eigenvectors":
        found = [_EIGENVALUE.search(_axis(group, axis)) for axis in "xy"]
        named = [f"λ{rank} = {match[0]}" for rank, match in enumerate(found, 1) if match]
        return f"the plane of the eigenvectors of {' and '.join(named) or 'the Hessian'}"
    if path.is_path(group):
        return "the plane of the training"
    return _PLANES.get(kind, f"the plane {name}")


def _axis(group: Group, axis: str) -> str:
    return formats.label(group.attributes, f"{axis}_axis", axis)


def _length(group: Group, axis: str) -> str:
    """The title of an axis: a length in parameter space, and its direction."""
    words = _axis(group, axis)
    joint = " " if words.startswith(("from ", "towards ")) else ": "
    return f"‖Δw‖{joint}{words}" if words != axis else f"‖Δw‖ along {axis}"


def _places(
    group: Group, placed: Sequence[_Placed], value: str
) -> Iterator[tuple[str, float, float, str]]:
    """Yield the best point of the grid and the mean of the samples: label, x, y and symbol.

    A difference has no best point, nor has what is best at several. Samples of several runs have no
    mean of their own.
    """
    sign = -1.0 if value == "accuracy" else 1.0
    loss = np.where(np.isfinite(group["loss"]), sign * group["loss"], np.inf)
    row, column = np.unravel_index(int(loss.argmin()), loss.shape)
    best = float(sign * loss[row, column])
    label = f"lowest, {formats.number(best, 3)}"
    if value == "accuracy":
        label = f"highest, {formats.percent(best)}"
    is_one = np.count_nonzero(loss == loss[row, column]) == 1  # an accuracy is often the same
    if is_one and not VALUES[value].is_difference:
        yield label, float(group["x"][column]), float(group["y"][row]), "star"
    is_posterior = _has_samples(group) and not path.is_path(group)
    if len(placed) == 1 and is_posterior and len(group["sample_x"]) > 1:
        mean_x, mean_y = (float(group[f"sample_{axis}"].mean()) for axis in "xy")
        if np.isfinite(mean_x) and np.isfinite(mean_y):
            yield "mean of the samples", mean_x, mean_y, "x"


def _has_samples(group: Group) -> bool:
    return all(name in group for name in SAMPLES)


def _written(loss: np.ndarray) -> np.ndarray:
    # An array, because Plotly would read a nested list as one text for each row.
    # ``formats.number`` for each of ten thousand points takes longer than the rest of the figure.
    return np.array(
        [
            [f"{value:#.4g}" if math.isfinite(value) else formats.number(value) for value in row]
            for row in loss.tolist()
        ]
    )
