"""The loss over a plane in parameter space, and where the posterior's samples lie."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from landscape.errors import InputError
from landscape.store import Group, Run
from landscape.store.summary import number
from landscape_app import formats
from landscape_app.data import read
from landscape_app.figures import samples, theme
from landscape_app.figures.frame import Frame
from landscape_app.figures.samples import Picked
from landscape_app.figures.scale import Scale

Kind = Literal["contour", "3d"]
_SAMPLES = ("sample_x", "sample_y", "sample_off_plane", "sample_loss")
_HOVER = "x %{x:.4g}, y %{y:.4g}<br>loss %{text}<extra></extra>"
_HOVER_SAMPLE = (
    "sample %{customdata[1]}<br>x %{x:.4g}, y %{y:.4g}<br>its own loss %{customdata[2]}"
    "<br>distance to the plane %{customdata[3]}<extra></extra>"
)


def surface_figure(
    run: Run,
    name: str,
    kind: Kind = "contour",
    log: bool = False,
    frame: Frame | None = None,
    picked: Picked = samples.NONE,
) -> go.Figure:
    """The loss on the plane ``name`` with the posterior's samples projected on it.

    Grid points whose loss is NaN or infinite stay gaps, and the subtitle counts them.

    Args:
        run: The run file.
        name: Which surface, e.g. ``"samples"`` or ``"random"``.
        kind: ``"contour"``, or ``"3d"`` with the samples at the height of their own loss.
        log: Colour and height by the logarithm of the loss.
        frame: Ranges to use instead of the surface's own.
        picked: Samples to highlight.

    Raises:
        NotMeasured: the run has no such surface.
        InputError: the run file cannot be read, or the surface has not one value to draw.
    """
    if kind not in ("contour", "3d"):
        raise InputError(f"a surface is drawn as 'contour' or '3d', not '{kind}'")
    group = read(run, f"surfaces/{name}", "x", "y", "loss", optional=_SAMPLES)
    scale = Scale.over(group["loss"] if frame is None else np.array(frame.loss), log)
    drawn = scale(group["loss"])
    if not np.isfinite(drawn).any():
        what = "positive finite" if log else "finite"
        raise InputError(f"surface '{name}' of {run.path} has no {what} loss to draw")
    marked = samples.picked_of(run, picked)
    draw = _solid if kind == "3d" else _flat
    figure = draw(samples.plain_name(run), group, drawn, scale, marked)
    if frame is not None:
        _fit(figure, frame, scale)
    titles = {"samples": "the plane through the samples", "random": "a random plane"}
    title = f"Loss on {titles.get(str(group.attributes.get('kind')), f'the plane {name}')}"
    # An axis in space has no room for a sentence.
    axes = f"x: {_axis(group, 'x')} · y: {_axis(group, 'y')}" if kind == "3d" else ""
    return theme.titled(figure, title, _facts(group), _blanks(drawn), axes, legend_above=True)


def _flat(name: str, group: Group, drawn: np.ndarray, scale: Scale, marked: list[int]) -> go.Figure:
    figure = go.Figure(
        go.Contour(
            x=group["x"],
            y=group["y"],
            z=drawn,
            text=_written(group["loss"]),
            customdata=group["loss"] if scale.log else None,
            colorscale="Viridis",
            ncontours=24,
            connectgaps=False,
            line={"width": 0.6, "color": "rgba(255,255,255,0.55)"},
            colorbar=_colour_bar(scale),
            hovertemplate=_HOVER,
            name="loss",
        )
    )
    if _has_samples(group):
        away = group["sample_off_plane"]
        farthest = float(np.nanmax(away)) if np.isfinite(away).any() else 0.0
        ring = 9 + 17 * np.nan_to_num(away / farthest) if farthest > 0 else np.full(len(away), 9.0)
        shared: dict[str, Any] = {
            "x": group["sample_x"],
            "y": group["sample_y"],
            "mode": "markers",
            "customdata": _sample_hover(name, group),
            "hovertemplate": _HOVER_SAMPLE,
            "legendgroup": "samples",
        }
        # A dark ring in a light one is visible on every colour of the scale.
        figure.add_trace(
            go.Scatter(
                **shared,
                marker={"size": ring + 2, "symbol": "circle-open", "color": "white"}
                | {"line": {"width": 4, "color": "white"}},
                showlegend=False,
            )
        )
        figure.add_trace(
            go.Scatter(
                **shared,
                marker={"size": ring, "symbol": "circle-open-dot", "color": _colours(group, marked)}
                | {"line": {"width": 2}},
                name="posterior sample; the ring grows with its distance to the plane, "
                f"up to {formats.number(farthest)}",
                showlegend=True,
            )
        )
    # Coordinates are Euclidean lengths: one unit is as long on either axis.
    figure.update_xaxes(
        title_text=formats.plain(_axis(group, "x")), constrain="domain", showgrid=False
    )
    figure.update_yaxes(
        title_text=formats.plain(_axis(group, "y")), scaleanchor="x", constrain="domain"
    )
    figure.update_yaxes(showgrid=False)
    figure.update_layout(plot_bgcolor=theme.MISSING)
    return figure


def _solid(
    name: str, group: Group, drawn: np.ndarray, scale: Scale, marked: list[int]
) -> go.Figure:
    figure = go.Figure(
        go.Surface(
            x=group["x"],
            y=group["y"],
            z=drawn,
            text=_written(group["loss"]),
            customdata=group["loss"] if scale.log else None,
            colorscale="Viridis",
            connectgaps=False,
            colorbar=_colour_bar(scale),
            hovertemplate=_HOVER,
            name="loss",
        )
    )
    if _has_samples(group):
        figure.add_trace(
            go.Scatter3d(
                x=group["sample_x"],
                y=group["sample_y"],
                z=scale(group["sample_loss"]),
                mode="markers",
                marker={"size": 5, "color": _colours(group, marked, theme.ORANGE)}
                | {"line": {"width": 1, "color": "white"}},
                customdata=_sample_hover(name, group),
                hovertemplate=_HOVER_SAMPLE,
                name="posterior sample, at the height of its own loss off the plane",
                showlegend=True,
            )
        )
    width, depth = float(np.ptp(group["x"])), float(np.ptp(group["y"]))
    longest = max(width, depth) or 1.0
    figure.update_layout(
        margin={"l": 0, "r": 0, "b": 8},
        scene={
            "xaxis": {"title": {"text": "x"}},
            "yaxis": {"title": {"text": "y"}},
            "zaxis": {"title": {"text": "loss (nat)"}} | scale.ticks,
            "aspectmode": "manual",
            "aspectratio": {"x": width / longest, "y": depth / longest, "z": 0.6},
            "camera": {
                "up": {"x": 0, "y": 0, "z": 1},
                "center": {"x": 0, "y": 0, "z": -0.12},
                "eye": {"x": -1.1, "y": -1.25, "z": 0.8},
                "projection": {"type": "perspective"},
            },
        },
    )
    return figure


def _fit(figure: go.Figure, frame: Frame, scale: Scale) -> None:
    low, high = (float(end) for end in scale(np.array(frame.loss)))
    figure.update_traces({"zmin": low, "zmax": high}, {"type": "contour"})
    figure.update_traces({"cmin": low, "cmax": high}, {"type": "surface"})
    figure.update_xaxes(range=frame.x)
    figure.update_yaxes(range=frame.y)
    if "scene" in figure.layout:
        x, y = np.ptp(frame.x), np.ptp(frame.y)
        figure.update_scenes(
            xaxis_range=frame.x,
            yaxis_range=frame.y,
            zaxis_range=(low, high),
            aspectratio={"x": x / max(x, y), "y": y / max(x, y), "z": 0.6},
        )


def _colours(group: Group, marked: list[int], plain: str = theme.BLACK) -> list[str]:
    colours = [plain] * len(group["sample_x"])
    for index in marked:
        if index < len(colours):
            colours[index] = theme.VERMILION
    return colours


def _facts(group: Group) -> str:
    facts = []
    share = number(group.attributes, "variance_share")
    if share is not None:
        facts.append(f"the plane holds {formats.percent(share)} of the samples' variance")
    examples = number(group.attributes, "examples")
    if examples is not None:
        split = group.attributes.get("split")
        facts.append(formats.count(int(examples), "example") + (f" ({split})" if split else ""))
    return " · ".join(facts)


def _blanks(drawn: np.ndarray) -> str:
    blank = int(np.count_nonzero(~np.isfinite(drawn)))
    return f"{blank:,} of {drawn.size:,} points have no value to draw: left blank" if blank else ""


def _axis(group: Group, axis: str) -> str:
    return str(group.attributes.get(f"{axis}_axis", axis))


def _has_samples(group: Group) -> bool:
    return all(name in group for name in _SAMPLES)


def _written(loss: np.ndarray) -> np.ndarray:
    # An array: Plotly would take a nested list for one text a row.
    return np.array([[formats.number(value, 4) for value in row] for row in loss.tolist()])


def _sample_hover(name: str, group: Group) -> list[list[str | int]]:
    return [
        [name, index, formats.number(loss, 4), formats.number(away, 4)]
        for index, (loss, away) in enumerate(
            zip(group["sample_loss"], group["sample_off_plane"], strict=True)
        )
    ]


def _colour_bar(scale: Scale) -> dict[str, Any]:
    return {
        "title": {"text": "loss (nat)", "side": "right"},
        "thickness": 14,
        "outlinewidth": 0,
    } | scale.ticks
