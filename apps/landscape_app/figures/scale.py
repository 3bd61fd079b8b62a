"""Logarithmic scales with round numbers at their ticks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape_app import formats

_MOST_MARKS = 12
_APART = 0.05
"""Smallest distance between two marks, as a fraction of the axis."""


@dataclass(frozen=True)
class Scale:
    """A linear scale, or a base-10 logarithm with ticks labelled by the quantity itself.

    Attributes:
        log: Whether the scale is logarithmic.
        ticks: Plotly settings of the ticks; empty for a linear scale.
    """

    log: bool
    ticks: dict[str, Any]

    @classmethod
    def over(cls, values: np.ndarray, log: bool) -> Scale:
        """The scale for ``values``, with ticks in their range."""
        if not log:
            return cls(False, {})
        marks, labels = log_ticks(values)
        return cls(
            True, {"tickvals": [float(np.log10(mark)) for mark in marks]} | {"ticktext": labels}
        )

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The drawn numbers; NaN, which Plotly leaves out, for values outside of the scale."""
        placed = np.isfinite(values) & ((values > 0) | (not self.log))
        drawn = np.where(placed, values, np.nan)
        return np.log10(drawn) if self.log else drawn


@dataclass(frozen=True)
class Symlog:
    """Scale that is linear near zero and logarithmic on both sides: sign(t) log10(1 + |t| / c).

    Attributes:
        threshold: c, the end of the nearly linear part; positive.
    """

    threshold: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The positions of ``values`` on the axis."""
        drawn: np.ndarray = np.sign(values) * np.log10(1 + np.abs(values) / self.threshold)
        return drawn

    def ticks(self, values: np.ndarray) -> dict[str, Any]:
        """Plotly settings of ticks at zero and at round numbers in the range of ``values``.

        Powers of ten come first, then twice and five times these powers if there is room.
        """
        low, high = float(values.min()), float(values.max())
        largest = max(abs(low), abs(high), self.threshold)
        lowest = int(np.floor(np.log10(self.threshold)))
        powers = [10.0**power for power in range(lowest, int(np.floor(np.log10(largest))) + 1)]
        width = float(np.ptp(self(np.array([low, high])))) or 1.0
        marks: list[float] = []
        for size in [0.0, *powers[::-1], *(2 * p for p in powers), *(5 * p for p in powers)]:
            for mark in (size, -size):
                apart = np.abs(self(np.array(marks)) - self(np.array(mark))) / width
                if low <= mark <= high and (apart > _APART).all():
                    marks.append(mark)
        marks.sort()
        return {
            "tickvals": self(np.array(marks)).tolist(),
            "ticktext": [formats.number(mark, 1) for mark in marks],
        }


def asks_for_log(values: np.ndarray, factor: float = 10.0) -> bool:
    """Whether values are read better on a logarithmic scale.

    They are if all that are finite are positive, and the largest is ``factor`` times the smallest
    or more.
    """
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() >= factor * finite.min())


def log_ticks(values: np.ndarray) -> tuple[list[float], list[str]]:
    """Round numbers 1, 2, 5, 10, ... in the range of the positive ``values``, and their labels.

    In a narrow range they are 1, 2, 3, 4, ...
    """
    drawable = values[np.isfinite(values) & (values > 0)]
    if not drawable.size:
        return [], []
    low, high = float(drawable.min()), float(drawable.max())
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    shown: list[float] = []
    for bases in ((1, 2, 5), range(1, 10)):
        marks = [base * 10.0**power for power in powers for base in bases]
        shown = [mark for mark in marks if low <= mark <= high]
        if len(shown) > 2:
            break
    if len(shown) < 2:  # a narrow range holds no round numbers: label its ends
        ends = sorted({low, high})
        return ends, [formats.number(end) for end in ends]
    if len(shown) > _MOST_MARKS:
        shown = [10.0**power for power in powers if low <= 10.0**power <= high]
        shown = shown[:: 1 + len(shown) // _MOST_MARKS]
    return shown, [formats.number(mark, 1) for mark in shown]


def range_of_one(values: np.ndarray) -> list[float] | None:
    """A range around values that are equal up to rounding, for which Plotly draws no axis."""
    finite = values[np.isfinite(values)]
    if not finite.size or np.ptp(finite) > 1e-9 * np.abs(finite).max():
        return None
    middle = float(finite.mean())
    reach = 0.1 * abs(middle) or 0.1
    return [middle - reach, middle + reach]
