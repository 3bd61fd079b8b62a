"""The loss on a plane as contours, with the samples as rings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.store import Group
from landscape_app import formats
from landscape_app.figures import path, samples, theme
from landscape_app.figures.frame import Frame
from landscape_app.figures.panels import figure_of
from landscape_app.figures.plane import (
    Placed,
    Plane,
    colours,
    has_one_scale,
    has_samples,
    hover_sample,
    length,
    sample_numbers,
)
from landscape_app.figures.scale import Scale
from landscape_app.figures.values import VALUES

_RING, _GROWTH = 8.0, 8.0
"""Diameter of a sample in the plane, and the growth for the farthest sample, in pixels."""
_LEVELS = 24


def flat(plane: Plane) -> go.Figure:
    """The loss as contours, with lines of slices, marked places, and samples or a training."""
    group, limits, placed = plane.group, plane.limits, plane.placed
    x, y = group["x"], group["y"]
    low, high = plane.on_scale(limits.loss)
    traces: list[theme.Trace] = [
        {
            "type": "contour",
            "zmin": low,
            "zmax": high,
            **plane.grid(),
            **_levels(low, high, plane.scale, plane.drawn, limits),
            "line": {"width": 0.6, "color": _lines_on(limits)},
        }
    ]
    for line_x, line_y, _ in plane.lines():
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
        elif has_samples(own.group):
            traces += _rings(own, limits)
    # Grid points without a value are grey. The area beside the grid stays white.
    grid: dict[str, Any] = {"type": "rect", "layer": "below", "fillcolor": theme.MISSING}
    grid |= {"line": {"width": 0}}
    grid |= {"x0": float(x.min()), "x1": float(x.max())}
    grid |= {"y0": float(y.min()), "y1": float(y.max())}
    x_axis, y_axis = (
        {"title": {"text": formats.plain(length(group, name))}, "range": list(ends)}
        | {"constrain": "domain", "showgrid": False}
        for name, ends in (("x", limits.x), ("y", limits.y))
    )
    if has_one_scale(limits):  # coordinates are Euclidean lengths: the axes have one scale
        y_axis["scaleanchor"] = "x"
    return figure_of(traces, {"shapes": [grid], "xaxis": x_axis, "yaxis": y_axis})


def _rings(placed: Placed, limits: Frame) -> list[theme.Trace]:
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
            marker={"size": ring, "color": colours(group, placed.marked, colour), **open_ring},
            hovertemplate=(f"{name}, " if placed.mark else "") + hover_sample(limits.value),
            name=label,
            showlegend=False,
            **sample_numbers(placed.run, group, limits.value),
        ),
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


def _lines_on(limits: Frame) -> str:
    """The colour of the lines between levels: the middle of a difference is white itself."""
    return "rgba(31,41,51,0.3)" if VALUES[limits.value].is_difference else "rgba(255,255,255,0.55)"


def _places(
    group: Group, placed: Sequence[Placed], value: str
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
    is_posterior = has_samples(group) and not path.is_path(group)
    if len(placed) == 1 and is_posterior and len(group["sample_x"]) > 1:
        mean_x, mean_y = (float(group[f"sample_{axis}"].mean()) for axis in "xy")
        if np.isfinite(mean_x) and np.isfinite(mean_y):
            yield "mean of the samples", mean_x, mean_y, "x"
