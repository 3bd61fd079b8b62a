"""The numbers behind a figure as rows, one for each point: for spreadsheets and screen readers."""

from __future__ import annotations

import csv
import html
import io
import itertools
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

_GRIDS = ("contour", "surface")
_COLUMNS = ("series", "group", "run", "sample", "quantity_x", "x", "quantity_y", "y")
_MORE = ("minus", "plus", "quantity_z", "z")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of formulas. A spreadsheet would evaluate such a text, which is not trusted."""

Row = dict[str, str | int | float]


def rows(figure: go.Figure) -> list[Row]:
    """One row for each number of ``figure``. The rows of a surface's grid come last.

    The columns are ``series`` and ``run`` and, if the figure has them, ``sample``, ``x`` and ``y``
    with the quantity on each of these axes, ``minus`` and ``plus`` (lengths of the error bars),
    ``z`` of a surface's grid, and more. The numbers are those of the file, also if an axis shows
    them in another scale.
    """
    return [row for part in _parts(figure) for row in part]


def to_csv(figure: go.Figure) -> str:
    """``rows`` as CSV with a header line (RFC 4180, except that lines end in a line feed)."""
    parts: list[Iterator[Row]] = []
    used: dict[str, None] = {}
    for part in _parts(figure):  # all rows of a part have the same columns
        for row in itertools.islice(part, 1):
            used |= dict.fromkeys(row)
            parts.append(itertools.chain([row], part))
    first = [name for name in _COLUMNS + _MORE if name in used]
    columns = [*first, *(name for name in used if name not in first)]
    return as_csv(itertools.chain.from_iterable(parts), columns)


def as_csv(lines: Iterable[Row], columns: Sequence[str]) -> str:
    """Rows as CSV with a header line."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in lines)
    return stream.getvalue()


def _parts(figure: go.Figure) -> Iterator[Iterator[Row]]:
    """The rows of each trace that has numbers, with grids last."""
    numbers = [trace for trace in figure.data if isinstance(trace.meta, dict)]
    for trace in numbers:  # other traces are only decoration: see figures.samples
        if trace.type not in _GRIDS:
            yield _point_rows(figure, trace)
    for trace in numbers:
        if trace.type in _GRIDS:
            yield _grid_rows(trace)


def _grid_rows(trace: Any) -> Iterator[Row]:
    names = ("z", *trace.meta.get("columns", ()))
    values = np.asarray(trace.z, dtype=float)[..., None]
    if trace.customdata is not None:  # a z among these replaces the drawn number
        values = np.concatenate([values, trace.customdata], axis=-1)
    about = _about(trace) | {"quantity_z": _words(trace.colorbar.title.text) or "z"}
    for y, line in zip(_plain(trace.y), values.tolist(), strict=True):
        for x, point in zip(_plain(trace.x), line, strict=True):
            yield {**about, "x": x, "y": y, **dict(zip(names, point, strict=True))}


def _point_rows(figure: go.Figure, trace: Any) -> Iterator[Row]:
    about = _about(trace)
    axes = {axis: _plain(trace[axis]) for axis in trace.meta["axes"]}
    if not trace.type.endswith("3d"):
        about |= {f"quantity_{axis}": _words(_quantity(figure, trace, axis)) for axis in axes}
    names, more = trace.meta.get("columns", ()), trace.customdata  # every access makes a copy
    bars = _errors(trace)
    ends = trace.meta.get("ends", ())
    gaps = set(ends)
    for index in range(1 if trace.meta.get("once") else len(trace.x)):
        if names and all(value == "" for value in more[index]):  # a gap between two lines
            continue
        if index in gaps:  # the gap after the line of a run
            continue
        if ends:
            about["run"] = _words(trace.meta["runs"][bisect_left(ends, index)])
        row = about | {axis: _words(values[index]) for axis, values in axes.items()}
        row |= {name: lengths[index] for name, lengths in bars.items()}
        if names:
            row |= {name: _words(value) for name, value in zip(names, more[index], strict=True)}
        yield row


def _about(trace: Any) -> Row:
    about: Row = {"series": _words(trace.meta["series"]), "run": _words(trace.meta["run"])}
    about |= {"group": _words(trace.meta["group"])} if "group" in trace.meta else {}
    return about | ({"sample": trace.meta["sample"]} if "sample" in trace.meta else {})


def _errors(trace: Any) -> dict[str, list[Any]]:
    bars = getattr(trace, "error_y", None)
    if bars is None or bars.array is None:
        return {}
    plus = _plain(bars.array)
    minus = _plain(bars.arrayminus) if bars.arrayminus is not None else plus
    return {"minus": minus, "plus": plus}


def _quantity(figure: go.Figure, trace: Any, axis: str) -> Any:
    """The title of an axis, or of the axis that it matches: panels in a row share one title."""
    number = (getattr(trace, f"{axis}axis") or axis).removeprefix(axis)
    drawn = figure.layout[f"{axis}axis{number}"]
    if drawn.title.text is None and drawn.matches:
        drawn = figure.layout[f"{axis}axis{drawn.matches.removeprefix(axis)}"]
    return drawn.title.text


def _plain(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _words(text: Any) -> Any:
    """Text without Plotly's markup; numbers unchanged."""
    if not isinstance(text, str):
        return "" if text is None else text
    return html.unescape(re.sub(r"<br>", " ", re.sub(r"</?(sub|sup|b|i)>", "", text)))


def _cell(value: str | int | float) -> str | int | float:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
