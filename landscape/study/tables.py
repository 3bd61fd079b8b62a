"""Tables of results over seeds, as text and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from landscape.results import ANYTHING, Range, SampleMean
from landscape.study.metrics import Results
from landscape.study.statistics import holm, mean_correlation, paired

_HOLM = "t, Holm"
_ROUNDING = 1e-13
"""Less than this is what is left of the difference of equal numbers."""


@dataclass(frozen=True)
class Table:
    """What a study found.

    Attributes:
        title: What it shows.
        columns: Their heads.
        rows: Their cells, as text.
        note: What a reader must know to read it.
        p_values: p-value of each row's t-test, in a table of tests.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    p_values: tuple[float, ...] = ()

    def text(self) -> str:
        """For a terminal."""
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
        """For a document."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        body = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join([f"**{self.title}**", "", *body, *(["", self.note] if self.note else [])])


def means(
    title: str,
    columns: Mapping[str, Results],
    *,
    within: Mapping[str, Range] | None = None,
    digits: int = 3,
    note: str = "",
    first: str = "",
) -> Table:
    """The mean over seeds of each contestant's numbers with its 95 % interval.

    Args:
        title: Title of the table.
        columns: Numbers by column.
        within: Range of a column's numbers, where they have one; see ``SampleMean.of``.
        digits: Significant digits of the mean.
        note: Text below it.
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
    """The mean over seeds of rank correlations; see ``mean_correlation``.

    Args:
        title: Title of the table.
        columns: By column, the correlations, and by row how many pairs each is of at least.
        note: Text below it.
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
    """A row for each name; a cell that is of fewer seeds than the row's largest n says so."""
    names = list(dict.fromkeys(name for spreads in columns.values() for name in spreads))
    rows = []
    for name in names:
        found = [spreads.get(name) for spreads in columns.values()]
        n = max(spread.count for spread in found if spread is not None)
        rows.append((name, str(n), *(_cell(spread, n, digits) for spread in found)))
    return Table(title, (first or "method", "n", *columns), tuple(rows), note)


def _cell(spread: SampleMean | None, n: int, digits: int) -> str:
    if spread is None or not spread.count:
        return "-"
    own = "" if spread.count == n else f" (n = {spread.count})"
    return interval_of(spread, digits) + own


def compared(
    title: str,
    results: Results,
    reference: str,
    *,
    within: Range = ANYTHING,
    digits: int = 2,
    first: str = "",
) -> Table:
    """Every contestant minus ``reference`` on the seeds that both have, with paired tests.

    Holm's correction is left to ``corrected``, which knows the other tests of the page.
    """
    base = results[reference]
    found = {}
    for name, values in results.items():
        common = sorted(set(values) & set(base))
        if name != reference and len(common) > 1:
            pairs = [values[seed] for seed in common], [base[seed] for seed in common]
            found[name] = paired(*pairs, within=within)
    rows = tuple(
        (
            name,
            str(each.difference.count),
            interval_of(each.difference, digits, sign=True),
            probability(each.t_test),
            "-",
            probability(each.wilcoxon),
        )
        for name, each in found.items()
    )
    columns = (first or "method", "n", "difference [95 % interval]", "t", _HOLM, "Wilcoxon")
    return Table(title, columns, rows, p_values=tuple(each.t_test for each in found.values()))


def corrected(tables: Sequence[Table]) -> list[Table]:
    """The tables of one page, with all their t-tests corrected together by Holm."""
    adjusted = iter(holm([p for table in tables for p in table.p_values]))
    found = []
    for table in tables:
        rows = table.rows
        if table.p_values:
            column = table.columns.index(_HOLM)
            rows = tuple(
                (*row[:column], probability(next(adjusted)), *row[column + 1 :]) for row in rows
            )
        found.append(replace(table, rows=rows))
    return found


def _array(values: Mapping[int, float]) -> np.ndarray:
    return np.array(list(values.values()), dtype=float)


def interval_of(spread: SampleMean, digits: int, *, sign: bool = False) -> str:
    """Mean and interval as text."""

    def show(value: float) -> str:
        return number(value, digits, sign=sign)

    if math.isnan(spread.low):
        return show(spread.mean)
    return f"{show(spread.mean)} [{show(spread.low)}, {show(spread.high)}]"


def number(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """A number with so many significant digits and no exponent where it has no need of one."""
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
