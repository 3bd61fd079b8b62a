"""What a page of figures is: a layout that never changes, and what fills it for a view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from landscape.store import Run
from landscape_app.figures.theme import MARKS, Marks
from landscape_app.url import View

Draw = Callable[[Sequence[Run], View], go.Figure | None]
"""A figure of the chosen runs; None where this view has no use for it."""


def marks(runs: Sequence[Run], view: View) -> Marks:
    """Colour and marker of each run: those of its place, whoever else is chosen."""
    return [MARKS[view.place(run.path.stem)] for run in runs]


def _nothing(_: Sequence[Run], __: View) -> Any:
    return None


def _no_controls(_: Sequence[Run], __: View) -> list[Any]:
    return []


@dataclass(frozen=True)
class Page:
    """One of the pages that compare runs.

    Attributes:
        key: First part of its address.
        title: Its name.
        layout: Function that lays it out, with empty graphs.
        graphs: Function that draws each of its graphs, by the graph's identifier.
        controls: The links that change what is shown.
        below: Content below the figures, such as tables.
        brushed: Graphs whose points are posterior samples, which a click or a box highlights.
            Their ``customdata`` begins with the run and the sample's number.
    """

    key: str
    title: str
    layout: Callable[[], list[Any]]
    graphs: Mapping[str, Draw] = field(default_factory=dict)
    controls: Callable[[Sequence[Run], View], list[Any]] = _no_controls
    below: Callable[[Sequence[Run], View], Any] = _nothing
    brushed: Sequence[str] = ()
