"""Ranges that the surfaces of several runs share, so that what looks equal is equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.errors import InputError
from landscape.store import Run
from landscape_app.data import read_each

SAMPLES = ("sample_x", "sample_y", "sample_off_plane", "sample_loss")
"""Variables of a surface that say where the posterior's samples lie."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """What several surfaces have in common.

    Attributes:
        x: Lowest and highest x of a grid or a sample.
        y: Lowest and highest y of a grid or a sample.
        loss: Lowest and highest loss of a grid, for the colours.
        height: Lowest and highest loss of a grid or a sample, for the height in space.
        off_plane: Largest distance of a sample to its plane.
    """

    x: Range
    y: Range
    loss: Range
    height: Range
    off_plane: float

    @classmethod
    def around(cls, runs: Sequence[Run], name: str, log: bool = False) -> Frame:
        """The smallest ranges that hold the surface ``name`` of every run that has it.

        Args:
            runs: The run files.
            name: Name of the surface.
            log: Whether to leave out losses without a logarithm.

        Raises:
            NotMeasured: no run has such a surface.
            InputError: a run file cannot be read, or no surface has a loss to draw.
        """
        groups = read_each(runs, f"surfaces/{name}", "x", "y", "loss", optional=SAMPLES).values()

        def every(*names: str) -> np.ndarray:
            found = [group[name].ravel() for group in groups for name in names if name in group]
            values = np.concatenate([*found, np.empty(0)])
            finite: np.ndarray = values[np.isfinite(values)]
            return finite

        def drawable(*names: str) -> np.ndarray:
            values = every(*names)
            return values[values > 0] if log else values

        losses = drawable("loss")
        if not losses.size:
            what = "positive finite" if log else "finite"
            raise InputError(f"no surface '{name}' has a {what} loss to draw")
        return cls(
            x=_ends(every("x", "sample_x")),
            y=_ends(every("y", "sample_y")),
            loss=_ends(losses),
            height=_ends(drawable("loss", "sample_loss")),
            off_plane=float(every("sample_off_plane").max(initial=0.0)),
        )

    def share(self, x: np.ndarray, y: np.ndarray) -> float:
        """The share of this frame's area that a grid with these coordinates covers."""
        area = float(np.ptp(self.x) * np.ptp(self.y))
        return float(np.ptp(x) * np.ptp(y)) / area if area else 1.0


def _ends(values: np.ndarray) -> Range:
    return float(values.min()), float(values.max())
