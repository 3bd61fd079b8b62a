"""Where results go: the interface of a store, and files of which a reader never meets half."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which takes the place of ``path`` at the end.

    The file is brought to the disk and renamed, so that a reader meets the old one or the new one
    whole; after an error, or a kill at any moment, it meets the old one. What a killed writer left
    behind is removed by the next.
    """
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        if not _is_running(leftover.name.removesuffix(".tmp").rpartition(".")[2]):
            leftover.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _synchronise(temporary)
        temporary.replace(path)
        _synchronise(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except PermissionError:
        return True
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    return True


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
