"""Numbers that studies read from run files: one number for each method and seed."""

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

Metric = Callable[[Run], float]
Results = dict[str, dict[int, float]]
"""One number for each method and seed."""


def collect(finished: Sequence[Finished], metric: Metric) -> Results:
    """The metric of every run, by the training's name and seed."""
    results: Results = {}
    for entry in finished:
        results.setdefault(entry.training.name, {})[entry.training.seed] = metric(entry.run)
    return results


def diverged(names: Iterable[str], seeds: int, finished: Sequence[Finished]) -> str:
    """A note on the trainings that diverged. It is empty if none did.

    Args:
        names: Names of all trainings of the table.
        seeds: Number of seeds of each training.
        finished: Trainings that did not diverge.
    """
    counts = Counter(entry.training.name for entry in finished)
    missing = {name: seeds - counts[name] for name in names}
    lost = [f"{name} ({count} of {seeds})" for name, count in missing.items() if count]
    return f"Diverged, and not in the means: {', '.join(lost)}." if lost else ""


def test_metric(metric: str) -> Metric:
    """A metric of the averaged predictions on the test set, one of ``METRICS``."""
    return lambda run: float(run.attributes_of("predictions")[metric])


def tempered_metric(name: str) -> Metric:
    """An attribute of the averaged predictions at the best temperature."""
    return lambda run: float(run.attributes_of("tempered")[name])


def shifted_metric(metric: str, kind: str = "") -> Metric:
    """The mean of a metric over the corrupted test sets whose names begin with ``kind``."""

    def read(run: Run) -> float:
        names = json.loads(str(run.attributes_of("shifted")["shifts"]))
        values = run.read("shifted", metric)[metric]
        selected = [name.startswith(kind) for name in names]
        return float(values[np.array(selected)].mean())

    return read


def kinds_of_shifts(run: Run) -> list[str]:
    """Kinds of corruption in a run's shifted test sets."""
    names = json.loads(str(run.attributes_of("shifted")["shifts"]))
    return list(dict.fromkeys(name.rpartition("-")[0] for name in names))


def lambda_1(run: Run) -> float:
    """The largest Hessian eigenvalue, mean over samples."""
    return float(_eigenvalues(run)[:, 0].mean())


def lambda_ratio(run: Run) -> float:
    """The ratio lambda_1 / lambda_5, mean over samples."""
    values = _eigenvalues(run)
    return float((values[:, 0] / values[:, 4]).mean())


def lambda_ratio_of_means(run: Run) -> float:
    """Mean lambda_1 / mean lambda_5. Samples with a small lambda_5 do not dominate this ratio."""
    values = _eigenvalues(run)
    return float(values[:, 0].mean() / values[:, 4].mean())


def trace(run: Run) -> float:
    """The Hessian's trace, mean over samples."""
    return float(run.read("samples", "trace")["trace"].mean())


def train_loss(run: Run) -> float:
    """The training loss in nats, mean over samples."""
    return float(run.read("samples", "loss")["loss"].mean())


def expected_sharpness(run: Run) -> float:
    """E[L(w)] - L(posterior mean) in nats, with the expectation over the samples."""
    return float(run.attributes_of("centre")["expected_sharpness"])


def training_seconds(run: Run) -> float:
    """Time of training on the target task, in seconds, without the source posterior."""
    return float(run.attributes["training_seconds"])


def posterior_megabytes(run: Run) -> float:
    """Size of the posterior's file in MB."""
    return (run.path.parent / str(run.attributes["posterior_file"])).stat().st_size / 1e6


def samples_measured(run: Run) -> int:
    """Number of samples in the run that have curvature."""
    return len(_eigenvalues(run))


def test_metrics(finished: Sequence[Finished]) -> dict[str, Results]:
    """Columns of a table with all ``METRICS`` on the test set."""
    return {LABELS[name]: collect(finished, test_metric(name)) for name in METRICS}


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
"""Range of a column's numbers, by the column's head. Eigenvalues have no range."""


def _eigenvalues(run: Run) -> np.ndarray:
    return np.asarray(run.read("samples", "eigenvalues")["eigenvalues"])
