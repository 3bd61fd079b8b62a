"""The measures of flatness over the samples of a posterior, each sample stored when finished."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from landscape.curvature.sharpness.measures import (
    SharpnessWork,
    measure_sharpness_at,
    needs_temperature,
)
from landscape.errors import InputError
from landscape.posteriors import PosteriorLoss
from landscape.posteriors.fingerprints import fingerprints
from landscape.results.resume import Entry, Store
from landscape.runtime import executors
from landscape.runtime.progress import reporter

GROUP = "sharpness"
_COLUMNS = ("value", "error", "converged", "seconds")
_SAME = 1e-3
"""Relative difference of a temperature that is fitted again."""

Row = dict[str, Any]


@dataclass(frozen=True)
class SampleSharpness:
    """Measures of S samples, by name.

    Attributes:
        values: Value at each sample, shape (S,); NaN where it is not finite or does not exist.
        errors: Error of each value, shape (S,); ``docs/flatness.md`` says what it is.
        converged: Whether the search or the chains behind each value converged, shape (S,).
    """

    values: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    converged: dict[str, np.ndarray]


def sharpness_work(
    loss: PosteriorLoss,
    names: Sequence[str],
    temperatures: float | Sequence[float] | None,
    count: int,
    seed: int,
) -> SharpnessWork:
    """What is measured at each of ``count`` samples; see ``measure``.

    Raises:
        InputError: a temperature is missing or out of range.
    """
    return SharpnessWork(loss, names, _temperatures(temperatures, names, count), seed)


def measure_sharpness(
    work: SharpnessWork,
    weights: Tensor,
    *,
    store: Store | None = None,
    executor: Executor | None = None,
    progress: bool | None = None,
) -> SampleSharpness:
    """Measure each of a posterior's samples; see ``measure``.

    Args:
        work: What is measured.
        weights: The samples, shape (S, P).
        store: A run to write each sample to as soon as it is finished.
        executor: The executor that measures the samples.
        progress: Whether to show progress.

    Raises:
        InputError: a measure has no meaning for the loss or the data.
    """
    names, seed, posterior, count = work.names, work.seed, work.loss.posterior, len(weights)
    request = {"sharpness": names, "seed": seed, "parameters": posterior.space.names}
    entry = Entry.of(store, GROUP, request, lambda: fingerprints(work.loss))
    rows = _stored_rows(entry, work, count)
    attributes: dict[str, Any] = {
        "measures": json.dumps(names),
        "requested": max(count, 1 + max(rows, default=0)),
        "seed": seed,
    }
    places = posterior.places(attributes["requested"], seed)
    missing = [index for index in range(count) if index not in rows]
    if missing:
        work.check(weights[0])
    items = [(index, weights[index]) for index in missing]
    report = reporter(progress, GROUP, lambda row: f"{names[0]} {row['value'][0]:.3g}")
    finished = executors.run(measure_sharpness_at, work, items, executor)
    for done, (position, row) in enumerate(finished, 1):
        rows[missing[position]] = row
        _write(entry, rows, attributes, places)
        if report is not None:
            report(count - len(missing) + done, count, row)
    columns = [np.array([rows[index][name] for index in range(count)]).T for name in _COLUMNS[:3]]
    values, errors, converged = (dict(zip(names, column, strict=True)) for column in columns)
    return SampleSharpness(values, errors, converged)


def _temperatures(
    given: float | Sequence[float] | None, names: Sequence[str], count: int
) -> Sequence[float]:
    """The temperature of each sample; none if no measure needs it."""
    if not needs_temperature(names):
        return ()
    if given is None:
        raise InputError(
            "measures of tempered logits need temperatures=, fitted on validation data; see "
            "prediction.best_temperature"
        )
    chosen = [given] * count if isinstance(given, int | float) else list(given)
    if len(chosen) < count:
        raise InputError(f"{len(chosen)} temperatures for {count} samples")
    for temperature in chosen:
        if not 0 < temperature < math.inf:
            raise InputError(f"temperature must be positive and finite, not {temperature}")
    return chosen[:count]


def _stored_rows(entry: Entry, work: SharpnessWork, count: int) -> dict[int, Row]:
    """The samples of the same request and temperatures that are stored, by their numbers."""
    stored = entry.read()
    if stored is None:
        return {}
    columns = (*_COLUMNS, "temperature") if work.temperatures else _COLUMNS
    try:  # a file from anybody may lack any variable
        rows = {
            int(index): dict(zip(columns, values, strict=True))
            for index, *values in zip(
                stored["sample"], *(stored[name] for name in columns), strict=True
            )
        }
    except KeyError:
        return {}
    if work.temperatures:
        return {
            index: row
            for index, row in rows.items()
            if index < count
            and math.isclose(row["temperature"], work.temperatures[index], rel_tol=_SAME)
        }
    last = max(rows, default=-1)
    return rows if work.loss.posterior.num_available(last + 1) > last else {}


def _write(
    entry: Entry, rows: dict[int, Row], attributes: dict[str, Any], places: np.ndarray | None
) -> None:
    numbers = sorted(rows)
    variables: dict[str, object] = {"sample": numbers}
    for name in rows[numbers[0]]:
        variables[name] = np.array([rows[index][name] for index in numbers])
    if places is not None:
        variables |= dict(zip(("chain", "place"), places[numbers].T, strict=True))
    entry.write(variables, attributes)
