"""Tables of results over seeds, as text and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from landscape.spread import Spread
from landscape.study.readings import Results
from landscape.study.statistics import holm, paired

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
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

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
    title: str, columns: Mapping[str, Results], *, digits: int = 3, note: str = "", first: str = ""
) -> Table:
    """The mean over seeds of each contestant's numbers with its 95 % interval.

    Args:
        title: Of the table.
        columns: The numbers by column.
        digits: Significant ones, of the mean.
        note: Below it.
        first: Head of the first column.
    """
    names = list(dict.fromkeys(name for results in columns.values() for name in results))
    rows = []
    for name in names:
        found = [list(results.get(name, {}).values()) for results in columns.values()]
        n = str(max(map(len, found)))
        rows.append((name, n, *(interval(values, digits) for values in found)))
    head = (first or "method", "n", *columns)
    return Table(title, head, tuple(rows), note)


def comparison(
    title: str, results: Results, reference: str, *, digits: int = 2, first: str = ""
) -> Table:
    """Every contestant minus ``reference`` on the seeds that both have, with paired tests."""
    base = results[reference]
    found = {}
    for name, values in results.items():
        common = sorted(set(values) & set(base))
        if name != reference and len(common) > 1:
            found[name] = paired([values[s] for s in common], [base[s] for s in common])
    adjusted = holm([each.t_test for each in found.values()])
    rows = tuple(
        (
            name,
            str(each.difference.count),
            interval_of(each.difference, digits, sign=True),
            probability(each.t_test),
            probability(corrected),
            probability(each.wilcoxon),
        )
        for (name, each), corrected in zip(found.items(), adjusted, strict=True)
    )
    columns = (first or "method", "n", "difference [95 % interval]", "t", "t, Holm", "Wilcoxon")
    return Table(title, columns, rows)


def interval(values: Sequence[float], digits: int) -> str:
    """Mean and Student's 95 % interval of numbers, or a dash where there is none or one is NaN."""
    if not values or any(map(math.isnan, values)):
        return "-"
    return interval_of(Spread.of(np.asarray(values, dtype=float)), digits)


def interval_of(spread: Spread, digits: int, *, sign: bool = False) -> str:
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
    size = math.floor(math.log10(abs(value))) if value else 0
    if size > 6 or size < -5:
        return f"{value:{'+' if sign else ''}.{digits - 1}e}"
    places = max(0, digits - 1 - size)
    return f"{value:{'+' if sign else ''}.{min(places, digits + 2)}f}"


def probability(p: float) -> str:
    """A p-value as text."""
    if math.isnan(p):
        return "-"
    return "<0.0001" if p < 1e-4 else f"{p:.2g}"
