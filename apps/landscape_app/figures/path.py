"""The weights along a training on their plane: a line in the order of training."""

from __future__ import annotations

from typing import Any

import numpy as np

from landscape.store import Group, Run
from landscape_app import formats
from landscape_app.figures import samples, theme, values
from landscape_app.figures.frame import Frame
from landscape_app.figures.scale import Scale
from landscape_app.figures.values import SAMPLES

_COLOURS = "Viridis"
"""Colours of the points, from the first to the last."""
GROUND = [[0.0, "#2b2f36"], [1.0, "#f4f5f7"]]
"""Colours of the loss below the line: greys, so that the line's colours stand out."""
_POINT, _GROWTH = 7.0, 8.0
"""Diameter of a point in the plane, and the growth for the farthest point, in pixels."""


def is_path(group: Group) -> bool:
    """Whether the samples of a surface are the weights along a training."""
    needed = (*SAMPLES, "sample_count")
    return all(name in group for name in needed)


def unit(group: Group) -> str:
    """The word for one count: step or epoch."""
    return formats.label(group.attributes, "unit", "steps").removesuffix("s")


def label(group: Group) -> str:
    """The words for the line in a legend."""
    return f"weights along the training, by {unit(group)}; size: distance to the plane"


def hover(group: Group, value: str) -> str:
    """The text beside the mouse at a point."""
    return (
        f"after %{{customdata[3]:,}} {unit(group)}s<br>x %{{x:.4g}}, y %{{y:.4g}}"
        f"<br>{values.of_sample_words(value)} %{{customdata[1]:.4g}}"
        "<br>distance to the plane %{customdata[2]:.4g}<extra></extra>"
    )


def flat(run: Run, group: Group, limits: Frame) -> list[theme.Trace]:
    """The traces of the line and its points on contours.

    Args:
        run: The run.
        group: Its surface.
        limits: Ranges of the surfaces beside each other, and what they show.
    """
    group = _in_order(group)
    line = {"x": group["sample_x"], "y": group["sample_y"], "mode": "lines"}
    quiet: dict[str, Any] = {"hoverinfo": "skip", "showlegend": False, "cliponaxis": False}
    size = _POINT + _GROWTH * np.nan_to_num(group["sample_off_plane"]) / (limits.off_plane or 1.0)
    return [
        theme.scatter(**line, **quiet, line={"color": "white", "width": 4}),
        theme.scatter(**line, **quiet, line={"color": theme.INK, "width": 1.5}),
        theme.scatter(
            x=group["sample_x"],
            y=group["sample_y"],
            mode="markers",
            marker={
                "size": size,
                "color": group["sample_count"],
                "colorscale": theme.colour_scale(_COLOURS),
                "line": {"width": 1, "color": "white"},
                "colorbar": _bar(group, -0.22),
            },
            cliponaxis=False,
            name=label(group),
            hovertemplate=hover(group, limits.value),
            **_numbers(run, group, limits.value),
        ),
    ]


def solid(run: Run, group: Group, scale: Scale, lift: float, value: str) -> theme.Trace:
    """The line and its points in 3D, at the height of their own loss.

    Args:
        run: The run.
        group: Its surface.
        scale: Scale of the heights.
        lift: Height above the surface.
        value: What the surface shows.
    """
    group = _in_order(group)
    colours = theme.colour_scale(_COLOURS)
    shades = {"color": group["sample_count"], "colorscale": colours}
    outline = {"width": 1, "color": "white"}
    return theme.scatter3d(
        x=group["sample_x"],
        y=group["sample_y"],
        z=scale(group["sample_loss"]) + lift,
        mode="lines+markers",
        line={"width": 5, **shades},
        marker={"size": 5, "line": outline, "colorbar": _bar(group, 0.0), **shades},
        name="weights along the training",
        hovertemplate=hover(group, value),
        **_numbers(run, group, value),
    )


def _in_order(group: Group) -> Group:
    order = np.argsort(group["sample_count"], kind="stable")
    names = (*SAMPLES, "sample_count")
    return Group({name: group[name][order] for name in names}, group.attributes)


def _numbers(run: Run, group: Group, value: str) -> dict[str, Any]:
    """The numbers of the points. They are no posterior samples, which a click highlights."""
    columns: dict[str, Any] = {
        "point": list(range(len(group["sample_count"]))),
        values.of_sample(value): group["sample_loss"],
        "off_plane": group["sample_off_plane"],
        "after": group["sample_count"],
    }
    return samples.numbers(run, "weights along the training", **columns)


def _bar(group: Group, y: float) -> dict[str, Any]:
    return {
        "orientation": "h",
        "title": {"text": unit(group), "side": "right"},
        "thickness": 10,
        "outlinewidth": 0,
        "len": 0.7,
        "x": 0.5,
        "y": y,
        "yanchor": "top",
    }
