"""A run in a few numbers with their intervals: a line of a table of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from landscape.errors import InputError, printable
from landscape.results import MARKOV_CHAINS, SampleMean, spectrum_means
from landscape.runtime.json_text import parse_json
from landscape.store import schema
from landscape.store.groups import Group, group_names, read_group
from landscape.store.heartbeat import status_of
from landscape.store.run import Run
from landscape.store.untrusted import open_run, plain_attributes, reading


@dataclass(frozen=True)
class Summary:
    """The main numbers of a run file; ``None`` for those that it does not have.

    Attributes:
        name: The file's name without its ending.
        status: running, complete, failed, or stopped if the process at work was killed.
        samples: Number of posterior samples that were averaged, or else measured.
        accuracy: Accuracy of the averaged predictions.
        nll: Negative log-likelihood of the averaged predictions, in nats.
        ece: Expected calibration error of the averaged predictions.
        rmse: Root mean squared error of real targets, in their own units.
        train_loss: Loss on the training set, over samples: the fit at which the next ones hold.
        matrix: Matrix of the next four, ``"hessian"`` or another one of ``measure``.
        lambda_1: Its largest eigenvalue, over samples.
        lambda_ratio: Mean over samples of lambda_1 / lambda_5, if there are 5 eigenvalues.
        lambda_ratio_of_means: Mean lambda_1 / mean lambda_5, as in ``spectrum_means``.
        trace: Its trace, over samples.
        sharpness: Further measures of flatness over samples, by name.
        surfaces: Names of the loss surfaces.
        line_barriers: Largest loss along each line or curve, by its name, less that of the higher
            of its ends, in nats; NaN if a point has no loss yet.
    """

    name: str
    method: str
    task: str
    seed: int | None
    status: str
    created_at: str
    training_seconds: float | None
    samples: int | None
    accuracy: float | None
    nll: float | None
    ece: float | None
    rmse: float | None
    train_loss: SampleMean | None
    matrix: str | None
    lambda_1: SampleMean | None
    lambda_ratio: SampleMean | None
    lambda_ratio_of_means: SampleMean | None
    trace: SampleMean | None
    sharpness: dict[str, SampleMean]
    surfaces: tuple[str, ...]
    line_barriers: dict[str, float]


def summarise(run: Run) -> Summary:
    """Read a run's summary.

    Raises:
        InputError: the file is damaged where the summary is read.
    """
    with open_run(run.path) as file:
        return _summary(run, file)


def open_summarised(path: Path) -> tuple[Run, Summary]:
    """Open a run file, as by ``Run.open``, and read its summary.

    The file is opened once, which matters for a list of hundreds of runs.

    Raises:
        InputError: the file is no run, unsafe to read, or damaged where the summary is read.
    """
    with open_run(path) as file:
        run = Run.of(file, path)
        return run, _summary(run, file)


def _summary(run: Run, file: h5py.File) -> Summary:
    groups = group_names(file)
    with reading(run.path):
        predictions = plain_attributes(file["predictions"]) if "predictions" in groups else {}
    flatness = Group({})
    if "samples" in groups:
        names = ("loss", "eigenvalues", "trace", "chain", "place")
        flatness = read_group(file["samples"], run.path, names)
    measures = Group({})
    if "sharpness" in groups:
        measures = read_group(file["sharpness"], run.path, ("value", "chain", "place"))
    lines = {
        name.partition("/")[2]: barrier(read_group(file[name], run.path, ("loss",)))
        for name in groups
        if name.startswith("lines/")
    }
    eigenvalues = flatness.get("eigenvalues", np.empty((0, 0)))
    trace = flatness.get("trace", np.empty(0))
    samples = count(predictions, "samples")
    measured = len(trace) or len(eigenvalues) or None
    places = places_of(run, flatness, measured or 0)
    losses = flatness.get("loss", np.empty(0))
    means = spectrum_means(eigenvalues, trace, places=places)
    return Summary(
        name=run.path.stem,
        method=str(run.attributes.get("method", "")),
        task=str(run.attributes.get("task", "")),
        seed=seed if isinstance(seed := run.attributes.get("seed"), int) else None,
        status=status_of(run),
        created_at=str(run.attributes.get("created_at", "")),
        training_seconds=number(run.attributes, "training_seconds"),
        samples=measured if samples is None else samples,
        accuracy=number(predictions, "accuracy"),
        nll=number(predictions, "nll"),
        ece=number(predictions, "ece"),
        rmse=number(predictions, "rmse"),
        train_loss=SampleMean.of(losses, places=places) if losses.size else None,
        # Files that do not say it are older than the other matrices.
        matrix=str(flatness.attributes.get("matrix", "hessian")) if measured else None,
        lambda_1=means.get("lambda_1"),
        lambda_ratio=means.get("lambda_ratio"),
        lambda_ratio_of_means=means.get("lambda_ratio_of_means"),
        trace=means.get("trace"),
        sharpness=_sharpness(run, measures),
        surfaces=tuple(name.partition("/")[2] for name in groups if name.startswith("surfaces/")),
        line_barriers=lines,
    )


def measures_of(group: Group) -> list[str]:
    """Names of the measures in a run's ``sharpness``, in the order of its columns.

    Raises:
        InputError: the attribute that holds them is damaged.
    """
    names = parse_json(str(group.attributes.get("measures", "[]")), "the attribute 'measures'")
    if not isinstance(names, list):
        raise InputError("the attribute 'measures' is no list of names")
    return [printable(str(name)) for name in names]


def _sharpness(run: Run, group: Group) -> dict[str, SampleMean]:
    values = group.get("value", np.empty((0, 0)))
    places = places_of(run, group, len(values))
    columns = zip(measures_of(group), values.T, strict=False)
    return {name: SampleMean.of(column, places=places) for name, column in columns}


def places_of(run: Run, group: Group, samples: int) -> np.ndarray | None:
    """Places of a group's samples in their Markov chains, for ``SampleMean.of``.

    Args:
        run: The run.
        group: Its ``samples``, ``sharpness`` or ``predictions``, with ``chain`` and ``place`` if
            it has them.
        samples: Number S of samples in the group.

    Returns:
        Shape (S, 2), -1 if an older file of a chain does not have them; ``None`` for independent
        draws.
    """
    if "chain" in group and "place" in group:
        return np.stack([group["chain"], group["place"]], 1)
    if run.attributes.get("method") not in MARKOV_CHAINS:
        return None
    return np.full((samples, 2), -1)


def unfinished(run: Run) -> list[str]:
    """The progress of each unfinished measurement of a run, in words.

    Raises:
        InputError: the file is damaged where it is read.
    """
    parts = []
    with open_run(run.path) as file:
        names = group_names(file)
        for name, words in (
            ("samples", "samples"),
            ("sharpness", "samples' sharpness"),
            ("trajectory", "points along the training"),
        ):
            if name not in names:
                continue
            samples = read_group(file[name], run.path, ("sample",))
            requested, done = count(samples.attributes, "requested"), len(samples.get("sample", ()))
            if requested is not None and done < requested:
                parts.append(f"{done} of {requested} {words}")
        for name in names:
            kind, _, plane = name.partition("/")
            if kind not in schema.FAMILIES:
                continue
            finished = read_group(file[name], run.path, ("finished",)).get("finished")
            if finished is not None and not finished.all():
                kind, units = ("surface", "rows") if kind == "surfaces" else ("line", "points")
                done = int(finished.astype(bool).sum())
                parts.append(f"{kind} '{printable(plane)}': {done} of {len(finished)} {units}")
    return parts


def number(attributes: Mapping[str, str | int | float], name: str) -> float | None:
    """A numeric attribute; ``None`` if it is absent or text."""
    value = attributes.get(name)
    return float(value) if isinstance(value, int | float) else None


def count(attributes: Mapping[str, str | int | float], name: str) -> int | None:
    """An attribute that is a count; ``None`` if it is absent or no count."""
    value = number(attributes, name)
    return int(value) if value is not None and 0 <= value < 2**63 else None


def barrier(line: Group) -> float:
    """The largest loss less that of the higher end; NaN if a point has no loss yet."""
    loss = line.get("loss", np.empty(0))
    if not loss.size or np.isnan(loss).any():
        return math.nan
    with np.errstate(invalid="ignore", over="ignore"):
        return float(loss.max() - max(loss[0], loss[-1]))
