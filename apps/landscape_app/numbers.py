"""What the page Compare sets against each other: numbers of all runs of a folder, or of samples."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from landscape.errors import InputError
from landscape.store import Run, Summary
from landscape.store.summary import measures_of
from landscape_app.cache import cached, cached_of_folder
from landscape_app.figures import theme
from landscape_app.figures.groups import group_marks
from landscape_app.figures.scatter import Item
from landscape_app.folders import Where, load_run, state_of
from landscape_app.groups import NAME, all_settings, groupings, groups
from landscape_app.quantities import LABELS, SHARPNESS, Reading, readings
from landscape_app.run_list import list_runs
from landscape_app.settings import written
from landscape_app.url import View

DEFAULT = {"x": "lambda_1", "y": "nll"}
_FIRST_NUMBERS = ("train_loss", "lambda_1", "trace", "nll", "accuracy", "rmse")
_FIRST_SETTINGS = 3
"""Largest number of settings among the axes that nobody has chosen."""
MOST_ITEMS = 5000
"""Largest number of points in the figure."""
MOST_OPTIONS = 300
"""Largest number of values to filter by that a field offers."""


@dataclass(frozen=True)
class Comparison:
    """The items of a view, with their colours.

    Attributes:
        items: Runs or samples.
        marks: Colour and marker by series.
        colour: Name of the number that colours the points; empty for series.
        note: What is left out, in words.
    """

    items: Sequence[Item]
    marks: Mapping[str, theme.Mark]
    colour: str
    note: str = ""


def number_names(folder: Where, view: View) -> list[str]:
    """The names of the numbers that some item has.

    Raises:
        InputError: the folder cannot be read.
    """
    names = _names(comparison(folder, replace(view, where=(), groups=())).items)
    first = [name for name in LABELS if name in names]
    return first + sorted(name for name in names if name not in first)


def _names(items: Sequence[Item]) -> set[str]:
    """The names of the numbers that some item has. Samples of a run share those of its settings."""
    names: set[str] = set()
    before: object = None
    for item in items:
        own, *shared = (
            item.readings.maps if isinstance(item.readings, ChainMap) else (item.readings,)
        )
        names.update(own)
        if shared and shared[0] is not before:
            before = shared[0]
            names.update(before)
    return names


def default_axes(folder: Where, items: Sequence[Item]) -> list[str]:
    """The axes of parallel coordinates if none are chosen: settings that differ, then numbers.

    Raises:
        InputError: the folder cannot be read.
    """
    settings = [name for name in groupings(folder) if name not in (NAME, "task")]
    has = _names(items) | {name for item in items for name in item.texts}
    numbers = [name for name in _FIRST_NUMBERS if name in has]
    return [name for name in settings if name in has][:_FIRST_SETTINGS] + numbers


def filters(folder: Where) -> list[str]:
    """``setting:value`` for each setting that differs and each of its values.

    Raises:
        InputError: the folder cannot be read.
    """
    tables = all_settings(folder).values()
    options = [
        f"{name}:{value}"
        for name in groupings(folder)
        for value in sorted({written(table.get(name)) for table in tables})
    ]
    return options[:MOST_OPTIONS]


def comparison(folder: Where, view: View) -> Comparison:
    """The runs or samples that ``view`` compares: of all runs that its filters let through.

    Samples are those of the chosen runs if some are chosen.

    Raises:
        InputError: the folder cannot be read.
    """
    what = (
        view.texts.get("hue", ""),
        view.by,
        view.groups,
        view.where,
        view.setting("of"),
        view.runs,
    )
    return cached_of_folder(("comparison", what), state_of(folder), lambda: _compared(folder, view))


def _compared(folder: Where, view: View) -> Comparison:
    tables = all_settings(folder)
    summaries = {run.name: run for run in list_runs(folder) if isinstance(run, Summary)}
    values_of = cached_of_folder("values", state_of(folder), lambda: _values(tables))
    colour = view.texts.get("hue", "")
    by = view.by or ((colour,) if colour in groupings(folder) else ("method",))
    every = groups(folder, by)
    shown = [group for group in every if not view.groups or group.label in view.groups]
    series = {run.name: group.label for group in shown for run in group.summaries}
    of_samples = view.setting("of") == "samples"
    items: list[Item] = []
    for name, table in tables.items():
        if name not in series or not _passes(table, view.where):
            continue
        if of_samples and view.runs and name not in view.runs:
            continue
        numeric, texts = values_of[name]
        if not of_samples:
            found = ChainMap(readings(summaries[name]), numeric)
            items.append(Item(name, name, found, series[name], texts=texts))
            continue
        with suppress(InputError):  # its other figures report it
            run = load_run(folder, name)
            own = cached("sample numbers", run.path, partial(sample_readings, run))
            items += [
                Item(
                    name,
                    f"{name}, sample {index}",
                    ChainMap(own[index], numeric),
                    series[name],
                    index,
                    texts,
                )
                for index in range(len(own))
            ]
    note = ""
    if len(items) > MOST_ITEMS:
        note = f"the first {MOST_ITEMS:,} of {len(items):,}"
    is_number = colour not in by and any(colour in item.readings for item in items)
    marks = dict(zip((group.label for group in every), group_marks(every), strict=True))
    return Comparison(items[:MOST_ITEMS], marks, colour if is_number else "", note)


def _values(
    tables: Mapping[str, Mapping[str, object]],
) -> dict[str, tuple[dict[str, Reading], dict[str, str]]]:
    """The settings of each run that are numbers, and those that are not."""
    result = {}
    for name, table in tables.items():
        numeric = {
            setting: Reading(float(value))
            for setting, value in table.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
        }
        texts = {
            setting: written(value)
            for setting, value in table.items()
            if setting not in numeric and value not in (None, "")
        }
        result[name] = numeric, texts
    return result


def sample_readings(run: Run) -> list[dict[str, Reading]]:
    """The numbers of each posterior sample of a run, by name.

    Test metrics are left out if they are of other samples than the curvature.

    Raises:
        InputError: the file cannot be read.
    """
    columns: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    names = run.groups
    seed: object = None
    if "samples" in names:
        group = run.read("samples")
        seed = group.attributes.get("seed")
        eigenvalues = group.get("eigenvalues", np.empty((0, 0)))
        residuals = group.get("residuals")
        for rank in range(min(eigenvalues.shape[1], 10)):
            error = None if residuals is None else residuals[:, rank]
            columns[f"lambda_{rank + 1}"] = (eigenvalues[:, rank], error)
        if "trace" in group:
            columns["trace"] = (group["trace"], group.get("trace_standard_error"))
        for name, label in (("loss", "train_loss"), ("accuracy", "training accuracy")):
            if name in group:
                columns[label] = (group[name], None)
    if "sharpness" in names:
        group = run.read("sharpness", "value", "error")
        values, errors = group.get("value", np.empty((0, 0))), group.get("error")
        for index, name in enumerate(measures_of(group)[: values.shape[1]]):
            error = None if errors is None else errors[:, index]
            columns[f"{SHARPNESS}{name}"] = (values[:, index], error)
    if "predictions" in names:
        metrics = ("nll", "accuracy", "ece", "brier", "rmse")
        group = run.read("predictions", *metrics)
        if not columns or group.attributes.get("seed") == seed:
            columns |= {name: (group[name], None) for name in metrics if name in group}
    count = max((len(values) for values, _ in columns.values()), default=0)
    samples: list[dict[str, Reading]] = [{} for _ in range(count)]
    for name, (values, errors) in columns.items():
        for index, value in enumerate(values.tolist()):
            off = float("nan") if errors is None else float(errors[index])
            if np.isfinite(value):
                samples[index][name] = Reading(value, value - off, value + off)
    return samples


def _passes(table: Mapping[str, object], where: Sequence[str]) -> bool:
    """Whether settings have, of each named setting, one of the named values."""
    allowed: dict[str, set[str]] = {}
    for condition in where:
        name, _, value = condition.partition(":")
        allowed.setdefault(name, set()).add(value)
    return all(written(table.get(name)) in values for name, values in allowed.items())
