"""A reader of untrusted safetensors files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from landscape.errors import InputError, refused
from landscape.runtime.files import check_regular
from landscape.runtime.limits import MAX_HEADER


@contextmanager
def open_tensors(path: Path, what: str) -> Iterator[Any]:
    """Open a safetensors file.

    Args:
        path: Path of the file.
        what: Kind of file for error messages, for example ``"a posterior"``.

    Yields:
        The file opened by ``safetensors.safe_open``.

    Raises:
        InputError: The file is missing or damaged, its header is too large, or the block failed.
    """
    check_regular(path)
    with refused(f"cannot read {path} as {what}"):
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
        if MAX_HEADER < length < path.stat().st_size:
            raise ValueError(f"its header is larger than {MAX_HEADER >> 20} MiB")
        with safe_open(path, framework="pt") as file:
            yield file


def all_tensors(file: Any) -> dict[str, Tensor]:
    """The tensors of an open safetensors file by name."""
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)


def header(file: Any, form: str, path: Path, what: str) -> Mapping[str, str]:
    """The metadata in the header of an open safetensors file.

    Args:
        file: Open file.
        form: Name and version of the required format.
        path: Path of the file for error messages.
        what: Kind of file for error messages.

    Raises:
        InputError: The file has another format.
    """
    metadata: Mapping[str, str] = file.metadata() or {}
    if metadata.get("format") != form:
        raise InputError(f"{path} is not {what} of this package ({form})")
    return metadata
