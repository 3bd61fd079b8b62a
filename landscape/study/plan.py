"""How much a study may spend, and one training of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from landscape.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a study may spend; the same for every method.

    Attributes:
        seeds: Of the results, counted from 0. A seed governs the labelled images, the network's
            initial weights, the source posterior, training and sampling.
        trials: Settings tried for each method.
        tuning_seeds: Seeds that each trial is trained with, counted from ``FIRST_TUNING_SEED``.
        epochs: Of every training on the target task.
        source_epochs: Of the source posterior.
        samples: Posterior samples to predict with.
        measured: Posterior samples whose curvature is measured.
        severities: Of the corrupted test sets.
        restarts: Starts of either kind on the toy.
        equal_time: Whether generalisation is also compared after trainings as long as FP-BMA's:
            all of them once more.
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

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise InputError(
                f"a study needs at least 2 seeds, not {self.seeds}: one has no spread to compare by"
            )
        for name, value in asdict(self).items():
            if name not in ("severities", "equal_time") and value < 1:
                raise InputError(f"{name} must be at least 1, not {value}")
        if self.measured > self.samples:
            raise InputError(
                f"of {self.samples} samples predicted with no {self.measured} can be measured"
            )


FIRST_TUNING_SEED = 1000
"""Tuning shares no seed with results."""

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
    """The budget called ``name``, with what is not None in ``changes`` put in.

    Raises:
        InputError: unknown name, or a number that is too small.
    """
    if name not in BUDGETS:
        raise InputError(f"unknown budget '{name}'; known: {', '.join(BUDGETS)}")
    given: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    base = BUDGETS[name]
    given.setdefault("measured", min(base.measured, given.get("samples", base.samples)))
    return replace(base, **given)


@dataclass(frozen=True)
class Training:
    """One training: a method with its settings, from a start, with a seed.

    Attributes:
        name: Of its run file, without the seed.
        method: Name of the method.
        settings: All that differ from the method's defaults.
        seed: Governs everything random.
        start: See ``initialisation.start``.
        source: Settings of the source posterior; see ``initialisation.source_of``.
        folder: Of its run file, below the study's.
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
        """What its run file keeps, to know it again; plain JSON."""
        kept: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return kept
