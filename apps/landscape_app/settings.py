"""Settings of runs in plain text: the settings of one run, and the differences between runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from landscape.errors import InputError
from landscape.runtime.json_text import parse_json
from landscape.store import Run
from landscape_app import formats

_ROOT = ("method", "task", "seed", "parameters", "parameter_count", "device", "dtype")
MOST_ROWS = 1000
"""Largest number of settings in a table of a page; a typical run has about fifty."""
_LONGEST = 2000
# ``surface`` holds the last request, which each surface also states. The table lists the names
# under ``method`` and ``task``.
_BOOKKEEPING = ("surface.", "method.name", "task.name")


@dataclass(frozen=True)
class Difference:
    """A setting that differs between runs.

    Attributes:
        name: Name of the setting in the file, e.g. ``method.rank``.
        values: Value in each run, as text.
    """

    name: str
    values: tuple[str, ...]


def differences(runs: Sequence[Run]) -> tuple[list[Difference], int]:
    """Return the settings that differ between ``runs``, and the number of compared settings.

    A setting that a run does not state differs from any value. Records of the file itself, such as
    the last requested surface, are not compared.

    Raises:
        InputError: the settings in a file are damaged.
    """
    tables = [settings_of(run) for run in runs]
    names = list(dict.fromkeys(name for table in tables for name in table))
    candidates = [
        Difference(name, tuple(written(table.get(name)) for table in tables)) for name in names
    ]
    return [setting for setting in candidates if len(set(setting.values)) > 1], len(names)


def flattened(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Flatten nested settings: ``{"method": {"rank": 5}}`` becomes ``{"method.rank": 5}``."""
    flat: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def written(value: object) -> str:
    """Return a setting as text: ``yes``, ``61, 61``, or a dash if there is no value."""
    if value is None or value == "":
        return formats.ABSENT
    return formats.shortened(_words(value), _LONGEST)


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(formats.ABSENT if item in (None, "") else _words(item) for item in value)
    return str(value)


def parts(text: object) -> object:
    """Parse an attribute that holds a JSON list or object; return any other value unchanged."""
    if not isinstance(text, str) or not text.startswith(("{", "[")):
        return text
    try:
        return parse_json(text, "it")
    except InputError:
        return text


def settings_of(run: Run) -> dict[str, object]:
    """The settings of a run that are compared with those of others, by their names.

    Raises:
        InputError: the settings in the file are damaged.
    """
    root = {name: run.attributes[name] for name in _ROOT if name in run.attributes}
    settings = root | flattened(run.config)
    return {name: value for name, value in settings.items() if not name.startswith(_BOOKKEEPING)}
