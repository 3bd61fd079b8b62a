"""A plane with the samples of runs: what its contours and its surface in 3D share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from landscape.store import Group, Run
from landscape_app import formats
from landscape_app.figures import path, samples, theme, values
from landscape_app.figures.frame import Frame
from landscape_app.figures.scale import Scale
from landscape_app.figures.values import SAMPLES, VALUES

_THIN = 3.0
"""Largest aspect ratio of a plane that is drawn with the same scale on both axes."""


@dataclass(frozen=True)
class Placed:
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


@dataclass(frozen=True)
class Plane:
    """What is drawn of a plane.

    Attributes:
        run: The run with the grid.
        group: Its surface.
        limits: Ranges of the surfaces beside each other, and what they show.
        placed: Samples of each run.
        at: x and y of the point whose slices are marked, if one is.
    """

    run: Run
    group: Group
    limits: Frame
    placed: Sequence[Placed]
    at: tuple[float, float] | None = None

    @cached_property
    def scale(self) -> Scale:
        """The scale of colours and heights."""
        return Scale.over(np.array(self.limits.loss), self.limits.log)

    @cached_property
    def drawn(self) -> np.ndarray:
        """The grid on that scale."""
        return self.scale(self.group["loss"])

    def on_scale(self, ends: tuple[float, float]) -> tuple[float, float]:
        """Both ends of a range on that scale."""
        low, high = self.scale(np.array(ends))
        return float(low), float(high)

    def lines(self) -> list[np.ndarray]:
        """x, y and height along the grid row and the grid column nearest to ``at``."""
        if self.at is None:
            return []
        x, y = self.group["x"], self.group["y"]
        column = int(np.abs(x - self.at[0]).argmin())
        row = int(np.abs(y - self.at[1]).argmin())
        return [
            np.array([x, np.full(len(x), y[row]), self.drawn[row]]),
            np.array([np.full(len(y), x[column]), y, self.drawn[:, column]]),
        ]

    def grid(self) -> theme.Trace:
        """The properties of the grid that a trace of either kind has."""
        words = VALUES[self.limits.value].words
        return {
            "x": self.group["x"],
            "y": self.group["y"],
            "z": self.drawn,
            "text": _written(self.group["loss"]),
            "colorscale": _ground(self.placed, self.limits),
            "connectgaps": False,
            "colorbar": values.bar(self.limits.value, self.scale),
            "hovertemplate": f"x %{{x:.4g}}, y %{{y:.4g}}<br>{words} %{{text}}<extra></extra>",
            "name": words,
            **_grid_numbers(self.run, self.group, self.drawn, words),
        }


def has_samples(group: Group) -> bool:
    """Whether a surface has the posterior's samples, or the weights along a training."""
    return all(name in group for name in SAMPLES)


def colours(group: Group, marked: list[int], plain: str = theme.BLACK) -> list[str]:
    """The colour of each sample: ``plain``, or that of highlighted ones."""
    count = len(group["sample_x"])
    return [theme.VERMILION if index in marked else plain for index in range(count)]


def hover_sample(value: str) -> str:
    """The text beside the mouse at a sample; its numbers are those of ``sample_numbers``."""
    return (
        "sample %{customdata[1]}<br>x %{x:.4g}, y %{y:.4g}<br>"
        f"{values.of_sample_words(value)} %{{customdata[2]:.4g}}"
        "<br>distance to the plane %{customdata[3]:.4g}<extra></extra>"
    )


def sample_numbers(run: Run, group: Group, value: str) -> dict[str, Any]:
    """The properties of a trace that hold the numbers behind its samples."""
    columns = {values.of_sample(value): group["sample_loss"]}
    columns |= {"off_plane": group["sample_off_plane"]}
    count = len(group["sample_x"])
    return samples.points(run, "posterior sample", count, samples.NONE, axes="xy", **columns)


def _grid_numbers(run: Run, group: Group, drawn: np.ndarray, words: str) -> dict[str, Any]:
    """The properties of a trace that hold the numbers behind its grid."""
    # If the drawn number differs from the loss, the data also hold the loss itself.
    is_unchanged = np.array_equal(drawn, group["loss"], equal_nan=True)
    columns = {} if is_unchanged else {"z": group["loss"]}
    columns |= {"accuracy": group["accuracy"]} if "accuracy" in group else {}
    return samples.grid_numbers(run, words, **columns)


def _ground(placed: Sequence[Placed], limits: Frame) -> Any:
    """The colours of the grid: greys below the coloured line of a training."""
    value = VALUES[limits.value]
    has_path = any(path.is_path(own.group) for own in placed) and not value.is_difference
    return path.GROUND if has_path else theme.colour_scale(value.colours)


def _written(loss: np.ndarray) -> np.ndarray:
    """The loss as text, at each point of the grid."""
    # An array, because Plotly would read a nested list as one text for each row.
    # ``formats.number`` for each of ten thousand points takes longer than the rest of the figure.
    return np.array(
        [
            [f"{value:#.4g}" if math.isfinite(value) else formats.number(value) for value in row]
            for row in loss.tolist()
        ]
    )


def has_one_scale(limits: Frame) -> bool:
    """Whether both axes have one scale, as lengths ask for: thin planes would be too small."""
    width, depth = np.ptp(limits.x), np.ptp(limits.y)
    short, long = min(width, depth), max(width, depth)
    return not short > 0 or bool(long / short <= _THIN)


def axis_words(group: Group, axis: str) -> str:
    """What the file says of the direction of an axis; by default its letter."""
    return formats.label(group.attributes, f"{axis}_axis", axis)


def length(group: Group, axis: str) -> str:
    """The title of an axis: a length in parameter space, and its direction."""
    words = axis_words(group, axis)
    joint = " " if words.startswith(("from ", "towards ")) else ": "
    return f"‖Δw‖{joint}{words}" if words != axis else f"‖Δw‖ along {axis}"
