"""The settings of runs as a person would write them: of one run, and where several differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from landscape.errors import InputError
from landscape.runtime.json_text import parse_json
from landscape.store import Run
from landscape_app import formats

_ROOT = ("method", "task", "seed", "parameters", "parameter_count", "device", "dtype")
MOST_ROWS = 1000
"""Settings in a table of a page; a run of ours has about fifty."""
_LONGEST = 2000
# ``surface`` is what was asked for last, and each surface says it of itself; a name is said above.
_BOOKKEEPING = ("surface.", "method.name", "task.name")


@dataclass(frozen=True)
class Difference:
    """A setting that is not the same in all runs.

    Attributes:
        name: Name in the file, e.g. ``method.rank``.
        values: Its value in each run, in words.
    """

    name: str
    values: tuple[str, ...]


def differences(runs: Sequence[Run]) -> tuple[list[Difference], int]:
    """The settings that are not the same in all ``runs``, and how many were compared.

    A setting that a run does not state differs from any value. The file's own records, such as the
    surface that was asked for last, are not compared.

    Raises:
        InputError: the settings in a file are damaged.
    """
    tables = [_compared(run) for run in runs]
    names = list(dict.fromkeys(name for table in tables for name in table))
    lines = [
        Difference(name, tuple(written(table.get(name)) for table in tables)) for name in names
    ]
    return [line for line in lines if len(set(line.values)) > 1], len(names)


def flattened(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """``{"method": {"rank": 5}}`` as ``{"method.rank": 5}``."""
    found: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= flattened(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def written(value: object) -> str:
    """A setting in words: ``yes``, ``61, 61``, a dash if there is none."""
    if value is None or value == "":
        return formats.ABSENT
    return formats.shortened(_words(value), _LONGEST)


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(formats.ABSENT if each in (None, "") else _words(each) for each in value)
    return str(value)


def parts(text: object) -> object:
    """What an attribute's JSON says, if it is a list or an object; anything else as it is."""
    if not isinstance(text, str) or not text.startswith(("{", "[")):
        return text
    try:
        return parse_json(text, "it")
    except InputError:
        return text


def _compared(run: Run) -> dict[str, object]:
    root = {name: run.attributes[name] for name in _ROOT if name in run.attributes}
    every = root | flattened(run.config)
    return {name: value for name, value in every.items() if not name.startswith(_BOOKKEEPING)}
