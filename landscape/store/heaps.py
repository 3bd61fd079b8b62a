"""The heaps in which HDF5 keeps texts of variable length, checked before HDF5 reads them.

A heap is a list of entries, each with its length. HDF5 goes from one to the next, and at an entry
of damaged length 0 it loops for ever: nothing in the process can then stop it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from landscape.errors import InputError
from landscape.runtime.limits import MAX_OVERHEAD

_START = b"GCOL\x01\0\0\0"
_HEAD = 16
"""Bytes before the first entry of a heap, and before the contents of an entry."""
_BLOCK = 1 << 18
"""Bytes that are read at a time. Memory for more is slow to get."""


def check_heaps(descriptor: int, path: Path) -> None:
    """Check that reading any text of an HDF5 file comes to an end.

    Args:
        descriptor: The open file.
        path: Its name.

    Raises:
        InputError: a heap is damaged in such a way that it would not end.
    """
    for start in _starts(descriptor):
        (size,) = struct.unpack("<Q", os.pread(descriptor, 8, start + 8).ljust(8, b"\0"))
        if size > MAX_OVERHEAD or _never_ends(os.pread(descriptor, size, start)):
            raise InputError(f"{path} is truncated or damaged: a text in it has no end")


def _starts(descriptor: int) -> Iterator[int]:
    """The positions in the file at which a heap begins."""
    offset = 0
    while block := os.pread(descriptor, _BLOCK + len(_START) - 1, offset):
        at = block.find(_START)
        while at >= 0:
            yield offset + at
            at = block.find(_START, at + 1)
        offset += _BLOCK


def _never_ends(heap: bytes) -> bool:
    """Whether HDF5 would stay at an entry of this heap."""
    at = _HEAD
    while at + _HEAD <= len(heap):
        index, length = struct.unpack_from("<H6xQ", heap, at)
        # The entry 0 is the free space; its length includes its head.
        step = length if index == 0 else (_HEAD + -(-length // 8) * 8) % 2**64
        if step == 0:
            return True
        at += step
    return False
