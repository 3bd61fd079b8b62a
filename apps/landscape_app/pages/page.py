"""Definition of a page of figures: a fixed layout, and functions that fill it for a view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from landscape.store import Run
from landscape_app.figures.theme import MARKS, Marks
from landscape_app.url import View

Draw = Callable[[Sequence[Run], View], go.Figure | None]
"""Function that draws a figure of the chosen runs, or returns None if the view does not need it."""


def marks(runs: Sequence[Run], view: View) -> Marks:
    """Colour and marker of each run. They depend only on the place of the run."""
    return [MARKS[view.place(run.path.stem)] for run in runs]


def _nothing(_: Sequence[Run], __: View) -> Any:
    return None


def _no_controls(_: Sequence[Run], __: View) -> list[Any]:
    return []


@dataclass(frozen=True)
class Page:
    """One of the pages that compare runs.

    Attributes:
        key: First part of the page's address.
        title: Title of the page.
        layout: Function that returns the layout with empty graphs.
        graphs: Functions that draw the graphs, by the identifier of the graph.
        controls: Function that returns the links above the figures, which change the view.
        below: Function that returns the content below the figures, such as tables.
        brushed: Identifiers of graphs with posterior samples that a click or a box highlights.
            Their ``customdata`` begins with the run and the number of the sample.
    """

    key: str
    title: str
    layout: Callable[[], list[Any]]
    graphs: Mapping[str, Draw] = field(default_factory=dict)
    controls: Callable[[Sequence[Run], View], list[Any]] = _no_controls
    below: Callable[[Sequence[Run], View], Any] = _nothing
    brushed: Sequence[str] = ()
