"""Losses evaluated unit by unit: written while they grow, taken over where they are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from landscape.runtime.files import Stored

Progress = Callable[[int, int], None]

_SECONDS = 1.0  # between two writes: a row of a small network takes less than a write
_PAUSE = 9.0  # in durations of the last write, for a file with much else in it takes long to write


class Losses:
    """Loss and accuracy of N units (rows of a grid, points of a line), as far as they are finished.

    Attributes:
        loss: Shape (N, ...), NaN where a unit is not finished.
        accuracy: Of the same shape.
        finished: Shape (N,).
    """

    def __init__(self, *shape: int) -> None:
        self.loss, self.accuracy = np.full((2, *shape), np.nan)
        self.finished = np.zeros(shape[0], dtype=bool)

    @property
    def missing(self) -> np.ndarray:
        """The units that are not finished, in order."""
        return np.flatnonzero(~self.finished)

    def variables(self) -> dict[str, np.ndarray]:
        """The arrays by the names that a run file has for them."""
        return {"loss": self.loss, "accuracy": self.accuracy, "finished": self.finished}

    def put(self, unit: int, values: np.ndarray) -> None:
        """Note the loss and the accuracy of a unit, shape (2, ...)."""
        self.loss[unit], self.accuracy[unit] = values
        self.finished[unit] = True

    def take_over(self, found: Stored) -> None:
        """Take the units that ``found`` holds and that are not finished here.

        Raises:
            KeyError: it lacks a variable, as a file from anybody may.
        """
        kept = found["finished"].astype(bool) & ~self.finished
        for own, theirs in ((self.loss, found["loss"]), (self.accuracy, found["accuracy"])):
            own[kept] = theirs[kept]
        self.finished |= kept

    def complete(
        self,
        results: Iterable[tuple[int, np.ndarray]],
        write: Callable[[], None] | None,
        progress: Progress | None,
        *,
        written: int,
    ) -> None:
        """Put the results of the missing units as they come, and write at most once a second.

        What is finished is also written at the end, whatever stopped the work.

        Args:
            results: Of ``units.run`` over the missing units, in order.
            write: Writes what is finished; ``None`` where nothing is kept.
            progress: Called after each unit with (number finished, N).
            written: How many units the store holds already.
        """
        missing = self.missing
        due = time.monotonic() + _SECONDS
        try:
            for position, values in results:
                self.put(int(missing[position]), values)
                if write is not None and time.monotonic() >= due:
                    begun = time.monotonic()
                    write()
                    written, now = int(self.finished.sum()), time.monotonic()
                    due = now + max(_SECONDS, _PAUSE * (now - begun))
                if progress is not None:
                    progress(int(self.finished.sum()), len(self.finished))
        finally:
            if write is not None and self.finished.sum() > written:
                write()


def close(kept: np.ndarray, values: np.ndarray, scale: float | None = None) -> bool:
    """Whether two arrays are the same but for rounding; NaN and infinity equal themselves.

    Args:
        kept: What a store holds.
        values: What it should be.
        scale: What is small against this is as good as zero; the largest finite value by default.
    """
    if kept.shape != values.shape:
        return False
    if scale is None:
        scale = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    return np.allclose(kept, values, rtol=1e-4, atol=1e-6 * scale, equal_nan=True)
