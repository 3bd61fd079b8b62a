"""Runs of other studies with their measures of flatness and their predictions, one file a run.

The runs are those of other studies, of the demo, or of ``landscape train``. What they lack is
measured and written to their files.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from landscape import workflow
from landscape.curvature.sharpness.measures import FLAT_IF_LARGE
from landscape.errors import InputError
from landscape.store import Run
from landscape.store.summary import measures_of

TARGETS = ("NLL", "error", "ECE", "gap")
LOSS = "training loss"


@dataclass(frozen=True)
class Measured:
    """A run file with its measures at S samples.

    Attributes:
        run: The run file.
        method: Name of the method, or of the study's training.
        group: What runs share that can be compared: task, data, network and seed.
        kind: Task and size of the network.
        values: Measures and training loss at each sample, by name, shape (S,). All are large where
            the loss is sharp.
        sample_targets: ``TARGETS`` at each sample, shape (S,) each.
        targets: ``TARGETS`` of the average over all samples of the run. The gap is the mean over
            the measured samples.
    """

    run: Run
    method: str
    group: tuple[str, ...]
    kind: tuple[str, ...]
    values: dict[str, np.ndarray]
    sample_targets: dict[str, np.ndarray]
    targets: dict[str, float]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the method."""
        return dict(self.run.config.get("method", {}))

    def mean(self, name: str) -> float:
        """The mean over samples of a measure; NaN where it has no value at some sample."""
        return float(self.values[name].mean())


def find_runs(folders: Sequence[Path], only: Sequence[str] | None = None) -> list[Run]:
    """The classifiers' runs in folders or in their ``runs``, each posterior once.

    A run counts only if another of the same task, data, network and seed is there.

    Raises:
        InputError: there are no two such runs.
    """
    runs: dict[str, Run] = {}
    for folder in folders:
        paths = sorted(folder.glob("*.h5")) + sorted((folder / "runs").glob("*.h5"))
        if not paths:
            raise InputError(f"{folder} holds no run files (.h5)")
        for path in paths:
            run = Run.open(path)
            if not run.attributes.get("posterior_file") or "predictions" not in run:
                continue
            if "accuracy" in run.attributes_of("predictions"):
                runs.setdefault(str(run.attributes.get("posterior_fingerprint") or path), run)
    chosen = [run for run in runs.values() if only is None or method_of(run) in only]
    counts = Counter(map(group_of, chosen))
    comparable = [run for run in chosen if counts[group_of(run)] > 1]
    if not comparable:
        raise InputError(
            f"no two of {len(chosen)} classifiers in {', '.join(map(str, folders))} share task, "
            "data, network and seed: there is nothing to compare"
        )
    return comparable


def method_of(run: Run) -> str:
    """Name of a run's method: that of its study, or its framework and its ball."""
    config = run.config
    if "study" in config:
        return str(config["study"]["name"])
    method, ball = str(run.attributes["method"]), config.get("method", {}).get("ball", "none")
    return method if ball == "none" or method not in ("map", "vi", "swag") else f"{method}-{ball}"


def group_of(run: Run) -> tuple[str, ...]:
    """What runs share that can be compared with each other."""
    attributes = run.attributes
    seed, data = str(attributes["seed"]), str(attributes.get("data_fingerprint", ""))
    return (*_kind_of(run), data, seed)


def _kind_of(run: Run) -> tuple[str, ...]:
    return str(run.attributes.get("task", "")), str(run.attributes.get("parameter_count", ""))


def measure_missing(run: Run, names: Sequence[str], samples: int, device: str) -> None:
    """Measure the curvature and the measures at a run's first samples, unless it has them.

    The settings of the eigenvalues are those of the run's own measurement, if it has one.

    Raises:
        InputError: the run holds other measures.
    """
    count = _available(run, samples)
    if _has(run, names, count):
        return
    trained = workflow.load(run.path, device=device)
    settings: dict[str, Any] = {"seed": int(run.attributes["seed"])}
    settings |= run.config.get("measurement", {}) if "samples" in run else {}
    settings |= {"samples": count, "sharpness": list(names)}
    with workflow.in_progress(trained.run, measurement=settings):
        workflow.measure_curvature(trained, progress=False, **settings)


def _available(run: Run, samples: int) -> int:
    """Number of the first samples that have predictions, at most ``samples``."""
    return min(samples, len(run.read("predictions", "nll")["nll"]))


def _has(run: Run, names: Sequence[str], count: int) -> bool:
    if "sharpness" not in run or "samples" not in run:
        return False
    groups = [run.read(group, "sample") for group in ("samples", "sharpness")]
    sizes = [len(group["sample"]) for group in groups]
    return min(sizes) >= count and set(names) <= set(measures_of(groups[1]))


def read_run(run: Run, names: Sequence[str], samples: int) -> Measured:
    """The measures and predictions of a run's first samples.

    Raises:
        InputError: its eigenvalues are of another matrix than the Hessian, or its predictions are
            at other samples.
    """
    count = _available(run, samples)
    curvature = run.read("samples", "eigenvalues", "trace", "loss")
    predictions = run.read("predictions", "nll", "accuracy", "ece")
    matrix = str(curvature.attributes.get("matrix", "hessian"))
    if matrix != "hessian":
        raise InputError(f"{run.path} holds eigenvalues of {matrix}, and not of the Hessian")
    seeds = [group.attributes.get("seed") for group in (curvature, predictions)]
    if seeds[0] != seeds[1]:
        raise InputError(
            f"{run.path} holds measures at samples of seed {seeds[0]}, predictions of {seeds[1]}"
        )
    eigenvalues, loss = curvature["eigenvalues"][:count], curvature["loss"][:count]
    values = {LOSS: loss, "lambda_1": eigenvalues[:, 0], "trace": curvature["trace"][:count]}
    with np.errstate(invalid="ignore", divide="ignore"):
        fifth = eigenvalues[:, 4] if eigenvalues.shape[1] > 4 else math.nan
        values["lambda_ratio"] = eigenvalues[:, 0] / fifth
    sharpness = run.read("sharpness", "value")
    columns = dict(zip(measures_of(sharpness), sharpness["value"].T, strict=True))
    for name in names:
        column = columns[name][:count]
        values[name] = 1 / column if name in FLAT_IF_LARGE else column
    nll = predictions["nll"][:count]
    of_samples = {
        "NLL": nll,
        "error": 1 - predictions["accuracy"][:count],
        "ECE": predictions["ece"][:count],
        "gap": nll - loss,
    }
    of_average = {name: float(predictions.attributes[name]) for name in ("nll", "accuracy", "ece")}
    average = {
        "NLL": of_average["nll"],
        "error": 1 - of_average["accuracy"],
        "ECE": of_average["ece"],
        "gap": float((nll - loss).mean()),
    }
    return Measured(run, method_of(run), group_of(run), _kind_of(run), values, of_samples, average)
