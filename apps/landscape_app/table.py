"""The numbers behind a figure as rows, one a point: for spreadsheets, and for who cannot see it."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

_GRIDS = ("contour", "surface")
_COLUMNS = ("series", "run", "sample", "quantity_x", "x", "quantity_y", "y")
_MORE = ("minus", "plus", "quantity_z", "z")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins so would be computed by a spreadsheet, and it may come from anybody's file."""

Row = dict[str, str | int | float]


def rows(figure: go.Figure) -> list[Row]:
    """One row for each point of ``figure``.

    Columns are ``series``, ``x``, ``y``, and where the figure has them ``run`` and ``sample``,
    ``minus`` and ``plus`` (lengths of the error bars), ``z``, and what each axis is of. A surface
    has a row for each point of its grid, with its loss as in the file whatever its colour scale.
    """
    found: list[Row] = []
    for trace in figure.data:
        if trace.name is None:  # the halo of another
            continue
        if trace.type in _GRIDS:
            found += _grid_rows(trace)
        elif trace.x is not None and trace.y is not None:
            found += _point_rows(figure, trace)
    return found


def to_csv(figure: go.Figure) -> str:
    """``rows`` as CSV with a header line (RFC 4180, but lines end in one line feed)."""
    found = rows(figure)
    used = {name for row in found for name in row}
    return as_csv(found, [name for name in _COLUMNS + _MORE if name in used])


def as_csv(found: Sequence[Row], columns: Sequence[str] | None = None) -> str:
    """Rows as CSV with a header line; the columns are the first row's if none are named."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns or list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in found)
    return stream.getvalue()


def _grid_rows(trace: Any) -> Iterator[Row]:
    # A logarithmic scale draws logarithms, and keeps beside them what they are of.
    values = np.asarray(trace.z if trace.customdata is None else trace.customdata, dtype=float)
    quantity = _words(trace.colorbar.title.text) or "z"
    for y, line in zip(_plain(trace.y), values.tolist(), strict=True):
        for x, value in zip(_plain(trace.x), line, strict=True):
            yield {"series": _words(trace.name), "x": x, "y": y, "quantity_z": quantity, "z": value}


def _point_rows(figure: go.Figure, trace: Any) -> Iterator[Row]:
    axes = {
        f"quantity_{axis}": _words(_axis(figure, trace, axis).title.text)
        for axis in ("xy" if not trace.type.endswith("3d") else "")
    }
    count = len(trace.x)
    minus, plus = _errors(trace, count)
    custom = [None] * count if trace.customdata is None else list(trace.customdata)
    heights = getattr(trace, "z", None)
    for index, (x, y) in enumerate(zip(_plain(trace.x), _plain(trace.y), strict=True)):
        row: Row = {"series": _words(trace.name), "x": _words(x), "y": y}
        row |= {name: words for name, words in axes.items() if words}
        entry = custom[index]
        if _names_a_sample(entry):
            row |= {"run": _words(entry[0]), "sample": int(entry[1])}
        if plus is not None and minus is not None:
            row |= {"minus": minus[index], "plus": plus[index]}
        if heights is not None:
            row["z"] = _plain(heights)[index]
        yield row


def _errors(trace: Any, count: int) -> tuple[list[Any] | None, list[Any] | None]:
    bars = getattr(trace, "error_y", None)
    if bars is None or bars.array is None or len(bars.array) != count:
        return None, None
    plus = _plain(bars.array)
    return (_plain(bars.arrayminus) if bars.arrayminus is not None else plus), plus


def _names_a_sample(entry: Any) -> bool:
    return (
        isinstance(entry, list | tuple | np.ndarray)
        and len(entry) > 1
        and isinstance(entry[0], str)
        and isinstance(entry[1], int | np.integer)
    )


def _axis(figure: go.Figure, trace: Any, axis: str) -> Any:
    number = (getattr(trace, f"{axis}axis") or axis).removeprefix(axis)
    return figure.layout[f"{axis}axis{number}"]


def _plain(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _words(text: Any) -> Any:
    """Text without Plotly's markup; numbers as they are."""
    if not isinstance(text, str):
        return "" if text is None else text
    return html.unescape(re.sub(r"<br>", " ", re.sub(r"</?(sub|sup|b|i)>", "", text)))


def _cell(value: str | int | float) -> str | int | float:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
