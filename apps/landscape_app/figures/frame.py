"""Shared ranges of the surfaces of several runs, so that the surfaces can be compared by eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from landscape.errors import InputError
from landscape.store import Run
from landscape_app.data import read_each
from landscape_app.figures.scale import asks_for_log

SAMPLES = ("sample_x", "sample_y", "sample_off_plane", "sample_loss")
"""Variables of a surface with the positions of the posterior's samples."""

Range = tuple[float, float]
Shared = Literal["all", "colours", "nothing"]
"""Parts of a frame that the surfaces of several runs share."""


@dataclass(frozen=True)
class Frame:
    """Ranges of several surfaces.

    Attributes:
        x: Lowest and highest x of the grids and samples.
        y: Lowest and highest y of the grids and samples.
        loss: Lowest and highest loss of the grids, for the colours.
        height: Lowest and highest loss of the grids and samples, for the height in 3D.
        off_plane: Largest distance of a sample from its plane.
        log: Whether colours and heights show the logarithm of the loss.
        shared: Parts that the surfaces of other runs have as well.
    """

    x: Range
    y: Range
    loss: Range
    height: Range
    off_plane: float
    log: bool = False
    shared: Shared = "all"

    @classmethod
    def around(cls, runs: Sequence[Run], name: str, log: bool | None = None) -> Frame:
        """The smallest ranges that contain the surface ``name`` of every run that has it.

        Args:
            runs: The run files.
            name: Name of the surface.
            log: Whether the scale of the loss is logarithmic, which leaves out losses that are not
                positive. By default it is if the losses ask for it: see ``asks_for_log``.

        Raises:
            NotMeasured: no run has such a surface.
            InputError: a run file cannot be read, or no surface has a loss to draw.
        """
        groups = read_each(runs, f"surfaces/{name}", "x", "y", "loss", optional=SAMPLES).values()

        def finite_values(*names: str) -> np.ndarray:
            arrays = [group[name].ravel() for group in groups for name in names if name in group]
            values = np.concatenate([*arrays, np.empty(0)])
            finite: np.ndarray = values[np.isfinite(values)]
            return finite

        if log is None:
            log = asks_for_log(finite_values("loss"))

        def drawable_values(*names: str) -> np.ndarray:
            values = finite_values(*names)
            return values[values > 0] if log else values

        losses = drawable_values("loss")
        if not losses.size:
            kind = "positive finite" if log else "finite"
            if len(runs) == 1:
                file = runs[0].path.name
                raise InputError(f"surface '{name}' of {file} has no {kind} loss to draw")
            raise InputError(f"no surface '{name}' has a {kind} loss to draw")
        return cls(
            x=_ends(finite_values("x", "sample_x")),
            y=_ends(finite_values("y", "sample_y")),
            loss=_ends(losses),
            height=_ends(drawable_values("loss", "sample_loss")),
            off_plane=float(finite_values("sample_off_plane").max(initial=0.0)),
            log=log,
        )

    def on(self, run: Run, name: str, shared: Shared) -> Frame:
        """The frame of one of the runs, which shares these parts with the others.

        Args:
            run: The run.
            name: Name of the surface.
            shared: Parts of this frame to take over.
        """
        if shared == "all":
            return self
        own = replace(Frame.around([run], name, self.log), shared=shared)
        if shared == "nothing":
            return own
        return replace(own, loss=self.loss, height=self.height, off_plane=self.off_plane)

    def share(self, x: np.ndarray, y: np.ndarray) -> float:
        """The fraction of the frame's area that a grid with these coordinates covers."""
        area = float(np.ptp(self.x) * np.ptp(self.y))
        return float(np.ptp(x) * np.ptp(y)) / area if area else 1.0


def _ends(values: np.ndarray) -> Range:
    return float(values.min()), float(values.max())
