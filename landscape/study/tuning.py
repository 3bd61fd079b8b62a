"""Tuning on half of the validation set, with the same number of trials and seeds per method."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from landscape.errors import LandscapeError
from landscape.runtime.files import atomic_write
from landscape.study.candidates import Candidate
from landscape.study.plan import FIRST_TUNING_SEED, Training
from landscape.study.runner import Finished, Runner


@dataclass(frozen=True)
class Choice:
    """Result of tuning one method.

    Attributes:
        settings: Settings of the best trial. Settings that are not named have their defaults.
        nll: Validation NLL of the best trial in nats, mean over tuning seeds.
        trials: Number of trials.
        nlls: Validation NLL of every trial; infinite if one of its trainings diverged.
    """

    settings: dict[str, Any]
    nll: float
    trials: int
    nlls: list[float]


def tune(runner: Runner, candidates: list[Candidate]) -> dict[str, Choice]:
    """Choose for each candidate the settings whose averaged predictions have the smallest NLL.

    The NLL is that of the half of the validation set for tuning. The trainings get a task without
    the test set and without the other half (module ``validation``). The choices are also written
    to ``tuning.json`` in the study's folder.

    Raises:
        LandscapeError: All trials of a candidate diverged.
    """
    choices = {}
    for candidate in candidates:
        trials = candidate.trials(runner.budget.trials)
        trainings = [
            training
            for index, settings in enumerate(trials)
            for training in _trainings(runner, candidate, index, settings)
        ]
        finished = runner.train_all(f"tuning {candidate.name}", trainings, for_tuning=True)
        choices[candidate.name] = _best(candidate.name, trials, finished, runner)
    path = runner.folder / "tuning.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    stored |= {name: asdict(choice) for name, choice in choices.items()}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(stored, indent=2) + "\n")
    return choices


def _trainings(
    runner: Runner, candidate: Candidate, index: int, settings: dict[str, Any]
) -> list[Training]:
    return [
        Training(
            f"{candidate.name}-trial{index}",
            candidate.method,
            {**candidate.fixed, **settings, "epochs": runner.budget.epochs},
            FIRST_TUNING_SEED + offset,
            candidate.start,
            dict(candidate.source),
            folder="tuning",
        )
        for offset in range(runner.budget.tuning_seeds)
    ]


def _best(
    name: str, trials: list[dict[str, Any]], finished: list[Finished], runner: Runner
) -> Choice:
    by_trial: dict[str, list[float]] = {}
    for entry in finished:
        nll = float(entry.run.attributes_of("predictions")["nll"])
        by_trial.setdefault(entry.training.name, []).append(nll)
    nlls = []
    for index in range(len(trials)):
        values = by_trial.get(f"{name}-trial{index}", [])
        complete = len(values) == runner.budget.tuning_seeds
        nlls.append(sum(values) / len(values) if complete else math.inf)
    best = min(range(len(trials)), key=nlls.__getitem__)
    if not math.isfinite(nlls[best]):
        raise LandscapeError(f"{name}: every trial diverged; check the settings it is tuned over")
    return Choice(trials[best], nlls[best], len(trials), nlls)
