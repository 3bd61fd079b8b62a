"""The default folder of data sets, for tasks without a path."""

from __future__ import annotations

import os
from pathlib import Path

from landscape.errors import InputError

VARIABLE = "LANDSCAPE_DATA"


def data_folder(path: str, what: str) -> Path:
    """``path``, or the folder that the environment variable ``LANDSCAPE_DATA`` names.

    Args:
        path: Path of the folder, or an empty string.
        what: Data sets that are read from it, for the error message.

    Raises:
        InputError: Both are empty.
    """
    folder = path or os.environ.get(VARIABLE, "")
    if not folder:
        raise InputError(f"{what} are read from a folder: give its path, or set {VARIABLE} to it")
    return Path(folder).resolve()


def only_file(folder: Path, pattern: str) -> Path:
    """The only file in a folder that matches a pattern.

    Raises:
        InputError: No file matches, or several do.
    """
    paths = sorted(folder.glob(pattern))
    if len(paths) != 1:
        raise InputError(f"{folder} must hold one file {pattern}, but holds {len(paths)}")
    return paths[0]
