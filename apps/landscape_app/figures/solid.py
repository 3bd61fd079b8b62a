"""The loss on a plane as a surface in 3D, with the samples at the height of their loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape_app.figures import path, samples, theme
from landscape_app.figures.panels import figure_of
from landscape_app.figures.plane import (
    Placed,
    Plane,
    colours,
    has_one_scale,
    has_samples,
    hover_sample,
    sample_numbers,
)
from landscape_app.figures.scale import Scale
from landscape_app.figures.values import VALUES

_LIFT = 0.025
"""Fraction of the height in 3D by which a sample floats above its loss, clear of the surface."""


def solid(plane: Plane) -> go.Figure:
    """The loss as a surface in 3D, with lines of slices, and samples or a training."""
    limits, scale = plane.limits, plane.scale
    low, high = plane.on_scale(limits.loss)
    bottom, top = plane.on_scale(limits.height)
    lift = _LIFT * (top - bottom)
    within = {"range": [bottom, top + 2 * lift]} if lift else {}
    traces: list[theme.Trace] = [
        {
            "type": "surface",
            "cmin": low,
            "cmax": high,
            **plane.grid(),
            "uid": "bar-beside",  # see ``sized``
        }
    ]
    for own in plane.placed:
        if path.is_path(own.group):
            traces.append(path.solid(own.run, own.group, scale, lift, limits.value))
        elif has_samples(own.group):
            traces += _floating(own, scale, lift, top, limits.value)
    for line_x, line_y, heights in plane.lines():
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
    if not has_one_scale(limits):
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
    placed: Placed, scale: Scale, lift: float, top: float, value: str
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
            marker={"color": colours(group, marked, colour), **dot},
            hovertemplate=(f"{name}, " if placed.mark else "") + hover_sample(value),
            showlegend=False,
            **shared,
            **sample_numbers(placed.run, group, value),
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
