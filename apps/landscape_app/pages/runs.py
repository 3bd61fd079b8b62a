"""The list of the runs in a folder, to sort, filter, and choose runs for comparison."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash_ag_grid import AgGrid

from landscape.errors import InputError
from landscape.store import Run, Summary
from landscape_app import formats
from landscape_app.components import (
    choose_one,
    choose_several,
    link,
    named,
    notice,
    section,
    table_frame,
)
from landscape_app.folders import Where, open_runs, root_of
from landscape_app.groups import all_settings, groupings, groups
from landscape_app.hues import hue_names, hues
from landscape_app.other_folders import folders_below, misnamed
from landscape_app.pages.run_rows import cell, columns_of_grid, group_row, run_row
from landscape_app.remarks import Remark, remarks
from landscape_app.run_list import BrokenRun, finite_counts, list_runs
from landscape_app.settings import MOST_ROWS, differences
from landscape_app.url import View

_ROW, _HEADER, _MOST_ROWS, _MOST_COLUMNS = 42, 52, 14, 20


def layout() -> list[Any]:
    """The layout of the page without content. The grid stays mounted and keeps its order."""
    return [
        html.Div(id="runs-header"),
        html.Div(
            [
                # One search field for the whole list. With a field in each column, the Tab key
                # would stop at empty fields above columns of numbers. See grid.js.
                dmc.TextInput(
                    id="find",
                    placeholder="Find by name, method, task or status",
                    size="sm",
                    **named("Find runs"),
                ),
                choose_several(
                    "columns", placeholder="Settings as columns", **named("Settings as columns")
                ),
                choose_one(
                    "hue",
                    placeholder="Colour by a setting or number",
                    clearable=True,
                    **named("Colour by a setting or number"),
                ),
                dcc.Store(id="list-filled"),
                choose_several(
                    "by",
                    placeholder="Group runs by settings",
                    **named("Group runs by settings"),
                ),
                html.Span(id="row-count", role="status"),  # see grid.js
            ],
            id="find-frame",
        ),
        html.Div(id="hue-key", className="hue-key"),
        html.Div(
            AgGrid(
                id="grid",
                columnDefs=columns_of_grid(),
                # Columns share the width. Fitted columns fail in a hidden grid, which has no width.
                defaultColDef={"sortable": True, "filter": False, "flex": 1, "minWidth": 74},
                getRowId="params.data.name",
                dashGridOptions={
                    "rowHeight": _ROW,
                    "rowBuffer": 3,
                    "ensureDomOrder": True,
                    "tooltipShowDelay": 400,
                    "includeHiddenColumnsInQuickFilter": True,
                    "suppressCellFocus": False,
                },
                style={"height": "100%", "width": "100%"},
            ),
            id="grid-frame",
        ),
        html.Div(id="runs-below"),
    ]


def header(folder: Path, view: View) -> html.Header:
    """The heading of the list, with its folder and a way back to the served one."""
    name = view.texts.get("in", "")
    where: list[Any] = ["in ", html.Code(str(folder / name if name else folder))]
    if name:
        where += [" · ", link("all folders", view.in_folder(""))]
    return html.Header([html.H1("Runs"), html.P(where, className="where")], className="page-header")


def fill(folder: Where, view: View) -> tuple[list[dict[str, Any]], dict[str, str], list[Any]]:
    """The rows of the grid, its style, and the content below it."""
    try:
        files = list_runs(folder)
    except InputError as error:
        fault = notice("The folder cannot be read", str(error), "error")
        return [], {"display": "none"}, [fault]
    runs = [run for run in files if isinstance(run, Summary)]
    root = root_of(folder)
    broken = [run for run in files if isinstance(run, BrokenRun)] + misnamed(root)
    below: list[Any] = _differences(open_runs(folder, view)[0])
    inside = folders_below(root)
    if not files:
        below.append(_nothing_here(root))
    if broken:
        below.append(_broken(broken))
    if inside:
        below.append(_inside(root, inside, view))
    height = f"{_HEADER + _ROW * min(len(runs), _MOST_ROWS)}px"
    style = {"height": height} if runs else {"display": "none"}
    if view.by:
        every = groups(folder, view.by)
        height = f"{_HEADER + _ROW * min(len(every), _MOST_ROWS)}px"
        return [group_row(group, view) for group in every], {"height": height}, below
    rows = [run_row(run, run.name in view.runs, finite_counts(folder, run)) for run in runs]
    try:
        noted = remarks(folder)
    except InputError as error:
        noted = {}
        below.append(notice("The notes cannot be read", str(error), "error"))
    for row in rows:
        remark = noted.get(row["name"], Remark())
        row |= {"label": remark.name, "note": remark.note, "pinned": remark.pinned}
    rows.sort(key=lambda row: not row["pinned"])
    columns = chosen_columns(view)
    if columns:
        tables = all_settings(folder)
        for row in rows:
            table = tables.get(row["name"], {})
            row["settings"] = {name: cell(table.get(name)) for name in columns}
    markers = hues(folder, view.texts.get("hue", "")).of_run
    for row in rows:
        if row["name"] in markers:
            row["hue"] = markers[row["name"]]
    return rows, style, below


def hue_options(folder: Where) -> list[dict[str, str]]:
    """The options of the field that colours the list."""
    try:
        return [{"value": name, "label": words} for name, words in hue_names(folder).items()]
    except InputError:  # the list reports it
        return []


def hue_key(folder: Where, view: View) -> list[html.Span]:
    """A legend for the colours of the list."""
    if view.by:
        return []
    try:
        keys = hues(folder, view.texts.get("hue", "")).keys
    except InputError:  # the list reports it
        return []
    return [
        html.Span([html.Span(sign, style={"color": colour}, **{"aria-hidden": "true"}), words])
        for sign, colour, words in keys
    ]


def chosen_columns(view: View) -> list[str]:
    """The settings that are columns of the list."""
    return [name for name in view.texts.get("columns", "").split(",") if name][:_MOST_COLUMNS]


def groupable(folder: Where) -> list[str]:
    """The settings by which the runs of the folder can be grouped."""
    try:
        return groupings(folder)
    except InputError:  # the list reports it
        return []


def _differences(runs: Sequence[Run]) -> list[Any]:
    """A table of the settings that differ between ``runs``."""
    if len(runs) < 2:
        return []
    try:
        settings, compared = differences(runs)
    except InputError as error:
        return [notice("The settings cannot be compared", str(error), "error")]
    rows = [
        html.Tr([html.Th(line.name, scope="row"), *(html.Td(value) for value in line.values)])
        for line in settings[:MOST_ROWS]
    ]
    head = ["Setting", *(run.name for run in runs)]
    table = html.Table(
        [
            html.Thead(html.Tr([html.Th(words, scope="col") for words in head])),
            html.Tbody(rows),
        ],
        className="attributes",
    )
    about = f"{formats.count(len(settings), 'setting')} of {compared}."
    about += f" The first {MOST_ROWS:,} are shown." if len(settings) > MOST_ROWS else ""
    return [section("Settings that differ", about, table_frame(table, "Settings that differ"))]


def _broken(files: Sequence[BrokenRun]) -> html.Section:
    rows = [html.Tr([html.Th(file.name, scope="row"), html.Td(file.reason)]) for file in files]
    return html.Section(
        [
            html.Header([html.H2("Files that cannot be read")]),
            html.Table(html.Tbody(rows), className="broken"),
        ],
        className="panel",
    )


def _nothing_here(folder: Path) -> html.Div:
    return notice(
        "No runs yet",
        f"There are no run files (`*.h5`) in `{folder.absolute()}`. `landscape demo` makes "
        "a few; `landscape train` writes one of your own. This page follows the folder: a run "
        "appears here once it is saved.",
    )


def _inside(folder: Path, folders: Mapping[Path, int], view: View) -> html.Section:
    """Links to the runs of folders inside this one, and to lists of both."""
    before = view.texts.get("in", "")
    added = [name for name in view.texts.get("with", "").split(",") if name]
    names = {path.relative_to(folder).as_posix(): path for path in folders}
    lines = []
    for name, path in names.items():
        target = view.in_folder(f"{before}/{name}" if before else name)
        others = [other for other in added if other != name]
        change = (
            link("take off the list", view.with_folders(others))
            if name in added
            else link("add to the list", view.with_folders([*added, name]))
        )
        command = html.Code(f"landscape app {shlex.quote(str(path))}")
        words = f": {formats.count(folders[path], 'run file')}, "
        lines.append(html.Li([link(name, target), words, change, ", alone with ", command]))
    every = link("Add all of them", view.with_folders(names))
    none = link("take all of them off", view.with_folders(()))
    about = (
        "The list shows one folder, and those that are added to it. Runs of different folders are "
        "then compared on every page, with the folder before their name."
    )
    links = html.P([every, *([" or ", none] if added else []), "."])
    return section(
        "Runs in folders inside this one", about, html.Ul(lines, className="inside"), links
    )
