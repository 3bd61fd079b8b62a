"""The figures of the pages without a page: of any runs, by the names of the figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go

from landscape.errors import InputError
from landscape.store import Run
from landscape_app import figures
from landscape_app.data import share_plane, surface_names
from landscape_app.figures import theme
from landscape_app.folders import run_files
from landscape_app.groups import NAME, groups_of, shown_of
from landscape_app.pages import FIGURE_PAGES
from landscape_app.pages.page import Chosen, Page
from landscape_app.pages.surface import SLOTS
from landscape_app.url import MOST_RUNS, View

ALL = "all"
Drawing = tuple[str, go.Figure | InputError]
"""The name of a figure, and the figure or the reason why it cannot be drawn."""


def figure_names() -> list[str]:
    """The names of all figures: those of the graphs of the pages, without the place of a run."""
    return list(dict.fromkeys(_name(graph) for page in FIGURE_PAGES for graph in page.graphs))


def chosen_names(names: Sequence[str]) -> list[str]:
    """The named figures; ``all`` stands for all of them.

    Raises:
        InputError: there is no such figure. The message lists those that there are.
    """
    known = figure_names()
    unknown = [name for name in names if name not in (*known, ALL)]
    if unknown or not names:
        wrong = f"there is no figure '{unknown[0]}'" if unknown else "name a figure"
        raise InputError(f"{wrong}: known are {', '.join([*known, ALL])}")
    return known if ALL in names else list(dict.fromkeys(names))


def find_runs(paths: Sequence[Path]) -> tuple[list[Run], list[InputError]]:
    """The runs of files and folders, in this order, and the errors of broken files in folders.

    Raises:
        InputError: a path is no run and no folder of runs, or two runs have the same name.
    """
    runs: dict[str, Run] = {}
    faults: list[InputError] = []
    for path in paths:
        for file in run_files(path) if path.is_dir() else [path]:
            try:
                run = Run.open(file)
            except InputError as fault:
                if not path.is_dir():
                    raise
                faults.append(fault)
                continue
            other = runs.setdefault(file.stem, run)
            if other.path.resolve() != file.resolve():
                raise InputError(
                    f"{other.path} and {file} have the same name, which figures go by: rename one"
                )
    if not runs:
        raise InputError(f"there is no run in {', '.join(map(str, paths))}")
    return list(runs.values()), faults


def drawings(
    runs: Sequence[Run], names: Sequence[str], view: View, folder: Path | None = None
) -> Iterator[Drawing]:
    """Draw figures of runs as the pages do.

    Up to four runs are compared as runs, more as groups: by default by the names of their files
    without the seed. A figure that shows no groups is then drawn for each run.

    Args:
        runs: The runs, whose names differ.
        names: Names of the figures: see ``figure_names``.
        view: Choices of the pages, such as ``by``, the plane and the scales.
        folder: Folder of the runs, for figures of all its runs; None if they are of several.

    Yields:
        The figures, and the errors of those that cannot be drawn. What a view does not have, such
        as slices without a point, is left out.
    """
    by = view.by or ((NAME,) if len(runs) > MOST_RUNS else ())
    stems = tuple(run.path.stem for run in runs)
    home = folder or runs[0].path.parent
    single = replace(view, by=(), groups=())
    if by:
        view = replace(view, by=by)
        together = Chosen(home, [], [], shown_of(groups_of(runs, by), view))
        alone = [
            (Chosen(home, [run], []), replace(single, runs=(run.path.stem,), places=(0,)))
            for run in runs
        ]
    else:
        view = replace(single, runs=stems, places=tuple(range(len(stems))))
        together, alone = Chosen(home, runs, []), []
    for page in FIGURE_PAGES:
        for graph in page.graphs:
            name = _name(graph)
            if name not in names:
                continue
            if by and graph == SLOTS[0]:
                overlays = list(shared_planes(runs, view))
                yield from overlays
                if overlays and view.plane:
                    continue
            if page.of_folder and folder is None:
                yield name, InputError("it is of all runs of a folder: give one folder")
            elif page.of_folder or not by or graph in page.grouped:
                yield from _drawn(name, page, graph, together, view)
            else:
                parts = [part for one in alone for part in _drawn(name, page, graph, *one)]
                if any(isinstance(drawing, go.Figure) for _, drawing in parts):
                    yield from parts
                else:  # the same reason for each run
                    yield from parts[:1]


def shared_planes(runs: Sequence[Run], view: View) -> Iterator[Drawing]:
    """Draw the planes that all runs with such a surface share, with the samples of each run.

    Args:
        runs: The runs.
        view: Choices of the pages: the plane, or none for all of them; kind, scale and point.
    """
    for plane in [view.plane] if view.plane else surface_names(*runs):
        if share_plane(runs, plane):
            yield (
                "surface",
                figures.shared_surface_figure(
                    *runs,
                    name=plane,
                    kind="3d" if view.setting("view") == "3d" else "contour",
                    log=view.log("loss"),
                    marks=theme.marks(len(runs)),
                    at=view.at,
                ),
            )


def _drawn(name: str, page: Page, graph: str, chosen: Chosen, view: View) -> Iterator[Drawing]:
    try:
        figure = page.draw(graph, chosen, view)
    except InputError as fault:
        yield name, fault
    else:
        if figure is not None:
            yield name, figure


def _name(graph: str) -> str:
    return re.sub(r"-\d+$", "", graph)
