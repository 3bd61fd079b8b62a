"""Files that the list of runs leaves out: wrong suffix, or in a folder inside this one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from landscape_app.data import SUFFIX, BrokenRun, run_files

_ALMOST = (SUFFIX, ".hdf5", ".he5", ".hdf")
_MOST_FOLDERS = 200
"""Largest number of entries to search. A folder with more entries is hardly a folder of runs."""


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
    """The folders inside ``folder`` that hold runs, with their numbers of run files."""
    counts = {}
    with suppress(OSError):
        folders = [path for path in folder.iterdir() if not path.name.startswith(".")]
        for path in sorted(path for path in folders[:_MOST_FOLDERS] if path.is_dir()):
            with suppress(OSError):
                count = len([run for run in run_files(path) if run.is_file()])
                if count:
                    counts[path] = count
    return counts
