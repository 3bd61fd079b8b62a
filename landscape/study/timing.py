"""Training time of each method, measured so that other work on the machine has little effect."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from landscape import methods
from landscape.runtime.files import atomic_write
from landscape.study.plan import Training
from landscape.study.runner import Runner

_ROUNDS = 3


def cpu_seconds(runner: Runner, trainings: Sequence[Training]) -> dict[str, float]:
    """Processor time of one training of each name, in seconds: the minimum of ``cpu_rounds``."""
    return {name: min(seconds) for name, seconds in cpu_rounds(runner, trainings).items()}


def cpu_rounds(runner: Runner, trainings: Sequence[Training]) -> dict[str, list[float]]:
    """Processor time of one training of each name, in seconds, in each of three rounds.

    On devices other than the CPU it is wall-clock time.

    In a round every method is trained once, on the data of the first training of its name. The
    times are stored in ``timing.json`` in the study's folder, or read from there if the settings
    are the same. A study that continues must match the same times as before. Studies of earlier
    versions stored only the minimum, in earlier ones still in ``pace.json``; both are read.
    """
    path, earlier = runner.folder / "timing.json", runner.folder / "pace.json"
    stored: dict[str, Any] = {}
    for file in (earlier, path):
        if file.exists():
            stored |= json.loads(file.read_text())
    first = {training.name: training for training in reversed(trainings)}
    times: dict[str, list[float]] = {}
    for name, training in first.items():
        if stored.get(name, {}).get("training") == training.record:
            times[name] = stored[name].get("rounds", [stored[name]["seconds"]])
    missing = {name: training for name, training in first.items() if name not in times}
    report = runner.progress("processor time")
    for turn in range(_ROUNDS):
        for index, (name, training) in enumerate(missing.items()):
            times.setdefault(name, []).append(_time(runner, training))
            report(turn * len(missing) + index + 1, _ROUNDS * len(missing))
    stored |= {
        name: {"training": first[name].record, "seconds": min(values), "rounds": values}
        for name, values in times.items()
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(stored, indent=2) + "\n")
    return {name: times[name] for name in first}


def _time(runner: Runner, training: Training) -> float:
    task = runner.task(training.seed)
    initial = runner.initial(training, task)
    method = methods.create(training.method, **training.settings)
    clock = time.process_time if runner.device == "cpu" else time.perf_counter
    started = clock()
    method.fit(
        initial.model,
        task,
        prior=initial.prior,
        seed=training.seed,
        device=runner.device,
        progress=False,
    )
    return clock() - started
