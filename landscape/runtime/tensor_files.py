"""Safetensors files that may come from anybody."""

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
    """Open a safetensors file, whose tensors are then read one by one.

    Args:
        path: The file.
        what: Kind of file, for errors: ``"a posterior"``.

    Yields:
        What ``safetensors.safe_open`` gives. Errors in the block are errors of the file.

    Raises:
        InputError: the file is missing or damaged, or its head is too large.
    """
    check_regular(path)
    with refused(f"cannot read {path} as {what}"):
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
        if MAX_HEADER < length < path.stat().st_size:
            raise ValueError(f"its head is larger than {MAX_HEADER >> 20} MiB")
        with safe_open(path, framework="pt") as file:
            yield file


def all_tensors(file: Any) -> dict[str, Tensor]:
    """The tensors of an open safetensors file by name."""
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)


def header(file: Any, form: str, path: Path, what: str) -> Mapping[str, str]:
    """The texts at the head of an open safetensors file.

    Args:
        file: The open file.
        form: Name and version of the format that it must have.
        path: The file's name.
        what: Kind of file, for errors.

    Raises:
        InputError: the file is of another format.
    """
    texts: Mapping[str, str] = file.metadata() or {}
    if texts.get("format") != form:
        raise InputError(f"{path} is not {what} of this package ({form})")
    return texts
