"""Losses evaluated unit by unit: written while they grow, and taken over from a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from landscape.results.resume import Stored

Progress = Callable[[int, int], None]

_SECONDS = 1.0  # between two writes: a row of a small network takes less than a write
_PAUSE = 9.0  # in durations of the last write: a file with much else in it takes long to write


class Losses:
    """Loss and accuracy of N units (rows of a grid, points of a line), as far as they are finished.

    Attributes:
        loss: Shape (N, ...), NaN where a unit is not finished.
        accuracy: The same shape.
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
        """The arrays by their names in a run file."""
        return {"loss": self.loss, "accuracy": self.accuracy, "finished": self.finished}

    def take_over(self, stored: Stored) -> None:
        """Take the units that a stored result has finished; none if it has another shape.

        Raises:
            KeyError: a variable is missing, as in a file from anybody.
        """
        finished = stored["finished"].astype(bool)
        losses, accuracies = stored["loss"], stored["accuracy"]
        if losses.shape == accuracies.shape == self.loss.shape:
            self.loss[finished], self.accuracy[finished] = losses[finished], accuracies[finished]
            self.finished |= finished

    def complete(
        self,
        results: Iterable[tuple[int, np.ndarray]],
        write: Callable[[], None],
        progress: Progress | None,
    ) -> None:
        """Note the results of the missing units as they come, and write at most once a second.

        What is finished is also written at the end, whatever stopped the work.

        Args:
            results: Results of ``executors.run`` over the missing units, each shape (2, ...).
            write: Writes what is finished.
            progress: Called after each unit with (number finished, N).
        """
        missing = self.missing
        due, written = time.monotonic() + _SECONDS, int(self.finished.sum())
        try:
            for position, (loss, accuracy) in results:
                unit = missing[position]
                self.loss[unit], self.accuracy[unit] = loss, accuracy
                self.finished[unit] = True
                if time.monotonic() >= due:
                    begun = time.monotonic()
                    write()
                    written, now = int(self.finished.sum()), time.monotonic()
                    due = now + max(_SECONDS, _PAUSE * (now - begun))
                if progress is not None:
                    progress(int(self.finished.sum()), len(self.finished))
        finally:
            if self.finished.sum() > written:
                write()
