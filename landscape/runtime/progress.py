"""How far a long piece of work is, on standard error, with the time it will still take."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """One line that follows ``label``: what is done, and how long the rest will take.

    On a terminal the line is rewritten in place; elsewhere (a log file) only every tenth of the
    work is written. Nothing is written to standard output.

    Args:
        label: What is being done.
        stream: Where to write; standard error if ``None``.
    """

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = stream or sys.stderr
        self._begun = time.monotonic()
        self._before = -1
        self._tenth = 0
        self._shown = -1.0

    def __call__(self, done: int, total: int, detail: object = None) -> None:
        """Show that ``done`` of ``total`` units are finished; ``detail`` is shown if it is text.

        Units that were finished before the first call but one took no time here.
        """
        now = time.monotonic()
        if self._before < 0:
            self._before = done - 1
        terminal, tenth = self._stream.isatty(), 10 * done // total
        due = now - self._shown > 0.1 if terminal else tenth > self._tenth
        if not due and done < total:
            return
        self._shown, self._tenth = now, tenth
        elapsed = now - self._begun
        left = elapsed / max(1, done - self._before) * (total - done)
        took = f"{elapsed:.0f} s" if done == total else f"{left:.0f} s left"
        line = f"{self._label}: {done}/{total}, {took}{f', {detail}' * isinstance(detail, str)}"
        end = "\n" if done == total or not terminal else ""
        self._stream.write(f"\r\033[K{line}{end}" if terminal else f"{line}{end}")
        self._stream.flush()
