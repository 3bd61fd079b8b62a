"""Weights of trained networks in local files, read without running code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape.errors import InputError, printable, refused
from landscape.runtime import limits
from landscape.runtime.files import check_regular
from landscape.runtime.pickle_depth import check_depth
from landscape.runtime.tensor_files import all_tensors, open_tensors

_NESTED = ("state_dict", "model_state_dict", "model")
"""Entries of a checkpoint that hold its weights."""

_LEGACY_PICKLES = 5
"""Number of pickles at the start of files from before torch 1.6."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, without the prefix ``module.`` (from ``DataParallel``).

    Args:
        path: A ``.safetensors`` file, or a file written by ``torch.save``. It may hold the weights
            directly, or under ``state_dict``, ``model_state_dict`` or ``model``.

    Raises:
        InputError: The file is missing or damaged, or holds something else.
    """
    if path.suffix == ".safetensors":
        with open_tensors(path, "weights") as file:
            return _usable(path, all_tensors(file))
    check_regular(path)
    with refused(f"cannot read {path} as weights"):
        _check_pickled(path)
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    for key in _NESTED:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    return _usable(path, loaded)


def _check_pickled(path: Path) -> None:
    """Check the unpacked size and the nesting depth of a file, which torch does not check.

    Raises:
        ValueError: One of the two is larger than weights need.
    """
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            stream.seek(0)
            for _ in range(_LEGACY_PICKLES):
                check_depth(stream)
            return
        with zipfile.ZipFile(stream) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > limits.max_unpacked(limits.stored_bytes(path.stat()), limits.RATIO):
                raise ValueError(f"it would unpack to {size >> 20:,} MiB, many times its size")
            for member in archive.namelist():
                if member.endswith("data.pkl"):
                    with archive.open(member) as pickled:
                        check_depth(pickled)


def _usable(path: Path, loaded: Any) -> dict[str, Tensor]:
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    ):
        raise InputError(f"{path} does not hold named weights")
    for name, value in loaded.items():
        if value.layout is not torch.strided or value.is_quantized or value.dtype.is_complex:
            raise InputError(f"{path}: '{printable(name)}' is sparse, quantised or complex")
    return {name.removeprefix("module."): value for name, value in loaded.items()}
