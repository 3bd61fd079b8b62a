"""Damage to real files, the same with every run of the tests: bytes and values."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import LandscapeError

NASTY: tuple[Any, ...] = (
    *(None, True, "", "x", "\x00\n\x1b[2J", "é" * 200, [], {}, [[]], {"a": {}}, [None], [1, "x"]),
    *(0, 1, -1, 2**31, 2**63, 2**64, 10**30, -(10**30), 0.5, -0.5, 1e-320, 1e308, -1e308),
    *(float("nan"), float("inf"), float("-inf")),
)
"""Values that are of the wrong kind, or too large, in a description."""
NUMBERS = (np.nan, np.inf, -np.inf, 0.0, -1.0, 0.5, 1e-320, 1e308, -1e308, 1e20, 255.0, 2.0**31)
"""Values that a variable may be filled with."""


def bytes_of(contents: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Copies of a file with bytes flipped, cut off, overwritten, repeated or left out."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        spoiled = bytearray(contents)
        at, length = (int(n) for n in generator.integers(0, [len(contents), 64]))
        match int(generator.integers(0, 6)):
            case 0 | 1:
                for place in generator.integers(0, len(contents), 1 + length // 16):
                    spoiled[place] ^= int(generator.integers(1, 256))
            case 2:
                del spoiled[at:]
            case 3:
                spoiled[at : at + length] = generator.bytes(length)
            case 4:
                spoiled[at:at] = spoiled[at : at + length] * 2
            case _:
                del spoiled[at : at + length]
        yield bytes(spoiled)


def trees_of(tree: Any, count: int, seed: int = 0) -> Iterator[Any]:
    """Copies of a tree of JSON with one of its values replaced, dropped or nested deeply."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        spoiled = copy.deepcopy(tree)
        parent, key = _place(spoiled, generator)
        match int(generator.integers(0, 8)):
            case 0 if isinstance(parent, dict):
                del parent[key]
            case 1:
                parent[key] = json.loads("[" * 200 + "]" * 200)
            case _:
                parent[key] = NASTY[int(generator.integers(0, len(NASTY)))]
        yield spoiled


def _place(tree: Any, generator: np.random.Generator) -> tuple[Any, Any]:
    parent, key = None, None
    inside = tree
    while isinstance(inside, dict | list) and inside:
        if parent is not None and generator.random() < 0.3:
            break
        parent = inside
        keys = list(inside) if isinstance(inside, dict) else range(len(inside))
        key = keys[int(generator.integers(0, len(keys)))]
        inside = inside[key]
    return parent, key


def outcome(read: Callable[[], object]) -> str:
    """What became of an attempt to read: all that may happen is success, or one line."""
    try:
        read()
    except LandscapeError as error:
        told = str(error)
        assert told.strip(), "an error without a word"
        assert "\n" not in told, told
        return "refused"
    return "read"


def outcomes(path: Path, inputs: Iterator[bytes], read: Callable[[], object]) -> list[str]:
    """The outcome of reading each of the inputs from a file."""
    found = []
    for contents in inputs:
        path.write_bytes(contents)
        found.append(outcome(read))
    return found
