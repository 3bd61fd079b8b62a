"""What figures with one point a posterior sample share: whose it is, and whether highlighted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from landscape.store import Group, Run
from landscape_app import formats

Picked = Mapping[str, Sequence[int]]
"""Samples to highlight, by the name of their run."""

NONE: Picked = {}

_MATRICES = {
    "hessian": "the Hessian",
    "gauss-newton": "the Gauss–Newton matrix",
    "empirical-fisher": "the empirical Fisher information",
}


def points(run: Run, count: int, picked: Picked, *others: Sequence[Any]) -> dict[str, Any]:
    """The properties of a Plotly trace whose points are samples 0, 1, ... of ``run``.

    Args:
        run: The run.
        count: Its samples.
        picked: What is highlighted; nothing is if this names no sample of any run.
        *others: More columns of ``customdata``, after the run's name and the sample's number.
    """
    columns = [[plain_name(run)] * count, list(range(count)), *map(list, others)]
    properties: dict[str, Any] = {"customdata": list(zip(*columns, strict=True))}
    if any(picked.values()):
        mine = [index for index in picked_of(run, picked) if index < count]
        properties |= {"selectedpoints": mine, "unselected": {"marker": {"opacity": 0.18}}}
    return properties


def picked_of(run: Run, picked: Picked) -> list[int]:
    """The highlighted samples of ``run``."""
    return list(picked.get(run.path.stem, ()))


def aside(position: int, runs: int) -> float:
    """How far beside the whole numbers a run's points stand, so as not to hide another's."""
    return 0.16 * (position - (runs - 1) / 2)


def whole_ticks(samples: int) -> dict[str, object]:
    """An axis of samples: half a sample is no place for a tick, and a lone one needs no stretch."""
    return {"range": [-0.5, samples - 0.5], "tick0": 0, "dtick": max(1, round(samples / 10))}


def about(runs: Sequence[Run], found: Mapping[int, Group], axis: str) -> list[str]:
    """In words: how many samples on which data, a line for each different answer, and who has none.

    Args:
        runs: All runs.
        found: What was read of them.
        axis: The variable that has one row a sample.
    """
    lines: dict[str, list[str]] = {}
    for position, group in found.items():
        lines.setdefault(_measured_on(group, len(group[axis])), []).append(runs[position].path.stem)
    without = [run.path.stem for position, run in enumerate(runs) if position not in found]
    if without:
        lines["not in the file"] = without
    if len(runs) == 1:
        return list(lines)
    return [" · ".join(f"{', '.join(names)}: {words}" for words, names in lines.items())]


def matrices(runs: Sequence[Run], found: Mapping[int, Group]) -> tuple[str, str]:
    """What the curvature is of, and a line that tells the runs apart where it is not the same.

    Args:
        runs: All runs.
        found: What was read of them: groups with the attribute ``matrix``.
    """
    words = {position: _matrix(group) for position, group in found.items()}
    if len(set(words.values())) == 1:
        return next(iter(words.values())), ""
    line = " · ".join(f"{runs[position].path.stem}: {word}" for position, word in words.items())
    return "the curvature matrix", line


def _matrix(group: Group) -> str:
    # Files that do not say are older than any other matrix.
    name = str(group.attributes.get("matrix", "hessian"))
    return _MATRICES.get(name, f"the matrix {name}")


def plain_name(run: Run) -> str:
    """What a run is called in a figure: its file's name, without markup."""
    return formats.plain(run.path.stem)


def _measured_on(group: Group, samples: int) -> str:
    requested = group.attributes.get("requested", samples)
    counted = formats.count(samples, "sample")
    if requested != samples:
        counted = f"{samples} of {requested} samples"
    examples, split = group.attributes.get("examples"), group.attributes.get("split")
    where = f" on {examples} examples" if examples is not None else ""
    return counted + where + (f" ({split})" if split else "")
