"""What run files say: one number by method and seed."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from landscape.results import Range
from landscape.store import Run
from landscape.study.measures import METRICS
from landscape.study.runner import Finished

Reading = Callable[[Run], float]
Results = dict[str, dict[int, float]]
"""One number by method and seed."""


def collect(finished: Sequence[Finished], reading: Reading) -> Results:
    """``reading`` of every run, by the training's name and seed."""
    found: Results = {}
    for each in finished:
        found.setdefault(each.training.name, {})[each.training.seed] = reading(each.run)
    return found


def diverged(names: Iterable[str], seeds: int, finished: Sequence[Finished]) -> str:
    """A note on the trainings that are missing in a table; empty where there is none.

    Args:
        names: Of all that were to be trained, each with ``seeds`` seeds.
        seeds: How many.
        finished: Those that have run files.
    """
    counts = Counter(each.training.name for each in finished)
    missing = {name: seeds - counts[name] for name in names}
    lost = [f"{name} ({count} of {seeds})" for name, count in missing.items() if count]
    return f"Diverged, and not in the means: {', '.join(lost)}." if lost else ""


def of_test(metric: str) -> Reading:
    """A metric of the averaged predictions on the test set: one of ``METRICS``."""
    return lambda run: float(run.attributes_of("predictions")[metric])


def of_tempered(name: str) -> Reading:
    """An attribute of the averaged predictions at the best temperature."""
    return lambda run: float(run.attributes_of("tempered")[name])


def of_shifts(metric: str, kind: str = "") -> Reading:
    """A metric's mean over the corrupted test sets, of one kind or of all."""

    def read(run: Run) -> float:
        names = json.loads(str(run.attributes_of("shifted")["shifts"]))
        values = run.read("shifted", metric)[metric]
        wanted = [name.startswith(kind) for name in names]
        return float(values[np.array(wanted)].mean())

    return read


def kinds_of_shifts(run: Run) -> list[str]:
    """The kinds of corruption that a run was judged on."""
    names = json.loads(str(run.attributes_of("shifted")["shifts"]))
    return list(dict.fromkeys(name.rpartition("-")[0] for name in names))


def lambda_1(run: Run) -> float:
    """Mean over samples of the largest Hessian eigenvalue."""
    return float(_eigenvalues(run)[:, 0].mean())


def lambda_ratio(run: Run) -> float:
    """Mean over samples of lambda_1 / lambda_5."""
    values = _eigenvalues(run)
    return float((values[:, 0] / values[:, 4]).mean())


def lambda_ratio_of_means(run: Run) -> float:
    """Mean lambda_1 over mean lambda_5, which samples with a small lambda_5 do not dominate."""
    values = _eigenvalues(run)
    return float(values[:, 0].mean() / values[:, 4].mean())


def trace(run: Run) -> float:
    """Mean over samples of the Hessian's trace."""
    return float(run.read("samples", "trace")["trace"].mean())


def train_loss(run: Run) -> float:
    """Mean over samples of the loss on the training set, in nats."""
    return float(run.read("samples", "loss")["loss"].mean())


def expected_sharpness(run: Run) -> float:
    """E[L(w)] - L(posterior mean) over the samples, in nats."""
    return float(run.attributes_of("centre")["expected_sharpness"])


def lambda_at_centre(run: Run) -> float:
    """The largest eigenvalue at the mean of the samples' weights."""
    return float(run.read("centre", "eigenvalues")["eigenvalues"][0])


def loss_at_centre(run: Run) -> float:
    """The training loss at the mean of the samples' weights, in nats."""
    return float(run.attributes_of("centre")["loss"])


def training_seconds(run: Run) -> float:
    """Of training on the target task; the source posterior is shared."""
    return float(run.attributes["training_seconds"])


def posterior_megabytes(run: Run) -> float:
    """Of the posterior's file."""
    return (run.path.parent / str(run.attributes["posterior_file"])).stat().st_size / 1e6


def samples_measured(run: Run) -> int:
    """How many samples' curvature the run holds."""
    return len(_eigenvalues(run))


def test_metrics(finished: Sequence[Finished]) -> dict[str, Results]:
    """All ``METRICS`` on the test set, as columns of a table."""
    return {LABELS[name]: collect(finished, of_test(name)) for name in METRICS}


LABELS = {"accuracy": "accuracy", "nll": "NLL", "ece": "ECE", "brier": "Brier"}
POSITIVE: Range = (0.0, math.inf)
RANGES: dict[str, Range] = {
    "accuracy": (0.0, 1.0),
    "NLL": POSITIVE,
    "ECE": (0.0, 1.0),
    "Brier": (0.0, 2.0),
    "NLL at best T": POSITIVE,
    "T": POSITIVE,
    "training loss": POSITIVE,
    "loss at the averaged weights": POSITIVE,
    "mean loss of the samples": POSITIVE,
    "posterior, MB": POSITIVE,
}
"""What a column's numbers are within, by its head; an eigenvalue may be anything."""


def _eigenvalues(run: Run) -> np.ndarray:
    return np.asarray(run.read("samples", "eigenvalues")["eigenvalues"])
