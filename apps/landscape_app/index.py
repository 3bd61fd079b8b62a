"""The list of runs of a folder, kept beside them, so that the next start need not open each file.

The index is a hidden file in the folder. It is safe to delete. An entry counts only for the very
file that it was made of, in the same state (``files.file_state``). What it holds is checked,
because a folder may be anybody's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from landscape.errors import InputError, LandscapeError
from landscape.runtime.files import FileState, atomic_write, file_state
from landscape.runtime.json_text import parse_object
from landscape.store import SampleMean, Summary

NAME = ".landscape-index.json"
FEWEST = 20
"""Smallest number of runs of a folder with an index."""
_VERSION = 1
_MOST_BYTES = 1 << 26
_MEANS = ("train_loss", "lambda_1", "lambda_ratio", "lambda_ratio_of_means", "trace")
_NUMBERS = ("training_seconds", "accuracy", "nll", "ece", "rmse")
_TEXTS = ("name", "method", "task", "status", "created_at")
_OF_SUMMARY = {field.name for field in fields(Summary)}
_OF_MEAN = tuple(field.name for field in fields(SampleMean))


@dataclass(frozen=True)
class Listed:
    """What the pages of a folder know of a run.

    Attributes:
        summary: Its numbers.
        settings: Its settings, flattened; None if they are damaged.
    """

    summary: Summary
    settings: Mapping[str, object] | None


def load(folder: Path) -> dict[Path, Listed]:
    """The entries of the index of a folder that are about its files as they are now."""
    path = folder / NAME
    entries: dict[Path, Listed] = {}
    with suppress(OSError, InputError, UnicodeDecodeError):
        if path.is_symlink() or path.stat().st_size > _MOST_BYTES:
            return {}
        table = parse_object(path.read_text("utf-8"), str(path))
        runs = table.get("runs")
        if table.get("version") != _VERSION or not isinstance(runs, dict):
            return {}
        for name, entry in runs.items():
            file = folder / name
            if "/" in name or file.name != name:
                continue
            with suppress(OSError, KeyError, TypeError, ValueError):
                known = listed(entry, file)
                if known is not None:
                    entries[file] = known
    return entries


def save(folder: Path, entries: Mapping[Path, tuple[FileState, Listed]]) -> None:
    """Write the index of a folder; nothing if the folder takes no file.

    Args:
        folder: The folder.
        entries: Each file, with its state before it was read.
    """
    runs = {path.name: entry(state, known) for path, (state, known) in entries.items()}
    text = json.dumps({"version": _VERSION, "runs": runs})
    with suppress(OSError, LandscapeError, InputError), atomic_write(folder / NAME) as temporary:
        temporary.write_text(text, "utf-8")


def entry(state: FileState, listed: Listed) -> dict[str, Any]:
    """What the index holds of a file.

    Args:
        state: State of the file before it was read.
        listed: What was read.
    """
    return {"state": list(state), "summary": asdict(listed.summary), "settings": listed.settings}


def listed(entry: Mapping[str, Any], path: Path) -> Listed | None:
    """What an entry of the index holds; ``None`` if the file is in another state by now.

    Raises:
        OSError: there is no such file.
        KeyError: a part is missing.
        TypeError: a part is of another kind.
        ValueError: as for ``TypeError``.
    """
    if tuple(entry["state"]) != file_state(path.stat()):
        return None
    held = dict(entry["summary"])
    if set(held) != _OF_SUMMARY:
        raise ValueError("other fields")
    for name in _TEXTS:
        _check(held[name], str)
    for name in _NUMBERS:
        _check(held[name], int, float, type(None))
    for name in ("seed", "samples"):
        _check(held[name], int, type(None))
    _check(held["matrix"], str, type(None))
    means = {name: _mean(held[name]) for name in _MEANS}
    sharpness = {_check(name, str): _mean(value) for name, value in held["sharpness"].items()}
    barriers = {name: float(value) for name, value in held["line_barriers"].items()}
    surfaces = tuple(_check(name, str) for name in held["surfaces"])
    others = {"sharpness": sharpness, "line_barriers": barriers, "surfaces": surfaces}
    settings = entry["settings"]
    _check(settings, dict, type(None))
    return Listed(Summary(**{**held, **means, **others}), settings)


def _mean(held: Any) -> Any:
    if held is None:
        return None
    values = {name: float(held[name]) for name in _OF_MEAN}
    return SampleMean(**{**values, "count": int(held["count"])})  # type: ignore[arg-type]


def _check(value: Any, *kinds: type) -> Any:
    """The value if it is of one of the kinds. A truth value is no number."""
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise TypeError(f"{value!r} is of another kind")
    return value
