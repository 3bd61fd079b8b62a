"""What figures of several runs share: whose a point is, which numbers it stands for, who has none.

A trace says in its ``meta`` what its numbers are, for ``landscape_app.table``; one without that is
drawing alone: a band's edge, a halo, a key of the legend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.store import Group, Run
from landscape.store.summary import count
from landscape_app import formats
from landscape_app.data import PerRun
from landscape_app.figures import theme

Picked = Mapping[str, Sequence[int]]
"""Samples to highlight, by the name of their run."""

NONE: Picked = {}

_FADED = 0.18
"""Opacity of the samples that are not highlighted, where others are."""
_MATRICES = {
    "hessian": "the Hessian",
    "gauss-newton": "the Gauss–Newton matrix",
    "empirical-fisher": "the empirical Fisher information",
}


def numbers(
    run: Run,
    series: str,
    /,
    *,
    axes: str = "xy",
    once: bool = False,
    of_sample: int | None = None,
    **columns: Sequence[Any] | np.ndarray,
) -> dict[str, Any]:
    """The properties of a Plotly trace that say what its numbers are.

    Args:
        run: The run that they belong to.
        series: Name of the numbers, in a few words.
        axes: The axes on which the numbers lie unchanged.
        once: Whether it is one number, drawn as a line.
        of_sample: The posterior sample that all numbers belong to.
        **columns: More numbers of each point, which become ``customdata``. Those called ``x``,
            ``y``, ``minus`` and ``plus`` stand for what is drawn in another place or left out.
    """
    meta: dict[str, Any] = {"run": plain_name(run), "series": series, "axes": axes}
    meta |= {"once": True} if once else {}
    meta |= {"sample": of_sample} if of_sample is not None else {}
    if not columns:
        return {"meta": meta}
    listed = [
        column.tolist() if isinstance(column, np.ndarray) else column for column in columns.values()
    ]
    return {
        "meta": meta | {"columns": list(columns)},
        "customdata": list(zip(*listed, strict=True)),
    }


def grid_numbers(run: Run, series: str, /, **columns: np.ndarray) -> dict[str, Any]:
    """``numbers`` of a grid (Y, X); a column called ``z`` stands for what is drawn otherwise."""
    properties = numbers(run, series)
    if columns:
        properties["meta"] |= {"columns": list(columns)}
        properties["customdata"] = np.stack(list(columns.values()), axis=-1)
    return properties


def points(
    run: Run,
    series: str,
    count: int,
    picked: Picked,
    *,
    axes: str = "y",
    **columns: Sequence[Any] | np.ndarray,
) -> dict[str, Any]:
    """The properties of a Plotly trace whose points are samples 0, 1, ... of ``run``.

    Args:
        run: The run.
        series: Name of the points.
        count: Number of its samples.
        picked: Samples to highlight. Nothing is highlighted if it names no sample of any run.
        axes: The axes on which the numbers lie unchanged. An axis of the samples' numbers is not
            one: a point may stand beside its number.
        **columns: More of ``customdata``, after the run's name and the sample's number.
    """
    whose = {"run": [plain_name(run)] * count, "sample": list(range(count))}
    every: dict[str, Any] = {**whose, **columns}
    properties = numbers(run, series, axes=axes, **every)
    if any(picked.values()):
        mine = [index for index in picked_of(run, picked) if index < count]
        properties |= {"selectedpoints": mine, "unselected": {"marker": {"opacity": _FADED}}}
    return properties


def with_bars(trace: theme.Trace, colour: str) -> list[theme.Trace]:
    """``trace`` with its error bars in ``colour``, faded where its points are.

    Plotly fades points and not their bars: those of the highlighted ones are then drawn apart.
    """
    bars = trace["error_y"]
    mine = trace.get("selectedpoints")
    if mine is None:
        return [trace | {"error_y": {**bars, "color": colour}}]
    chosen = theme.scatter(
        x=np.asarray(trace["x"])[mine],
        y=np.asarray(trace["y"])[mine],
        error_y={**bars, "color": colour, "array": np.asarray(bars["array"])[mine]},
        mode="none",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=trace.get("legendgroup"),
    )
    return [trace | {"error_y": {**bars, "color": theme.faint(colour, _FADED)}}, chosen]


def keys(
    runs: Sequence[Run],
    found: Mapping[int, Any],
    marks: theme.Marks,
    dashes: Mapping[str, str],
) -> list[theme.Trace]:
    """A legend of what tells lines apart: an entry for each run, and one for each kind of line.

    Args:
        runs: All runs.
        found: What was read of them. Lines of a run have its name as ``legendgroup``.
        marks: Colour and marker of each run.
        dashes: Dash of each kind of line, by its words.
    """
    entries = []
    for position in found:
        colour, symbol = marks[position]
        name = plain_name(runs[position])
        look = {"line": {"color": colour}, "marker": {"symbol": symbol, "size": 8}}
        entries.append(theme.key(name, legendgroup=name, mode="lines+markers", **look))
    return entries + [
        theme.key(words, mode="lines", line={"color": theme.MUTED, "dash": dash})
        for words, dash in dashes.items()
    ]


def picked_of(run: Run, picked: Picked) -> list[int]:
    """The highlighted samples of ``run``."""
    return list(picked.get(run.path.stem, ()))


def aside(position: int, runs: int) -> float:
    """How far beside the whole numbers a run's points stand, so as not to hide another's."""
    return 0.16 * (position - (runs - 1) / 2)


def whole_ticks(samples: int) -> dict[str, object]:
    """An axis of samples: half a sample is no place for a tick, and a lone one needs no stretch."""
    return {"range": [-0.5, samples - 0.5], "tick0": 0, "dtick": max(1, round(samples / 10))}


def about(runs: Sequence[Run], found: PerRun[Group], axis: str) -> list[str]:
    """In words: how many samples on which data, a line for each different answer, and who has none.

    Args:
        runs: All runs.
        found: What was read of them.
        axis: The variable that has one row a sample.
    """
    lines = {position: _measured_on(group, len(group[axis])) for position, group in found.items()}
    if len(runs) == 1:
        return list(lines.values())
    return [by_run(runs, lines), absent(runs, found)]


def by_run(runs: Sequence[Run], words: Mapping[int, str]) -> str:
    """What is to be said of each run, by its position; those of which it is the same together."""
    names: dict[str, list[str]] = {}
    for position, each in words.items():
        names.setdefault(each, []).append(runs[position].path.stem)
    return " · ".join(f"{', '.join(whose)}: {each}" for each, whose in names.items())


def lost(runs: Sequence[Run], values: Mapping[int, Sequence[np.ndarray]]) -> str:
    """How many values of each run are not finite, and so not drawn; empty if all are.

    Args:
        runs: All runs.
        values: Numbers drawn of each run, by its position among them.
    """
    counts = {
        position: sum(int(np.count_nonzero(~np.isfinite(each))) for each in arrays)
        for position, arrays in values.items()
    }
    words = {
        position: f"{formats.count(count, 'value')} not finite: not drawn"
        for position, count in counts.items()
        if count
    }
    return by_run(runs, words) if len(runs) > 1 else "".join(words.values())


def absent(runs: Sequence[Run], found: PerRun[Any]) -> str:
    """The runs that are not in the figure, and why; empty if all are."""
    return by_run(runs, found.absent)


def different_data(runs: Sequence[Run], found: PerRun[Any]) -> str:
    """A warning where the runs' predictions are of different data; empty where they are not."""
    data = {runs[position].attributes.get("data_fingerprint") for position in found}
    if len(data) < 2 or None in data:  # an older file does not say
        return ""
    return "the data of the runs differ: compare samples within a run, not levels between runs"


def matrices(runs: Sequence[Run], found: Mapping[int, Group]) -> tuple[str, str]:
    """What the curvature is of, and a line that tells the runs apart where it is not the same.

    Args:
        runs: All runs.
        found: Their groups, which have the attribute ``matrix``.
    """
    words = {position: _matrix(group) for position, group in found.items()}
    if len(set(words.values())) == 1:
        return next(iter(words.values())), ""
    return "the curvature matrix", by_run(runs, words)


def titled(
    figure: go.Figure, runs: Sequence[Run], name: str, title: str, *details: str, **look: Any
) -> go.Figure:
    """``theme.titled`` with the name of the run where there is only one.

    The figure's ``layout.meta`` says what it is called outside of the page: ``file`` is the
    beginning of a file's name, ``title`` that of a document.

    Args:
        figure: Changed in place, and returned.
        runs: All runs.
        name: Name of the figure.
        title: Title of one line.
        *details: Lines of details.
        **look: Further settings of ``theme.titled``.
    """
    stems = [run.path.stem for run in runs]
    whole = f"{', '.join(stems)}: {title}"
    file = formats.file_name("-".join([name, *stems]))
    figure.update_layout(meta={"file": file, "title": whole})
    return theme.titled(figure, whole if len(runs) == 1 else title, *details, **look)


def plain_name(run: Run) -> str:
    """What a run is called in a figure: its file's name, without markup."""
    return formats.plain(run.path.stem)


def _matrix(group: Group) -> str:
    # Files that do not say are older than any other matrix.
    name = formats.label(group.attributes, "matrix", "hessian")
    return _MATRICES.get(name, f"the matrix {name}")


def _measured_on(group: Group, samples: int) -> str:
    requested = count(group.attributes, "requested")
    counted = formats.count(samples, "sample")
    if requested not in (None, samples):
        counted = f"{samples} of {requested} samples"
    examples, split = count(group.attributes, "examples"), formats.label(group.attributes, "split")
    where = f" on {examples} examples" if examples is not None else ""
    return counted + where + (f" ({split})" if split else "")
