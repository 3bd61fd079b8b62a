"""The panels of a figure as plain data, until they are drawn.

Plotly checks each property of a figure against its schema, which takes most of the time that a
figure takes: 15 ms for the titles and ranges of six axes. Figures are made here without its check,
and the tests make it in its place.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscape_app.figures.theme import TEMPLATE, Trace


class Panels:
    """Empty panels in rows and columns, and the looks of their axes.

    A title is given as a text or as Plotly's dict; other properties are Plotly's, in nested dicts.

    Args:
        rows: Number of rows.
        cols: Number of columns.
        **look: Other arguments of ``plotly.subplots.make_subplots``, with tuples in place of lists.
    """

    def __init__(self, rows: int = 1, cols: int = 1, **look: Any) -> None:
        layout, self._grid = _empty(rows=rows, cols=cols, **look)
        self._layout = copy.deepcopy(layout)
        self._cells = [(row, col) for row in range(1, rows + 1) for col in range(1, cols + 1)]

    @staticmethod
    def axes(place: int) -> dict[str, str]:
        """The axes of a trace by the place of its panel from 1 on: along the first row, then on."""
        return {"xaxis": f"x{_number(place)}", "yaxis": f"y{_number(place)}"}

    def x(self, row: int | None = None, col: int | None = None, **look: Any) -> None:
        """Change the x axis of a panel, or those of a row, of a column, or of all panels.

        Args:
            row: Row of the panels, from 1 on; all rows if it is left out.
            col: Column of the panels.
            **look: Properties of the axis. One that is None is taken away.
        """
        self._change("xaxis", row, col, look)

    def y(self, row: int | None = None, col: int | None = None, **look: Any) -> None:
        """Change y axes, as ``x``."""
        self._change("yaxis", row, col, look)

    def titles(self, **look: Any) -> None:
        """Change the titles of the panels, which ``subplot_titles`` gave them."""
        for title in self._layout["annotations"]:
            title.update(look)

    def _change(self, axis: str, row: int | None, col: int | None, look: dict[str, Any]) -> None:
        if isinstance(look.get("title"), str):
            look["title"] = {"text": look["title"]}
        for place, cell in enumerate(self._cells, start=1):
            if row in (None, cell[0]) and col in (None, cell[1]):
                name = f"{axis}{_number(place)}"
                changed = self._layout.get(name, {}) | look
                self._layout[name] = {
                    key: value for key, value in changed.items() if value is not None
                }

    def drawn(self, traces: Sequence[Trace], **layout: Any) -> go.Figure:
        """The figure with traces.

        Args:
            traces: Properties of the traces, as by ``theme.scatter``, with their ``axes``.
            **layout: Properties of the layout beside those of the panels.
        """
        return figure_of(traces, self._layout | layout, self._grid)


def figure_of(
    traces: Sequence[Trace], layout: Mapping[str, Any], grid: Mapping[str, Any] | None = None
) -> go.Figure:
    """A figure of traces and a layout in nested dicts, with the theme; see ``Panels``."""
    parts = {"data": list(traces), "layout": {**layout, "template": TEMPLATE}, **(grid or {})}
    return go.Figure(parts, _validate=False)


def _number(place: int) -> str:
    return "" if place == 1 else str(place)


@lru_cache(maxsize=64)
def _empty(**look: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The layout of empty panels, and their places for those who go on with the figure."""
    figure = make_subplots(**look)
    layout = figure.layout.to_plotly_json()
    del layout["template"]
    return layout, {"_grid_ref": figure._grid_ref, "_grid_str": figure._grid_str}
