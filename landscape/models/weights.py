"""Weights of trained networks from local files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import InputError, printable, refused
from landscape.models.pickle_depth import check_depth
from landscape.runtime import limits
from landscape.runtime.files import check_regular
from landscape.runtime.tensor_files import all_tensors, open_tensors

_LEGACY_PICKLES = 5
"""Number of pickles at the start of files from before torch 1.6."""


def load_weights(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    rename: Mapping[str, str] | None = None,
    new: Sequence[str] = (),
) -> nn.Module:
    """Load the weights of a file into ``model``, which is changed and returned.

    The file may hold the weights directly, or under ``state_dict`` or ``model``. Names may begin
    with ``module.`` (from ``DataParallel``). Only tensors are read, so a file cannot run code.

    Args:
        model: Network to load the weights into.
        path: A ``.safetensors`` file, or a file written by ``torch.save``.
        rename: Replacements in the names of the file, for example
            ``{"downsample.": "shortcut.", "fc.": "linear."}``.
        new: Prefixes of parameter names of ``model`` that keep their values, for example
            ``["linear."]`` for a new head. The file's values for them are ignored.

    Raises:
        InputError: The file cannot be read, or it does not hold exactly the model's weights.
    """
    path, prefixes = Path(path), tuple(new)
    weights = {_renamed(name, rename or {}): value for name, value in read_weights(path).items()}
    weights = {name: value for name, value in weights.items() if not name.startswith(prefixes)}
    expected = {n: v for n, v in model.state_dict().items() if not n.startswith(prefixes)}
    # Files from before 2018 have no count of batches, and nothing here depends on it.
    missing = [n for n in expected if n not in weights and not n.endswith("num_batches_tracked")]
    unknown = [n for n in weights if n not in expected]
    if missing or unknown:
        problems = [f"no '{missing[0]}' ({len(missing)} missing)"] if missing else []
        problems += [f"'{unknown[0]}' ({len(unknown)} unknown)"] if unknown else []
        raise InputError(f"{path} belongs to another network: it holds {' and '.join(problems)}")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise InputError(
                f"{path} belongs to another network: '{name}' has shape {tuple(value.shape)} in "
                f"the file and {tuple(expected[name].shape)} in the model"
            )
    model.load_state_dict(weights, strict=False)
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

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
    for key in ("state_dict", "model"):
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


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    for old, new in rename.items():
        name = name.replace(old, new)
    return name
