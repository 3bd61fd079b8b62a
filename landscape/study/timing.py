"""How long each method's training takes, measured so that a busy machine does not decide it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from landscape import methods
from landscape.runtime.files import replacing
from landscape.study.initialisation import start
from landscape.study.plan import Training
from landscape.study.runner import Bench

_ROUNDS = 3


def cpu_seconds(bench: Bench, trainings: Sequence[Training]) -> dict[str, float]:
    """Processor time of one training of each name, in seconds: the least of three rounds.

    On another device than the CPU it is the time on the clock.

    In a round all methods take their turn, on the data of the first training of their name. What
    was measured is kept in ``pace.json`` of the study's folder, and taken from there for the same
    settings: else a study that goes on would match other times.
    """
    path = bench.folder / "pace.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    first = {each.name: each for each in reversed(trainings)}
    found: dict[str, list[float]] = {}
    report = bench.progress("processor time")
    for turn in range(_ROUNDS):
        for index, (name, training) in enumerate(first.items()):
            same = known.get(name, {}).get("training") == training.record
            seconds = known[name]["seconds"] if same else _time(bench, training)
            found.setdefault(name, []).append(seconds)
            report(turn * len(first) + index + 1, _ROUNDS * len(first))
    least = {name: min(values) for name, values in found.items()}
    known |= {
        name: {"training": first[name].record, "seconds": value} for name, value in least.items()
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(known, indent=2) + "\n")
    return least


def _time(bench: Bench, training: Training) -> float:
    task = bench.task(training.seed)
    source = bench.source(training.seed, training.source)
    begin = start(training.start, source, task, training.seed)
    method = methods.create(training.method, **training.settings)
    clock = time.process_time if bench.device == "cpu" else time.perf_counter
    begun = clock()
    method.fit(
        begin.model,
        task,
        prior=begin.prior,
        seed=training.seed,
        device=bench.device,
        progress=False,
    )
    return clock() - begun
