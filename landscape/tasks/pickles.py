"""Pickled arrays without what makes pickle dangerous: a file can name no function."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import InputError


def unpickle(path: Path) -> dict[str, Any]:
    """The dictionary of a file, its keys as strings.

    Raises:
        InputError: the file cannot be read, or holds anything but plain values and arrays.
    """
    try:
        # Files of Python 2: its strings are bytes, and so are the arrays' contents.
        found = _ArraysOnly(io.BytesIO(read_bytes(path)), encoding="latin1").load()
    except (
        pickle.UnpicklingError,
        EOFError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        MemoryError,
    ) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"cannot read {path}: it holds no dictionary")
    return {key.decode() if isinstance(key, bytes) else str(key): v for key, v in found.items()}


def read_bytes(path: Path) -> bytes:
    """The contents of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


class _ArraysOnly(pickle.Unpickler):
    """Containers, numbers, strings and numpy arrays; any other name in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and (
            name == "_reconstruct"
        ):
            return np.empty(0).__reduce__()[0]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):  # how old protocols write bytes
            return _latin1
        raise pickle.UnpicklingError(f"it wants {module}.{name}, which is no array")


def _latin1(text: str, encoding: str) -> bytes:
    return text.encode("latin1")
