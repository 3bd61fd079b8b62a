"""The budget of a study, and the description of one training."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from landscape.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Budget of a study, the same for every method.

    Attributes:
        seeds: Number of seeds of the results, counted from 0. A seed determines the labelled
            images, the network's initial weights, the source posterior, training and sampling.
        trials: Number of settings to try for each method.
        tuning_seeds: Number of seeds of each trial, counted from ``FIRST_TUNING_SEED``.
        epochs: Number of epochs of every training on the target task.
        source_epochs: Number of epochs of the source posterior.
        samples: Number of posterior samples to predict with.
        measured: Number of posterior samples at which the curvature is measured.
        severities: Severities of the corrupted test sets.
        restarts: Number of starting points of either kind in the toy study.
        equal_time: Whether the study of generalisation also trains every method as long as FP-BMA
            takes and compares the results. This repeats all trainings.
        shots: Number of labelled images of every class; the task's own number if ``None``. 0 stands
            for all images of CIFAR-10's tasks.
    """

    seeds: int = 5
    trials: int = 10
    tuning_seeds: int = 2
    epochs: int = 100
    source_epochs: int = 60
    samples: int = 30
    measured: int = 10
    severities: tuple[int, ...] = (1, 3, 5)
    restarts: int = 10
    equal_time: bool = True
    shots: int | None = None

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise InputError(
                f"a study needs at least 2 seeds, not {self.seeds}: one seed has no interval"
            )
        for name, value in asdict(self).items():
            if name not in ("severities", "equal_time", "shots") and value < 1:
                raise InputError(f"{name} must be at least 1, not {value}")
        if self.measured > self.samples:
            raise InputError(
                f"cannot measure {self.measured} samples: predictions use only {self.samples}"
            )


FIRST_TUNING_SEED = 1000
"""First seed of tuning. Tuning and results share no seed."""

BUDGETS: dict[str, Budget] = {
    "smoke": Budget(
        seeds=2,
        trials=2,
        tuning_seeds=1,
        epochs=60,
        source_epochs=12,
        samples=3,
        measured=2,
        severities=(5,),
        restarts=2,
    ),
    "small": Budget(),
    "large": Budget(seeds=10, trials=30, measured=30, severities=(1, 2, 3, 4, 5), restarts=100),
}


def budget(name: str, **changes: int | tuple[int, ...] | None) -> Budget:
    """The budget called ``name`` with some values replaced.

    Args:
        name: One of ``BUDGETS``.
        changes: New values of attributes of ``Budget``; ``None`` keeps the old value.

    Raises:
        InputError: The name is unknown, or a number is too small.
    """
    if name not in BUDGETS:
        raise InputError(f"unknown budget '{name}'; known: {', '.join(BUDGETS)}")
    changed: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    base = BUDGETS[name]
    changed.setdefault("measured", min(base.measured, changed.get("samples", base.samples)))
    return replace(base, **changed)


@dataclass(frozen=True)
class Training:
    """One training: a method with its settings, its initialisation and its seed.

    Attributes:
        name: Name of the run file, without the seed.
        method: Name of the method.
        settings: Settings that differ from the method's defaults.
        seed: Seed of everything random.
        start: Kind of initialisation, as in ``initialisation.initialise``; or ``"fresh"`` for
            random weights.
        source: Settings of the source posterior, as in ``Runner.source``, and ``scale``, as in
            ``initialisation.initialise``.
        folder: Folder of the run file, inside the study's folder.
    """

    name: str
    method: str
    settings: dict[str, Any]
    seed: int
    start: str = "source"
    source: dict[str, Any] = field(default_factory=dict)
    folder: str = "runs"

    @property
    def record(self) -> dict[str, Any]:
        """The training as plain JSON. Its run file keeps this, so that it can be recognised."""
        record: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return record
