"""Where results go: the interface of a store, and files of which a reader never meets half."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Store(Protocol):
    """Where finished samples go; ``landscape.store.Run`` is one."""

    def write(
        self,
        group: str,
        variables: Mapping[str, object],
        attributes: Mapping[str, str | int | float] | None = None,
    ) -> None:
        """Put the variables of one group away."""


def replace_file(path: Path, contents: bytes) -> None:
    """Write ``contents`` beside ``path``, bring it to the disk, and rename it into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(contents)
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Bring a finished temporary file to the disk and rename it to ``path``, in the same folder."""
    _synchronise(temporary)
    temporary.replace(path)
    _synchronise(path.parent)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
