"""A parser for untrusted JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from landscape.errors import InputError, refused
from landscape.runtime.limits import MAX_LEVELS


def parse_json(text: str, what: str) -> Any:
    """The value of a JSON text.

    Args:
        text: JSON text.
        what: Name of the text for error messages.

    Raises:
        InputError: The text is not JSON, has characters that cannot be encoded, or is nested so
            deeply that recursive functions would fail on it.
    """
    with refused(f"{what} is not JSON"):
        value = json.loads(text)
    level = [value]
    for _ in range(MAX_LEVELS + 1):
        with refused(f"{what} is not JSON"):
            "".join(_texts(level)).encode()
        level = [item for value_at_level in level for item in _items(value_at_level)]
        if not level:
            return value
    raise InputError(f"{what} is nested deeper than {MAX_LEVELS} levels: refused")


def parse_object(text: str, what: str) -> dict[str, Any]:
    """The value of a JSON text that must be an object.

    Args:
        text: JSON text.
        what: Name of the text for error messages.

    Raises:
        InputError: The text is not JSON, or not an object.
    """
    value = parse_json(text, what)
    if not isinstance(value, dict):
        raise InputError(f"{what} is not a JSON object")
    return value


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _texts(values: list[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from value
