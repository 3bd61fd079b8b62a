"""Weights of a trained network, from a local file."""

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
"""Pickles at the beginning of a file that torch wrote before version 1.6."""


def load_weights(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    rename: Mapping[str, str] | None = None,
    new: Sequence[str] = (),
) -> nn.Module:
    """Put the weights of a file into ``model``, which is changed and returned.

    They may lie under ``state_dict`` or ``model``, and names may begin with ``module.`` (of
    ``DataParallel``). Only tensors are read: a file cannot run code.

    Args:
        model: The network.
        path: A ``.safetensors`` file, or one of ``torch.save``.
        rename: Pieces of names in the file and what they are in ``model``; e.g.
            ``{"downsample.": "shortcut.", "fc.": "linear."}``.
        new: Beginnings of names in ``model`` whose values stay, e.g. ``["linear."]`` for a new
            head; the file's values of them are ignored.

    Raises:
        InputError: the file cannot be read, or it does not hold exactly the model's weights.
    """
    path = Path(path)
    found = {_renamed(name, rename or {}): value for name, value in read_weights(path).items()}
    found = {name: value for name, value in found.items() if not name.startswith(tuple(new))}
    wanted = {n: v for n, v in model.state_dict().items() if not n.startswith(tuple(new))}
    # Files written before 2018 do not count batches, and nothing here depends on the count.
    missing = [n for n in wanted if n not in found and not n.endswith("num_batches_tracked")]
    unknown = [n for n in found if n not in wanted]
    if missing or unknown:
        parts = [f"no '{missing[0]}' ({len(missing)} missing)"] if missing else []
        parts += [f"'{unknown[0]}' ({len(unknown)} unknown)"] if unknown else []
        raise InputError(f"{path} is of another network: it holds {' and '.join(parts)}")
    for name, value in found.items():
        if value.shape != wanted[name].shape:
            raise InputError(
                f"{path} is of another network: '{name}' has shape {tuple(value.shape)} there and "
                f"{tuple(wanted[name].shape)} in the model"
            )
    model.load_state_dict(found, strict=False)
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Raises:
        InputError: the file is missing, damaged, or holds something else.
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
    """Check what torch does not: how much a file unpacks to, and how deep it is nested.

    Raises:
        ValueError: one of the two is beyond what weights are.
    """
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            stream.seek(0)
            for _ in range(_LEGACY_PICKLES):
                check_depth(stream)
            return
        with zipfile.ZipFile(stream) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > limits.unpacked(limits.stored_bytes(path.stat()), limits.RATIO):
                raise ValueError(f"it would unpack to {size >> 20:,} MiB, many times its size")
            for member in archive.namelist():
                if member.endswith("data.pkl"):
                    with archive.open(member) as pickled:
                        check_depth(pickled)


def _usable(path: Path, loaded: Any) -> dict[str, Tensor]:
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    ):
        raise InputError(f"{path} holds no weights by name")
    for name, value in loaded.items():
        if value.layout is not torch.strided or value.is_quantized or value.dtype.is_complex:
            raise InputError(f"{path}: '{printable(name)}' is sparse, quantised or complex")
    return {name.removeprefix("module."): value for name, value in loaded.items()}


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    for old, new in rename.items():
        name = name.replace(old, new)
    return name
