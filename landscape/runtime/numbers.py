"""Checks of integers given by users."""

from __future__ import annotations

import operator
from typing import Any

from landscape.errors import InputError


def check_int(value: Any, name: str, least: int | None = 1) -> int:
    """``value`` as an ``int``. Integers of numpy and torch are accepted.

    Args:
        value: Value to check.
        name: Name of the value for error messages.
        least: Smallest allowed value; ``None`` if there is none.

    Raises:
        InputError: The value is not an integer, or too small.

    Examples:
        >>> check_int(2.5, "the number of samples")
        Traceback (most recent call last):
        landscape.errors.InputError: the number of samples must be a whole number, not 2.5
    """
    try:
        number = operator.index(value)
    except TypeError as error:
        raise InputError(f"{name} must be a whole number, not {value!r}") from error
    if least is not None and number < least:
        raise InputError(f"{name} must be at least {least}, not {number}")
    return number
