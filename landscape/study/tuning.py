"""Settings chosen on half the validation set: as many trials for every method, on equal seeds."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from landscape.errors import LandscapeError
from landscape.runtime.files import replacing
from landscape.study.candidates import Contestant
from landscape.study.plan import FIRST_TUNING_SEED, Training
from landscape.study.runner import Bench, Finished


@dataclass(frozen=True)
class Choice:
    """What tuning found.

    Attributes:
        settings: Of the best trial; what it does not name is the method's default.
        nll: Its validation NLL, the mean over tuning seeds, in nats.
        trials: How many there were.
        nlls: Of every trial; infinite where a training diverged.
    """

    settings: dict[str, Any]
    nll: float
    trials: int
    nlls: list[float]


def tune(bench: Bench, contestants: list[Contestant]) -> dict[str, Choice]:
    """The settings of least NLL of the averaged predictions on the half for tuning.

    The trainings see the task without its test set and the other half of its validation set; see
    ``validation``. What was chosen is also written to
    ``tuning.json`` of the study's folder.

    Raises:
        LandscapeError: all trials of a method diverged.
    """
    choices = {}
    for contestant in contestants:
        trials = contestant.trials(bench.budget.trials)
        trainings = [
            training
            for index, settings in enumerate(trials)
            for training in _trainings(bench, contestant, index, settings)
        ]
        finished = bench.train_all(f"tuning {contestant.name}", trainings, for_tuning=True)
        choices[contestant.name] = _best(contestant.name, trials, finished, bench)
    path = bench.folder / "tuning.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    found = known | {name: asdict(choice) for name, choice in choices.items()}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n")
    return choices


def _trainings(
    bench: Bench, contestant: Contestant, index: int, settings: dict[str, Any]
) -> list[Training]:
    return [
        Training(
            f"{contestant.name}-trial{index}",
            contestant.method,
            {**contestant.fixed, **settings, "epochs": bench.budget.epochs},
            FIRST_TUNING_SEED + offset,
            contestant.start,
            dict(contestant.source),
            folder="tuning",
        )
        for offset in range(bench.budget.tuning_seeds)
    ]


def _best(
    name: str, trials: list[dict[str, Any]], finished: list[Finished], bench: Bench
) -> Choice:
    found: dict[str, list[float]] = {}
    for each in finished:
        nll = float(each.run.attributes_of("predictions")["nll"])
        found.setdefault(each.training.name, []).append(nll)
    nlls = []
    for index in range(len(trials)):
        values = found.get(f"{name}-trial{index}", [])
        whole = len(values) == bench.budget.tuning_seeds
        nlls.append(sum(values) / len(values) if whole else math.inf)
    best = min(range(len(trials)), key=nlls.__getitem__)
    if not math.isfinite(nlls[best]):
        raise LandscapeError(f"{name}: every trial diverged; see the settings in its search space")
    return Choice(trials[best], nlls[best], len(trials), nlls)
