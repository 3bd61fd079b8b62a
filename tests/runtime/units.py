"""Units of work for executors, in a module that a worker process imports in no time."""

import os
import signal
import threading
import time
from pathlib import Path

SHORTLY = 0.01
"""Seconds between two looks at whether something has happened."""
_meeting = threading.Barrier(2, timeout=60)


def add(shared: dict[str, int], item: int) -> int:
    return shared["base"] + item


class Shared:
    """Something with an identity."""


def whose(shared: Shared, item: int) -> tuple[int, int]:
    """The thread, and the copy that it works with, once another thread has work too."""
    _meeting.wait()
    return threading.get_ident(), id(shared)


def num_threads(shared: None, item: int) -> int:
    """Number of threads that torch has in this process."""
    import torch

    return torch.get_num_threads()


def die(shared: None, item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once_at_two(shared: Path, item: int) -> int:
    """Mark a dot for each start of the unit; the second one's result is then in ``arrived``."""
    with (shared / str(item)).open("a") as file:
        file.write(".")
    if item == 2 and (shared / "2").stat().st_size == 1:
        while not (shared / "arrived").exists():
            time.sleep(SHORTLY)
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def identity_of_the_process(shared: Path, item: int) -> int:
    """Its number, slowly, so that a killed worker has something left to do."""
    (shared / str(os.getpid())).touch()
    time.sleep(0.5)
    return os.getpid()
