"""Ranges that the surfaces of several runs share, so that what looks equal is equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.errors import InputError
from landscape.store import Run
from landscape_app.data import read_each


@dataclass(frozen=True)
class Frame:
    """Lowest and highest value of both coordinates and of the loss."""

    x: tuple[float, float]
    y: tuple[float, float]
    loss: tuple[float, float]

    @classmethod
    def around(cls, runs: Sequence[Run], name: str, log: bool = False) -> Frame:
        """The smallest ranges that hold the surface ``name`` of every run that has it.

        Args:
            runs: The run files.
            name: Which surface.
            log: Of the losses, take those that have a logarithm.

        Raises:
            NotMeasured: no run has such a surface.
            InputError: a run file cannot be read, or no surface has a loss to draw.
        """
        groups = read_each(runs, f"surfaces/{name}", "x", "y", "loss").values()
        losses = np.concatenate([group["loss"].ravel() for group in groups])
        drawable = losses[np.isfinite(losses) & ((losses > 0) | (not log))]
        if not drawable.size:
            raise InputError(f"no surface '{name}' has a finite loss to draw")
        x = np.concatenate([group["x"] for group in groups])
        y = np.concatenate([group["y"] for group in groups])
        return cls(_ends(x), _ends(y), _ends(drawable))


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())
