"""The sign of life of the process that fills a run file: a killed one is told from one at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from landscape.store.run import Run

STOPPED = "stopped"
"""Status of a run whose process ended without a word: it was killed, or its machine failed."""

_EVERY = 5.0
"""Seconds between two beats."""
_LATE = 60.0
"""Age in seconds of the last beat of a process that has ended. Network file systems may lag."""


@contextmanager
def heartbeat(path: Path) -> Iterator[None]:
    """Touch a hidden file beside the run file ``path`` every five seconds during the block.

    The file goes at the end of the block. A process that is killed leaves it behind, and it ages.
    """
    beat, ended = _beat(path), threading.Event()

    def live() -> None:
        while not ended.wait(_EVERY):
            with suppress(OSError):
                beat.touch()

    with suppress(OSError):  # a folder that takes no file
        beat.touch()
    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(OSError):
            beat.unlink()


def has_stopped(path: Path) -> bool:
    """Whether the process that filled the run file ``path`` ended without a word.

    A run that never had a heartbeat, as one that a script of your own fills, has not.
    """
    try:
        return time.time() - _beat(path).lstat().st_mtime > _LATE
    except OSError:
        return False


def status_of(run: Run) -> str:
    """The status of a run: running, complete, failed, or ``STOPPED``; empty if it has none."""
    status = str(run.attributes.get("status", ""))
    return STOPPED if status == "running" and has_stopped(run.path) else status


def _beat(path: Path) -> Path:
    return path.with_name(f".{path.name}.alive")
