"""What the list shows of run files, read by this process, and by others too if files are many.

Each file takes some 15 ms. Another process (``python -m landscape_app.listing``) takes the names of
files from its input and writes a line for each, in the form of the index. It imports neither torch
nor Dash, so that it starts in a third of a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from landscape.errors import InputError
from landscape.runtime.files import file_state
from landscape.store.summary import open_summarised
from landscape_app import index
from landscape_app.settings import settings_of

MANY = 60
"""Number of files from which on other processes help."""
_MOST_PROCESSES = 3
_COMMAND = (sys.executable, "-P", "-m", "landscape_app.listing")  # -P: nothing from this folder


def read(path: Path) -> index.Listed:
    """The numbers and settings of a run file.

    Raises:
        InputError: the file cannot be read as a run.
    """
    run, summary = open_summarised(path)
    settings: Mapping[str, object] | None = None
    with suppress(InputError):  # damaged: the page of the run reports it
        settings = settings_of(run)
    return index.Listed(summary, settings)


@contextmanager
def helped(paths: Sequence[Path], take: Callable[[Path, index.Listed], None]) -> Iterator[None]:
    """Let other processes read files from the last one on, while the block reads from the first.

    Files that they cannot read are left to the block, and so is all that a killed process had left.

    Args:
        paths: The files.
        take: Function that gets each file that another process has read, from another thread.
    """
    count = min(_MOST_PROCESSES, (os.cpu_count() or 1) - 1) if len(paths) >= MANY else 0
    backwards = paths[::-1]
    processes: list[subprocess.Popen[str]] = []
    with suppress(OSError):  # no memory for another one
        processes += (_started(backwards[first::count]) for first in range(count))
    threads = [threading.Thread(target=_take, args=(process, take)) for process in processes]
    for thread in threads:
        thread.daemon = True
        thread.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for thread in threads:
            thread.join()


def _started(paths: Sequence[Path]) -> subprocess.Popen[str]:
    # A session of its own: Ctrl-C is for this process. The other one ends when its output closes.
    process = subprocess.Popen(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps([str(path) for path in paths]))
        process.stdin.close()
    return process


def _take(process: subprocess.Popen[str], take: Callable[[Path, index.Listed], None]) -> None:
    with process:
        for line in process.stdout or ():
            with suppress(OSError, KeyError, TypeError, ValueError):  # killed within a line
                name, entry = json.loads(line)
                listed = index.listed(entry, Path(name))
                if listed is not None:
                    take(Path(name), listed)


def main() -> None:
    """Read the files of the input, and write a line for each that can be read."""
    for name in json.load(sys.stdin):
        path = Path(name)
        try:
            state = file_state(path.stat())
            listed = read(path)
        except (OSError, InputError):  # the process that asked reads it itself, and reports it
            continue
        print(json.dumps([name, index.entry(state, listed)]), flush=True)


if __name__ == "__main__":
    main()
