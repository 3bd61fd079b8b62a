"""What a study's picture shows, as plain numbers. ``docs/evidence.py`` draws it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_DIGITS = 5
"""Significant digits of the numbers in a file."""


@dataclass(frozen=True)
class Series:
    """Points or a line.

    Attributes:
        label: Name in the legend. Series of one name have one colour in all panels.
        x: Horizontal places: numbers, or names.
        y: Vertical places.
        low: Lower ends of the intervals of y; empty for no intervals.
        high: Upper ends of the intervals of y; empty for no intervals.
        line: Whether the points are joined.
    """

    label: str
    x: tuple[float | str, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    line: bool = False


@dataclass(frozen=True)
class Contours:
    """Values on a grid, drawn as level lines.

    Attributes:
        x: Places of the columns, shape (X,).
        y: Places of the rows, shape (Y,).
        z: Values, Y rows of X numbers.
        levels: First level, last level and the distance between levels.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    z: tuple[tuple[float, ...], ...]
    levels: tuple[float, float, float]


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: Title above the panel.
        x: Title of the horizontal axis.
        y: Title of the vertical axis.
        series: Points and lines.
        contours: Level lines behind them.
        logarithmic: Axes with a logarithmic scale: ``""``, ``"x"``, ``"y"`` or ``"xy"``.
        sideways: Whether x goes up and y to the right, as in a forest plot.
    """

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    contours: Contours | None = None
    logarithmic: str = ""
    sideways: bool = False


@dataclass(frozen=True)
class Figure:
    """Panels side by side.

    Attributes:
        title: Title above all panels.
        panels: The panels, row by row.
        columns: Number of panels in a row.
    """

    title: str
    panels: tuple[Panel, ...]
    columns: int = 3


def numbers(values: Iterable[float] | np.ndarray) -> tuple[float, ...]:
    """Plain numbers for a figure, with few digits: a page's picture stays a small file."""
    return tuple(float(f"{value:.{_DIGITS - 1}e}") for value in np.asarray(list(values), float))


def contours(x: np.ndarray, y: np.ndarray, z: np.ndarray, levels: Sequence[float]) -> Contours:
    """Level lines of values ``z`` (Y, X) at the places ``x`` (X,) and ``y`` (Y,)."""
    first, last, step = numbers(levels)
    return Contours(numbers(x), numbers(y), tuple(map(numbers, z)), (first, last, step))
