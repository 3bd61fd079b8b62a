"""Files that the list of runs leaves out: wrong suffix, or in a folder inside this one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from landscape.errors import InputError
from landscape_app.folders import SUFFIX, run_files
from landscape_app.run_list import BrokenRun

_ALMOST = (SUFFIX, ".hdf5", ".he5", ".hdf")
_MOST_FOLDERS = 200
"""Largest number of entries to search. A folder with more entries is hardly a folder of runs."""
_MOST_VISITED = 2000
"""Largest number of folders to search."""


def misnamed(folder: Path) -> list[BrokenRun]:
    """The HDF5 files in ``folder`` without the suffix of a run, and a better name for each."""
    files = []
    with suppress(OSError):  # the list itself reports it
        for path in sorted(folder.iterdir()):
            almost = path.suffix.lower() in _ALMOST and path.suffix != SUFFIX
            if almost and path.is_file() and not path.name.startswith("."):
                better = path.with_suffix(SUFFIX).name
                reason = f"the name of a run ends in {SUFFIX}: rename it to {better} to see it here"
                files.append(BrokenRun(path.name, reason))
    return files


def folders_below(folder: Path) -> dict[Path, int]:
    """The folders inside ``folder``, at any depth, that hold runs, with their numbers of run files.

    Links to folders are not followed.
    """
    counts: dict[Path, int] = {}
    waiting = [folder]
    seen = 0
    while waiting and seen < _MOST_VISITED:
        here = waiting.pop()
        seen += 1
        with suppress(OSError):
            inside = [path for path in here.iterdir() if not path.name.startswith(".")]
            folders = [path for path in inside[:_MOST_FOLDERS] if _is_folder(path)]
            waiting += folders
            for path in folders:
                with suppress(OSError, InputError):
                    count = len([run for run in run_files(path) if run.is_file()])
                    if count:
                        counts[path] = count
    return dict(sorted(counts.items()))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
