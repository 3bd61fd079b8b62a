"""Whether a stored result is the one that is asked for: the one place that decides it.

A result is stored with its request: the settings that it depends on, and the fingerprints of the
weights, of the data and of the loss. The same request has the same result. Nothing is evaluated to
find that out.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from landscape.errors import InputError, LandscapeWarning, printable
from landscape.runtime import distributed
from landscape.runtime.json_text import parse_object
from landscape.runtime.limits import MAX_NAME

FINGERPRINTS = "fingerprints"
"""The name in a request that no setting has."""

Attributes = Mapping[str, str | int | float]


class Stored(Protocol):
    """One group of a store: its variables by name, and its attributes."""

    @property
    def attributes(self) -> Attributes:
        """Text and numbers about the group."""

    def __getitem__(self, name: str) -> np.ndarray:
        """A variable."""


class Store(Protocol):
    """A place for finished units, such as ``landscape.store.Run``."""

    def write(
        self,
        group: str,
        variables: Mapping[str, object],
        attributes: Attributes | None = None,
    ) -> None:
        """Write the variables of one group, in place of what it held."""

    def read(self, group: str) -> Stored:
        """Read one group; KeyError if there is none."""


@dataclass(frozen=True)
class Entry:
    """The place of one result in a store.

    Attributes:
        store: The store; ``None`` if nothing is stored.
        group: Name of the group.
        request: Settings and fingerprints that the result depends on, as JSON.
    """

    store: Store | None
    group: str
    request: str = "{}"

    @classmethod
    def of(
        cls,
        store: Store | None,
        group: str,
        settings: Mapping[str, object],
        fingerprints: Callable[[], Mapping[str, str]],
    ) -> Entry:
        """The entry of a result with these settings and fingerprints.

        Args:
            store: The store, if there is one. Without one no fingerprint is computed.
            group: Name of the group.
            settings: Settings that the result depends on.
            fingerprints: Computes the fingerprints of the other things it depends on, by name.
        """
        if store is None:
            return cls(None, group)
        return cls(store, group, json.dumps({**settings, FINGERPRINTS: fingerprints()}))

    def at(self, group: str) -> Entry:
        """The entry of the same request in another group."""
        return replace(self, group=group)

    def read(self) -> Stored | None:
        """The stored result of the same request, if there is one.

        Warns:
            LandscapeWarning: an older version stored a result of the same settings, and did not
                say of which weights and data it is.
        """
        try:
            stored = None if self.store is None else self.store.read(self.group)
        except KeyError:
            return None
        if stored is None:
            return None
        before, now = request_of(stored), json.loads(self.request)
        if before == now:
            return stored
        if before is not None and {**now, **before} == now:
            warnings.warn(
                f"'{printable(self.group)}' was stored by an older version, which does not say of "
                "which weights and data it is: it is measured anew",
                LandscapeWarning,
                stacklevel=3,
            )
        return None

    def write(self, variables: Mapping[str, object], attributes: Attributes) -> None:
        """Store the result as far as it is finished, in place of what the group held.

        Of several processes that share the work, the first one writes.
        """
        if self.store is not None and distributed.rank() == 0:
            self.store.write(self.group, variables, {**attributes, "request": self.request})


def member(family: str, name: str) -> str:
    """Name of the group of a surface or a line.

    Raises:
        InputError: the name is empty, too long, or has a slash.
    """
    if not name or "/" in name:
        raise InputError(f"'{name}' cannot be a name in a store: it is empty or has a slash")
    if len(name.encode("utf-8", "replace")) > MAX_NAME:
        raise InputError(f"'{printable(name)}' is longer than {MAX_NAME} bytes")
    return f"{family}/{name}"


def request_of(stored: Stored) -> dict[str, Any] | None:
    """The request of a stored result; ``None`` if it has no readable one."""
    try:
        return parse_object(str(stored.attributes["request"]), "the request")
    except (KeyError, InputError):
        return None


def differences(
    stored: Stored,
    settings: Mapping[str, object],
    fingerprints: Callable[[], Mapping[str, str]],
) -> list[str]:
    """Differences of a stored result from these settings and fingerprints, in words."""
    before = request_of(stored)
    if before is None:
        return ["it does not say which"]
    marks = before.pop(FINGERPRINTS, None)
    now = json.loads(json.dumps({name: settings.get(name) for name in before}, default=str))
    changed = [
        f"{name} was {str(value)[:50]} there and is {str(now[name])[:50]} now"
        for name, value in before.items()
        if value != now[name]
    ]
    if not changed and isinstance(marks, dict):
        changed = [
            f"another {name}" for name, mark in fingerprints().items() if marks.get(name) != mark
        ]
    return changed
