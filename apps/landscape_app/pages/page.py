"""Definition of a page of figures: a fixed layout, and functions that fill it for a view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from landscape.errors import InputError
from landscape.store import Run
from landscape_app.figures.theme import MARKS, Marks
from landscape_app.folders import Where, open_runs
from landscape_app.groups import RunGroup, chosen_groups
from landscape_app.url import View

Draw = Callable[[Sequence[Run], View], go.Figure | None]
"""Function that draws a figure of the chosen runs, or returns None if the view does not need it."""
DrawGroups = Callable[[Sequence[RunGroup], View], go.Figure]
"""Function that draws a figure of groups of runs."""


def marks(runs: Sequence[Run], view: View) -> Marks:
    """Colour and marker of each run. They depend only on the place of the run."""
    return [MARKS[view.place(run.name)] for run in runs]


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
        grouped: Functions that draw graphs of groups. The others show single runs only.
        of_folder: Functions that draw the graphs of a page about the whole folder, whatever runs
            are chosen.
        controls: Function that returns the links above the figures, which change the view.
        below: Function that returns the content below the figures, such as tables.
        brushed: Identifiers of graphs with posterior samples that a click or a box highlights.
            Their ``customdata`` begins with the run and the number of the sample.
    """

    key: str
    title: str
    layout: Callable[[], list[Any]]
    graphs: Mapping[str, Draw] = field(default_factory=dict)
    grouped: Mapping[str, DrawGroups] = field(default_factory=dict)
    of_folder: Mapping[str, Callable[[Where, View], go.Figure]] = field(default_factory=dict)
    controls: Callable[[Sequence[Run], View], list[Any]] = _no_controls
    below: Callable[[Sequence[Run], View], Any] = _nothing
    brushed: Sequence[str] = ()

    def draw(self, graph: str, chosen: Chosen, view: View) -> go.Figure | None:
        """Draw one of the graphs, of groups if the view has them.

        Returns:
            The figure; None if the view does not need it, or if it does not show groups.

        Raises:
            InputError: there is nothing to draw.
        """
        if self.of_folder:
            return self.of_folder[graph](chosen.folder, view)
        if not view.by:
            return self.graphs[graph](chosen.runs, view)
        draw = self.grouped.get(graph)
        return draw(chosen.groups, view) if draw else None


@dataclass(frozen=True)
class Chosen:
    """What a view shows: runs, or groups of them.

    Attributes:
        folder: Folder of the runs.
        runs: Readable runs of the view; empty if it shows groups.
        faults: Errors of the runs that cannot be read.
        groups: Groups of runs.
    """

    folder: Where
    runs: Sequence[Run]
    faults: Sequence[InputError]
    groups: Sequence[RunGroup] = ()

    @classmethod
    def of(cls, folder: Where, view: View) -> Chosen:
        """Open what ``view`` shows. Errors are among the faults."""
        if not view.by:
            return cls(folder, *open_runs(folder, view))
        try:
            return cls(folder, [], [], chosen_groups(folder, view))
        except InputError as fault:
            return cls(folder, [], [fault])

    def fills(self, page: Page) -> bool:
        """Whether a page has anything to draw."""
        return bool(self.runs or self.groups or page.of_folder)
