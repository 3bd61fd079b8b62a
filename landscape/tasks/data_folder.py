"""The folder of data sets that tasks read when they are given no path."""

from __future__ import annotations

import os
from pathlib import Path

from landscape.errors import InputError

VARIABLE = "LANDSCAPE_DATA"


def data_folder(path: str, what: str) -> Path:
    """``path``, or the folder that the environment variable names.

    Args:
        path: May be empty.
        what: Is read from there, for the error.

    Raises:
        InputError: neither is given.
    """
    found = path or os.environ.get(VARIABLE, "")
    if not found:
        raise InputError(f"{what} are read from a folder: give its path, or set {VARIABLE} to it")
    return Path(found).resolve()


def only_file(folder: Path, pattern: str) -> Path:
    """The folder's one file that has such a name.

    Raises:
        InputError: there is none, or several.
    """
    paths = sorted(folder.glob(pattern))
    if len(paths) != 1:
        raise InputError(f"{folder} must hold one file {pattern}, and holds {len(paths)}")
    return paths[0]
