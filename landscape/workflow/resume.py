"""What a run holds already: gone on with, or replaced where that was asked for."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landscape.errors import InputError
from landscape.runtime.json_text import parse_object
from landscape.store import Run
from landscape.store.groups import Group


@dataclass(frozen=True)
class KeptOnSplit:
    """A store that notes which data a measurement was made on, and loses none unasked.

    Attributes:
        run: The run to write to.
        asked: The settings of the measurement, by the names that its ``request`` has for them.
        split: The data.
        examples: How many those are.
        fresh: Whether what the run holds already is to be measured anew.
    """

    run: Run
    asked: Mapping[str, Any]
    split: str
    examples: int
    fresh: bool

    def write(
        self,
        group: str,
        variables: Mapping[str, object],
        attributes: Mapping[str, str | int | float] | None = None,
    ) -> None:
        """Put the variables of one group away, in place of what it held."""
        noted: dict[str, str | int | float] = {"split": self.split, "examples": self.examples}
        self.run.write(self._name(group), variables, {**(attributes or {}), **noted})

    def read(self, group: str) -> Group:
        """What was put away.

        Raises:
            KeyError: nothing was, or it is to be measured anew.
            InputError: it was measured with other settings.
        """
        if self.fresh:
            raise KeyError(group)
        found = self.run.read(self._name(group))
        refuse_to_replace(self.run, self._differences(found))
        return found

    def _differences(self, found: Group) -> list[str]:
        try:
            request = parse_object(str(found.attributes["request"]), "the request")
        except (KeyError, InputError):
            return ["it does not say which"]
        now = {name: json.loads(json.dumps(self.asked.get(name), default=str)) for name in request}
        return [
            f"{name} was {str(there)[:50]} there and is {str(now[name])[:50]} now"
            for name, there in request.items()
            if there != now[name]
        ]

    def _name(self, group: str) -> str:
        return group if self.split == "train" else f"{group}-{self.split}"


def with_defaults(function: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a call, given or not."""
    return {
        name: settings.get(name, parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
    }


def refuse_to_replace(run: Run, differences: Sequence[str]) -> None:
    """Nothing is lost without being asked for.

    Raises:
        InputError: there are differences.
    """
    if differences:
        raise InputError(
            f"{run.path} holds what was measured with other settings ({', '.join(differences)}): "
            "--fresh replaces it, in Python fresh=True"
        )
