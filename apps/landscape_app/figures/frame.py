"""Shared ranges of the surfaces of several runs, so that the surfaces can be compared by eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from landscape.errors import InputError
from landscape.store import Run
from landscape_app.figures import values
from landscape_app.figures.scale import asks_for_log

Range = tuple[float, float]
Shared = Literal["all", "colours", "nothing"]
"""Parts of a frame that the surfaces of several runs share."""


@dataclass(frozen=True)
class Frame:
    """Ranges of several surfaces.

    Attributes:
        x: Lowest and highest x of the grids and samples.
        y: Lowest and highest y of the grids and samples.
        loss: Lowest and highest value of the grids, for the colours.
        height: Lowest and highest value of the grids and samples, for the height in 3D.
        off_plane: Largest distance of a sample from its plane.
        log: Whether colours and heights show the logarithm of the loss.
        shared: Parts that the surfaces of other runs have as well.
        value: What the surfaces show: one of ``values.VALUES``.
    """

    x: Range
    y: Range
    loss: Range
    height: Range
    off_plane: float
    log: bool = False
    shared: Shared = "all"
    value: str = "loss"

    @classmethod
    def around(
        cls, runs: Sequence[Run], name: str, log: bool | None = None, value: str = "loss"
    ) -> Frame:
        """The smallest ranges that contain the surface ``name`` of every run that has it.

        Args:
            runs: The run files.
            name: Name of the surface.
            log: Whether the scale of the loss is logarithmic, which leaves out losses that are not
                positive. By default it is if the losses ask for it: see ``asks_for_log``. Other
                values have a linear scale.
            value: What the surfaces show: one of ``values.VALUES``.

        Raises:
            NotMeasured: no run has such a surface.
            InputError: a run file cannot be read, or no surface has a loss to draw.
        """
        groups = values.read_surfaces(runs, name, value).values()

        def finite_values(*names: str) -> np.ndarray:
            arrays = [group[name].ravel() for group in groups for name in names if name in group]
            numbers = np.concatenate([*arrays, np.empty(0)])
            finite: np.ndarray = numbers[np.isfinite(numbers)]
            return finite

        if not values.VALUES[value].can_be_log:
            log = False
        elif log is None:
            log = asks_for_log(finite_values("loss"))

        def drawable_values(*names: str) -> np.ndarray:
            numbers = finite_values(*names)
            return numbers[numbers > 0] if log else numbers

        losses = drawable_values("loss")
        if not losses.size:
            kind = "positive finite" if log else "finite"
            words = values.VALUES[value].words
            if len(runs) == 1:
                file = runs[0].path.name
                raise InputError(f"surface '{name}' of {file} has no {kind} {words} to draw")
            raise InputError(f"no surface '{name}' has a {kind} {words} to draw")
        return cls(
            x=_ends(finite_values("x", "sample_x")),
            y=_ends(finite_values("y", "sample_y")),
            loss=values.limits(value, losses),
            height=_ends(drawable_values("loss", "sample_loss")),
            off_plane=float(finite_values("sample_off_plane").max(initial=0.0)),
            log=log,
            value=value,
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
        own = replace(Frame.around([run], name, self.log, self.value), shared=shared)
        if shared == "nothing":
            return own
        return replace(own, loss=self.loss, height=self.height, off_plane=self.off_plane)

    def share(self, x: np.ndarray, y: np.ndarray) -> float:
        """The fraction of the frame's area that a grid with these coordinates covers."""
        area = float(np.ptp(self.x) * np.ptp(self.y))
        return float(np.ptp(x) * np.ptp(y)) / area if area else 1.0


def _ends(values: np.ndarray) -> Range:
    return float(values.min()), float(values.max())
