"""Shared parts of figures of several runs: the data of a point, details, legends, missing runs.

The ``meta`` of a trace describes its numbers for ``landscape_app.table``. A trace without ``meta``
is only decoration: the edge of a band, a halo, an entry of the legend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.store import Group, Run, SampleMean
from landscape.store.heartbeat import STOPPED, status_of
from landscape.store.summary import count
from landscape_app import formats
from landscape_app.data import PerRun
from landscape_app.figures import theme

Picked = Mapping[str, Sequence[int]]
"""Samples to highlight, by the name of their run."""

NONE: Picked = {}

_LONGEST_NAME = 48
_FADED = 0.18
"""Opacity of the other samples when some samples are highlighted."""
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
    """Properties of a Plotly trace that describe its numbers.

    Args:
        run: Run that the numbers belong to.
        series: Short name of the numbers.
        axes: Axes that show the numbers unchanged.
        once: Whether the trace is a single number drawn as a line.
        of_sample: Index of the posterior sample that all numbers belong to.
        **columns: More numbers of each point, which become ``customdata``. Columns named ``x``,
            ``y``, ``minus`` and ``plus`` replace numbers that are drawn elsewhere or not at all.
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
    """``numbers`` for a grid (Y, X). A column named ``z`` replaces the drawn numbers."""
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
    """Properties of a Plotly trace whose points are samples 0, 1, ... of ``run``.

    Args:
        run: Run file.
        series: Name of the points.
        count: Number of samples of the run.
        picked: Samples to highlight. If it is empty, all samples look the same.
        axes: Axes that show the numbers unchanged. An axis of sample indices is not one of them:
            a point may stand beside its index.
        **columns: More columns of ``customdata``, after the name of the run and the sample index.
    """
    identity = {"run": [plain_name(run)] * count, "sample": list(range(count))}
    all_columns: dict[str, Any] = {**identity, **columns}
    properties = numbers(run, series, axes=axes, **all_columns)
    if any(picked.values()):
        highlighted = [index for index in picked_of(run, picked) if index < count]
        properties |= {"selectedpoints": highlighted, "unselected": {"marker": {"opacity": _FADED}}}
    return properties


def with_bars(trace: theme.Trace, colour: str) -> list[theme.Trace]:
    """``trace`` with its error bars in ``colour``, and faded bars for faded points.

    Plotly fades points but not their bars. The bars of highlighted points are therefore a second
    trace.
    """
    bars = trace["error_y"]
    highlighted = trace.get("selectedpoints")
    if highlighted is None:
        return [trace | {"error_y": {**bars, "color": colour}}]
    highlighted_bars = theme.scatter(
        x=np.asarray(trace["x"])[highlighted],
        y=np.asarray(trace["y"])[highlighted],
        error_y={**bars, "color": colour, "array": np.asarray(bars["array"])[highlighted]},
        mode="none",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=trace.get("legendgroup"),
    )
    return [trace | {"error_y": {**bars, "color": theme.faint(colour, _FADED)}}, highlighted_bars]


def keys(
    runs: Sequence[Run],
    data: Mapping[int, Any],
    marks: theme.Marks,
    dashes: Mapping[str, str],
) -> list[theme.Trace]:
    """A legend with one entry for each run, and one for each kind of line.

    Args:
        runs: All runs.
        data: Data of the runs, by position. Lines of a run have its name as ``legendgroup``.
        marks: Colour and marker of each run.
        dashes: Dash of each kind of line, by its label.
    """
    entries = []
    for position in data:
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
    return list(picked.get(run.name, ()))


def aside(position: int, runs: int) -> float:
    """The offset of a run's points from integer positions, so that runs do not overlap."""
    return 0.16 * (position - (runs - 1) / 2)


def whole_ticks(samples: int) -> dict[str, Any]:
    """Settings of an axis of samples: integer ticks, and a fixed range even for one sample."""
    return {"range": [-0.5, samples - 0.5], "tick0": 0, "dtick": max(1, round(samples / 10))}


def about(runs: Sequence[Run], groups: PerRun[Group], axis: str) -> list[str]:
    """Lines of details: the number of samples and the data of each run, then the missing runs.

    Args:
        runs: All runs.
        groups: Groups of the runs, by position.
        axis: Variable with one row for each sample.
    """
    lines = {position: _measured_on(group, len(group[axis])) for position, group in groups.items()}
    if len(runs) == 1:
        return list(lines.values())
    return [by_run(runs, lines), absent(runs, groups)]


def by_run(runs: Sequence[Run], words: Mapping[int, str]) -> str:
    """A line with the text of each run, by position. Runs with the same text are joined."""
    names: dict[str, list[str]] = {}
    for position, text in words.items():
        names.setdefault(text, []).append(runs[position].name)
    return " · ".join(f"{', '.join(stems)}: {text}" for text, stems in names.items())


def lost(runs: Sequence[Run], values: Mapping[int, Sequence[np.ndarray]]) -> str:
    """A line with the number of values of each run that are not finite; empty if all are finite.

    Args:
        runs: All runs.
        values: Drawn numbers of each run, by its position in ``runs``.
    """
    counts = {
        position: sum(int(np.count_nonzero(~np.isfinite(array))) for array in arrays)
        for position, arrays in values.items()
    }
    words = {
        position: f"{formats.count(count, 'value')} not finite: not drawn"
        for position, count in counts.items()
        if count
    }
    return by_run(runs, words) if len(runs) > 1 else "".join(words.values())


def not_highlighted(runs: Sequence[Run], picked: Picked, counts: Mapping[int, int]) -> str:
    """A line with the highlighted samples that a figure does not have; empty if it has all.

    Args:
        runs: All runs.
        picked: Highlighted samples.
        counts: Number of samples of each run in the figure, by its position in ``runs``.
    """
    words = {}
    for position, measured in counts.items():
        lost = [str(index) for index in picked_of(runs[position], picked) if index >= measured]
        if lost:
            words[position] = f"highlighted sample {', '.join(lost)}: not measured, not here"
    return by_run(runs, words) if len(runs) > 1 else "".join(words.values())


def absent(runs: Sequence[Run], results: PerRun[Any]) -> str:
    """A line with the runs that are not in the figure, and the reasons; empty if there are none."""
    return by_run(runs, results.absent)


def different_data(runs: Sequence[Run], results: PerRun[Any]) -> str:
    """A warning if the runs predict different data; empty otherwise."""
    fingerprints = {runs[position].attributes.get("data_fingerprint") for position in results}
    if len(fingerprints) < 2 or None in fingerprints:  # an old file does not state it
        return ""
    return "the data of the runs differ: compare samples within a run, not levels between runs"


def matrices(runs: Sequence[Run], groups: Mapping[int, Group]) -> tuple[str, str]:
    """The name of the curvature matrix, and a line with the matrix of each run if they differ.

    Args:
        runs: All runs.
        groups: Groups of the runs, by position, with the attribute ``matrix``.
    """
    words = {position: _matrix(group) for position, group in groups.items()}
    if len(set(words.values())) == 1:
        return next(iter(words.values())), ""
    return "the curvature matrix", by_run(runs, words)


def titled(
    figure: go.Figure,
    runs: Sequence[Run],
    name: str,
    title: str,
    *details: str,
    height: int | None = None,
    **look: Any,
) -> go.Figure:
    """``theme.titled`` with the name of the run if there is only one run.

    The figure's ``layout.meta`` holds its names outside of the page: ``file`` is the stem of a file
    name, ``title`` the title of a document, and ``height`` the height of the figure's place.

    Args:
        figure: Figure to title. It is changed in place and returned.
        runs: All runs.
        name: Name of the figure.
        title: Title of one line.
        *details: Lines of details.
        height: Height of the figure in pixels, if it is not that of the others.
        **look: Other arguments of ``theme.titled``.
    """
    stems = [run.name for run in runs]
    full_title = f"{', '.join(stems)}: {title}"
    file = formats.file_name("-".join([name, *stems]))
    meta: dict[str, object] = {"file": file, "title": full_title}
    meta |= {} if height is None else {"height": height}
    figure.update_layout(meta=meta)
    shown_title = full_title if len(runs) == 1 else title
    return theme.titled(figure, shown_title, unfinished(runs), *details, **look)


def unfinished(runs: Sequence[Run]) -> str:
    """A line with the runs that failed or were stopped; empty if there are none."""
    words = {"failed": "failed: what it had saved", STOPPED: "stopped: what it had saved"}
    found = {place: status_of(run) for place, run in enumerate(runs)}
    lines = {place: words[status] for place, status in found.items() if status in words}
    return by_run(runs, lines) if len(runs) > 1 else "".join(lines.values())


def interval_bars(means: Sequence[SampleMean]) -> dict[str, Any]:
    """Error bars of the 95 % intervals of means; no bar where there is no interval."""
    middle, low, high = np.array([[mean.mean, mean.low, mean.high] for mean in means]).T
    look = {"type": "data", "symmetric": False, "thickness": 2, "width": 6}
    return look | {"array": high - middle, "arrayminus": middle - low}


def legend_name(run: Run) -> str:
    """The name of a run in a legend, shortened to leave room for others."""
    return formats.plain(formats.shortened(run.name, _LONGEST_NAME))


def plain_name(run: Run) -> str:
    """The name of a run in a figure: the stem of its file, with markup escaped."""
    return formats.plain(run.name)


def _matrix(group: Group) -> str:
    # Old files do not state the matrix. They hold the Hessian.
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
