"""Groups of runs that have the same settings but for the seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from landscape.errors import InputError
from landscape.store import Run, Summary, summarise
from landscape_app import formats
from landscape_app.cache import cached_of_folder
from landscape_app.folders import Folders, Where, cached_run, state_of
from landscape_app.run_list import list_runs, listed_run
from landscape_app.settings import written
from landscape_app.url import View

MOST_GROUPS = 24
"""Largest number of groups in a figure."""
NAME = "name"
"""A setting of its own: the name of the run's file without its seed."""
FOLDER = "folder"
"""A setting of runs in several folders: the folder of the file."""

_SEED = re.compile(r"[-_]?(?:seed[-_]?)?\d+$")
_PLAIN = ("method", "task", NAME, FOLDER)
"""Settings whose values need no name beside them."""


@dataclass(frozen=True)
class ListedGroup:
    """Runs with the same values of some settings, as the list of runs knows them.

    Attributes:
        label: Those values, in words.
        place: Number of the group among all groups, for its colour and marker.
        summaries: Summaries of the runs.
        differ: Names of other settings, seeds excepted, in which the runs differ.
    """

    label: str
    place: int
    summaries: tuple[Summary, ...]
    differ: tuple[str, ...]


@dataclass(frozen=True)
class RunGroup(ListedGroup):
    """A group whose run files are open, for figures.

    Attributes:
        runs: The runs, in the order of their summaries.
    """

    runs: tuple[Run, ...]


AnyGroup = TypeVar("AnyGroup", bound=ListedGroup)


def all_settings(folder: Where) -> dict[str, Mapping[str, object]]:
    """The settings of each readable run of a folder, by the name of the run.

    Raises:
        InputError: the folder cannot be read.
    """
    return cached_of_folder("settings", state_of(folder), lambda: _all_settings(folder))


def _all_settings(folder: Where) -> dict[str, Mapping[str, object]]:
    settings = {}
    for run in list_runs(folder):
        if isinstance(run, Summary):
            try:
                settings[run.name] = _settings(folder, run.name)
            except InputError:  # changed or damaged: the list reports it
                continue
    return settings


def groupings(folder: Where) -> list[str]:
    """The settings that tell the runs of a folder apart, seeds excepted.

    Raises:
        InputError: the folder cannot be read.
    """
    return cached_of_folder("groupings", state_of(folder), lambda: _groupings(folder))


def _groupings(folder: Where) -> list[str]:
    tables = list(all_settings(folder).values())
    names = dict.fromkeys(name for table in tables for name in table)
    differing = [
        name
        for name in names
        if not _is_seed(name) and len({written(table.get(name)) for table in tables}) > 1
    ]
    first = [name for name in (NAME, FOLDER, "method", "task") if name in names]
    return first + [name for name in differing if name not in first]


def groups(folder: Where, by: Sequence[str]) -> list[ListedGroup]:
    """The runs of a folder in groups, ordered by their values. No run file is opened.

    Args:
        folder: Folder of the runs.
        by: Names of the settings that are the same within a group.

    Raises:
        InputError: the folder cannot be read.
    """
    summaries = {run.name: run for run in list_runs(folder) if isinstance(run, Summary)}
    # A status may change without a change of the file.
    name = ("groups", tuple(by), tuple(run.status for run in summaries.values()))
    return cached_of_folder(
        name, state_of(folder), lambda: _grouped(all_settings(folder), summaries, by)
    )


def groups_of(runs: Sequence[Run], by: Sequence[str]) -> list[RunGroup]:
    """``groups`` of runs of any folders, whose names differ.

    Raises:
        InputError: a run cannot be read.
    """
    named = {run.path.stem: run for run in runs}
    tables = {name: _settings(run.path.parent, name) for name, run in named.items()}
    summaries = {name: summarise(run) for name, run in named.items()}
    return [_opened(group, named.__getitem__) for group in _grouped(tables, summaries, by)]


def _opened(group: ListedGroup, run_of: Callable[[str], Run]) -> RunGroup:
    runs = tuple(run_of(summary.name) for summary in group.summaries)
    return RunGroup(group.label, group.place, group.summaries, group.differ, runs)


def _grouped(
    tables: Mapping[str, Mapping[str, object]],
    summaries: Mapping[str, Summary],
    by: Sequence[str],
) -> list[ListedGroup]:
    members: dict[tuple[str, ...], list[str]] = {}
    for name in tables.keys() & summaries.keys():
        values = tuple(written(tables[name].get(setting)) for setting in by)
        members.setdefault(values, []).append(name)
    result = []
    for place, values in enumerate(sorted(members, key=lambda key: [*map(_order, key)])):
        names = sorted(members[values], key=_order)
        result.append(
            ListedGroup(
                label=_label(by, values),
                place=place,
                summaries=tuple(summaries[name] for name in names),
                differ=_differing([tables[name] for name in names], by),
            )
        )
    return result


def chosen_groups(folder: Where, view: View) -> list[RunGroup]:
    """The groups that ``view`` shows: those it names, or else the first ``MOST_GROUPS``.

    Raises:
        InputError: the folder, or a run of such a group, cannot be read.
    """
    shown = shown_of(groups(folder, view.by), view)
    return [_opened(group, partial(cached_run, folder)) for group in shown]


def shown_of(every: Sequence[AnyGroup], view: View) -> list[AnyGroup]:
    """The groups that ``view`` shows: those it names, or else the first ``MOST_GROUPS``."""
    chosen = [group for group in every if group.label in view.groups]
    return list((chosen or every)[:MOST_GROUPS])


def _settings(folder: Where, name: str) -> Mapping[str, object]:
    in_folder = {FOLDER: name.rpartition("/")[0] or "this folder"}
    settings = listed_run(folder, name).settings
    if settings is None:
        raise InputError(f"the settings of {name} are damaged")
    own = {NAME: _SEED.sub("", name) or name}
    return {**own, **(in_folder if isinstance(folder, Folders) else {}), **settings}


def _is_seed(name: str) -> bool:
    """Whether a setting is a seed, or follows from the run alone."""
    return name.rpartition(".")[2] == "seed" or name in ("device",)


def _differing(tables: Sequence[Mapping[str, object]], by: Sequence[str]) -> tuple[str, ...]:
    names = dict.fromkeys(name for table in tables for name in table)
    return tuple(
        name
        for name in names
        if name not in by
        and name != NAME
        and not _is_seed(name)
        and len({written(table.get(name)) for table in tables}) > 1
    )


def _label(by: Sequence[str], values: Sequence[str]) -> str:
    parts = [
        value if name in _PLAIN or name.endswith((".name", ".method")) else f"{_last(name)} {value}"
        for name, value in zip(by, values, strict=True)
    ]
    return formats.shortened(", ".join(parts), 100)


def _last(name: str) -> str:
    return name.rpartition(".")[2].replace("_", " ")


def _order(text: str) -> list[tuple[int, float, str]]:
    """A key that sorts numbers in a text by their size."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", text)
    return [
        (0, float(part), "") if index % 2 else (1, 0.0, part) for index, part in enumerate(parts)
    ]
