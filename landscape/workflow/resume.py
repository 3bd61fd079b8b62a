"""Work that a run file already holds: it continues, and is replaced only on request."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape.errors import InputError
from landscape.methods.checkpoint import digest_of_checkpoint
from landscape.results.resume import FINGERPRINTS, differences, request_of
from landscape.runtime.files import fingerprint, remove_leftovers
from landscape.store import Run
from landscape.store.groups import Group

CHECKPOINT = ".checkpoint.safetensors"


@dataclass(frozen=True)
class SplitStore:
    """A run as the store of what is measured on one split; it replaces nothing unasked.

    Attributes:
        run: The run to write to.
        settings: Settings of the measurement, by their names in its request.
        split: Name of the split.
        examples: Number of examples in the split.
        fresh: Whether what the run holds is measured anew.
        fingerprints: Computes what else the measurement depends on, by name.
        is_own: Computes whether the posterior and the data are the run's own.
    """

    run: Run
    settings: Mapping[str, Any]
    split: str
    examples: int
    fresh: bool
    fingerprints: Callable[[], Mapping[str, str]]
    is_own: Callable[[], bool]

    def write(
        self,
        group: str,
        variables: Mapping[str, object],
        attributes: Mapping[str, str | int | float] | None = None,
    ) -> None:
        """Write the variables of one group, in place of what it held."""
        noted: dict[str, str | int | float] = {"split": self.split, "examples": self.examples}
        self.run.write(self._name(group), variables, {**(attributes or {}), **noted})

    def read(self, group: str) -> Group:
        """Read one group.

        A group of an older version does not say of which weights and data it is. If a command
        wrote it, these are the run's own.

        Raises:
            KeyError: there is none, or it is measured anew.
            InputError: it was measured with other settings.
        """
        if self.fresh:
            raise KeyError(group)
        stored = self.run.read(self._name(group))
        request = request_of(stored)
        if request is not None and FINGERPRINTS not in request:
            noted = (stored.attributes.get("split"), stored.attributes.get("examples"))
            if noted == (self.split, self.examples) and self.is_own():
                request[FINGERPRINTS] = dict(self.fingerprints())
                attributes = {**stored.attributes, "request": json.dumps(request)}
                stored = replace(stored, attributes=attributes)
        changed = differences(stored, self.settings, self.fingerprints)
        if changed:
            raise InputError(
                f"{self.run.path} holds what was measured with other settings "
                f"({', '.join(changed)}): --fresh replaces it, in Python fresh=True"
            )
        return stored

    def _name(self, group: str) -> str:
        return group if self.split == "train" else f"{group}-{self.split}"


def with_defaults(function: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a call, given or not."""
    return {
        name: settings.get(name, parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
    }


def is_finished(path: Path, weights: Path, training: str, settings: Mapping[str, Any]) -> bool:
    """Whether a run file holds this very training and its predictions, with its weights beside it.

    Raises:
        InputError: the run file cannot be read.
    """
    if not path.exists():
        return False
    run = Run.open(path)
    plain = json.loads(json.dumps(settings))
    return (
        run.attributes.get("training_fingerprint") == training
        and all(run.config.get(name) == value for name, value in plain.items())
        and "predictions" in run
        and weights.exists()
        and run.attributes.get("posterior_fingerprint") == fingerprint(weights)
    )


def tidy(folder: Path) -> None:
    """Remove what killed commands left in a folder of runs.

    These are temporary files, and checkpoints of trainings that are finished. A checkpoint that
    cannot be read stays.
    """
    remove_leftovers(folder)
    with suppress(OSError):
        for checkpoint in sorted(folder.glob(f"*{CHECKPOINT}")):
            path = checkpoint.with_name(checkpoint.name.removesuffix(CHECKPOINT) + ".h5")
            with suppress(InputError):
                training = digest_of_checkpoint(checkpoint)
                if is_finished(path, path.with_suffix(".safetensors"), training, {}):
                    checkpoint.unlink()
