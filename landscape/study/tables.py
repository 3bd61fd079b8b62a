"""Tables of results over seeds, as text and as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from landscape.results import ANYTHING, Range, SampleMean
from landscape.runtime.files import atomic_write
from landscape.study.figures import Figure, Series, numbers
from landscape.study.metrics import Results
from landscape.study.statistics import holm, mean_correlation, paired

_HOLM = "t, Holm"
_ROUNDING = 1e-13
"""Numbers below this are rounding errors of a difference that is zero."""


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        title: Title of the table.
        columns: Heads of the columns.
        rows: Cells of each row, as text.
        note: Explanation below the table.
        p_values: p-value of each row's t-test; empty in a table without tests.
        figure: Picture of the table's numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    p_values: tuple[float, ...] = ()
    figure: Figure | None = None

    def text(self) -> str:
        """The table as aligned text, for a terminal."""
        lines = (self.columns, *self.rows)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        body = [
            "  ".join(
                cell.ljust(width) if index == 0 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, *body, *([self.note] if self.note else [])])

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        body = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join([f"**{self.title}**", "", *body, *(["", self.note] if self.note else [])])


def write_page(folder: Path, name: str, introduction: str, tables: Sequence[Table]) -> None:
    """Write the page ``NAME.md`` of a study, and the numbers of its figures to ``NAME.json``."""
    parts = [f"# {name}", introduction, *(table.markdown() for table in tables)]
    with atomic_write(folder / f"{name}.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n")
    pictures = [asdict(table.figure) for table in tables if table.figure is not None]
    if pictures:
        with atomic_write(folder / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(pictures) + "\n")


def means(
    title: str,
    columns: Mapping[str, Results],
    *,
    within: Mapping[str, Range] | None = None,
    digits: int = 3,
    note: str = "",
    first: str = "",
) -> Table:
    """A table of means over seeds with their 95 % intervals, one row per method.

    Args:
        title: Title of the table.
        columns: Numbers of each column.
        within: Ranges of the columns' numbers; a column without a range is unbounded.
        digits: Significant digits of the mean.
        note: Text below the table.
        first: Head of the first column.
    """
    ranges = within or {}
    spreads = {
        label: {
            name: SampleMean.of(_array(values), within=ranges.get(label, ANYTHING))
            for name, values in results.items()
        }
        for label, results in columns.items()
    }
    return _of_spreads(title, spreads, digits=digits, note=note, first=first)


def correlations(
    title: str,
    columns: Mapping[str, tuple[Results, Mapping[str, int]]],
    *,
    note: str = "",
    first: str = "",
) -> Table:
    """A table of rank correlations, averaged over seeds by ``mean_correlation``.

    Args:
        title: Title of the table.
        columns: Correlations of each column, and the smallest number of pairs in each row.
        note: Text below the table.
        first: Head of the first column.
    """
    spreads = {
        label: {
            name: mean_correlation(_array(values), pairs[name]) for name, values in results.items()
        }
        for label, (results, pairs) in columns.items()
    }
    return _of_spreads(title, spreads, digits=3, note=note, first=first)


def _of_spreads(
    title: str,
    columns: Mapping[str, Mapping[str, SampleMean]],
    *,
    digits: int,
    note: str,
    first: str,
) -> Table:
    """A table with one row per name. A cell shows its n if it is smaller than the row's n."""
    names = list(dict.fromkeys(name for spreads in columns.values() for name in spreads))
    rows = []
    for name in names:
        row = [spreads.get(name) for spreads in columns.values()]
        n = max(spread.count for spread in row if spread is not None)
        rows.append((name, str(n), *(_cell(spread, n, digits) for spread in row)))
    return Table(title, (first or "method", "n", *columns), tuple(rows), note)


def _cell(spread: SampleMean | None, n: int, digits: int) -> str:
    if spread is None or not spread.count:
        return "-"
    count = "" if spread.count == n else f" (n = {spread.count})"
    return mean_and_interval(spread, digits) + count


def differences(
    title: str,
    results: Results,
    reference: str,
    *,
    within: Range = ANYTHING,
    digits: int = 2,
    first: str = "",
) -> Table:
    """A table of differences from ``reference`` on common seeds, with paired tests.

    The column of Holm's correction stays empty. ``corrected`` fills it, because the correction
    depends on all tests of a page.
    """
    base = results[reference]
    tests = {}
    for name, values in results.items():
        common = sorted(set(values) & set(base))
        if name != reference and len(common) > 1:
            pairs = [values[seed] for seed in common], [base[seed] for seed in common]
            tests[name] = paired(*pairs, within=within)
    rows = tuple(
        (
            name,
            str(test.difference.count),
            mean_and_interval(test.difference, digits, sign=True),
            probability(test.t_test),
            "-",
            probability(test.wilcoxon),
        )
        for name, test in tests.items()
    )
    columns = (first or "method", "n", "difference [95 % interval]", "t", _HOLM, "Wilcoxon")
    return Table(title, columns, rows, p_values=tuple(test.t_test for test in tests.values()))


def corrected(tables: Sequence[Table]) -> list[Table]:
    """The tables of one page, with Holm's correction over all their t-tests."""
    adjusted = iter(holm([p for table in tables for p in table.p_values]))
    page = []
    for table in tables:
        rows = table.rows
        if table.p_values:
            column = table.columns.index(_HOLM)
            rows = tuple(
                (*row[:column], probability(next(adjusted)), *row[column + 1 :]) for row in rows
            )
        page.append(replace(table, rows=rows))
    return page


def over_seeds(
    label: str, x: Sequence[float | str], results: Results, *, line: bool = False
) -> Series:
    """Means over seeds with their 95 % intervals, as a series of a figure.

    Args:
        label: Name in the legend.
        x: Horizontal place of each row of ``results``.
        results: Numbers by name and seed.
        line: Whether the points are joined.
    """
    spreads = [SampleMean.of(_array(values)) for values in results.values()]
    mean, low, high = (
        numbers(getattr(spread, name) for spread in spreads) for name in ("mean", "low", "high")
    )
    return Series(label, tuple(x), mean, low, high, line)


def _array(values: Mapping[int, float]) -> np.ndarray:
    return np.array(list(values.values()), dtype=float)


def mean_and_interval(spread: SampleMean, digits: int, *, sign: bool = False) -> str:
    """Mean and interval as text. The interval is left out if it is not known."""

    def show(value: float) -> str:
        return number(value, digits, sign=sign)

    if math.isnan(spread.low):
        return show(spread.mean)
    return f"{show(spread.mean)} [{show(spread.low)}, {show(spread.high)}]"


def number(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """A number with ``digits`` significant digits. Very large and very small ones get an exponent.

    Args:
        value: The number.
        digits: Number of significant digits.
        sign: Whether positive numbers have a plus sign.
    """
    if not math.isfinite(value):
        return str(value)
    value = 0.0 if abs(value) < _ROUNDING else value
    rounded = float(f"{value:.{digits - 1}e}")  # 0.9999 is written as 1.00
    size = math.floor(math.log10(abs(rounded))) if rounded else 0
    if size > 6 or size < -5:
        return f"{value:{'+' if sign else ''}.{digits - 1}e}"
    places = max(0, digits - 1 - size)
    return f"{value:{'+' if sign else ''}.{min(places, digits + 2)}f}"


def probability(p: float) -> str:
    """A p-value as text."""
    if math.isnan(p):
        return "-"
    return "<0.0001" if p < 1e-4 else f"{p:.2g}"
