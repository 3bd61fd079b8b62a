"""The list of the runs in a folder, to sort, filter, and choose runs for comparison."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
import numpy as np
from dash import dcc, html
from dash_ag_grid import AgGrid

from landscape.errors import InputError
from landscape.store import Run, SampleMean, Summary
from landscape_app import formats
from landscape_app.components import link, named, notice, section, table_frame
from landscape_app.data import BrokenRun, Where, finite_counts, list_runs, open_runs, root_of
from landscape_app.groups import ListedGroup, all_settings, groupings, groups
from landscape_app.hues import hue_names, hues
from landscape_app.other_folders import folders_below, misnamed
from landscape_app.quantities import LABELS, readings
from landscape_app.remarks import Remark, remarks
from landscape_app.settings import MOST_ROWS, differences
from landscape_app.settings import written as setting_text
from landscape_app.url import MOST_RUNS, View

# field, words, meaning
_TEXTS = (
    ("method", "Method", "Training method"),
    ("task", "Task", "Data and task of the training"),
    ("status", "Status", "running, complete, failed, or stopped: killed while it measured"),
)
_NUMBERS = (
    ("seed", "Seed", "Random seed of the run"),
    ("samples", "Samples", "Number of posterior samples in the averaged prediction"),
    ("accuracy", "Accuracy", "Accuracy of the average over samples"),
    ("nll", "NLL", "Negative log-likelihood of the average over samples, in nat"),
    ("rmse", "RMSE", "Root mean squared error of the average over samples, for regression"),
    ("ece", "ECE", "Expected calibration error of the average over samples"),
    ("lambda_1", "λ₁", "Largest eigenvalue: mean ± standard deviation over samples"),
    ("trace", "Trace", "Trace of the same matrix: mean ± standard deviation over samples"),
    ("training", "Training", "Wall-clock time of training"),
    ("date", "Date", "Day on which the run was made, in UTC"),
)
_WIDE = {"seed": 70, "samples": 93, "accuracy": 96, "lambda_1": 106, "trace": 102}
_WIDE |= {"training": 92, "date": 104, "method": 84, "task": 60, "status": 96}
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
                dmc.MultiSelect(
                    id="columns",
                    placeholder="Settings as columns",
                    data=[],
                    size="sm",
                    searchable=True,
                    clearable=True,
                    hidePickedOptions=True,
                    **named("Settings as columns"),
                ),
                dmc.Select(
                    id="hue",
                    placeholder="Colour by a setting or number",
                    data=[],
                    size="sm",
                    searchable=True,
                    clearable=True,
                    **named("Colour by a setting or number"),
                ),
                dcc.Store(id="list-filled"),
                dmc.MultiSelect(
                    id="by",
                    placeholder="Group runs by settings",
                    data=[],
                    size="sm",
                    searchable=True,
                    clearable=True,
                    hidePickedOptions=True,
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
                columnDefs=_columns(),
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
        return [_group_row(group, view) for group in every], {"height": height}, below
    rows = [_row(run, run.name in view.runs, finite_counts(folder, run)) for run in runs]
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
            row["settings"] = {name: _plain(table.get(name)) for name in columns}
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


def _plain(value: object) -> object:
    """A setting as a number, to sort by, or as text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return formats.finite(value) if is_number else setting_text(value)  # type: ignore[arg-type]


def groupable(folder: Where) -> list[str]:
    """The settings by which the runs of the folder can be grouped."""
    try:
        return groupings(folder)
    except InputError:  # the list reports it
        return []


def _group_row(group: ListedGroup, view: View) -> dict[str, Any]:
    """A row of the grid for a group: means and standard deviations over its runs."""
    tables = [readings(summary) for summary in group.summaries]
    means = {
        name: SampleMean.of(np.array([table[name].value for table in tables if name in table]))
        for name, *_ in _NUMBERS
        if name in LABELS
    }
    means["training"] = SampleMean.of(
        np.array(
            [table["training_seconds"].value for table in tables if "training_seconds" in table]
        )
    )
    written = {
        name: formats.spread(mean) if mean.count else formats.ABSENT for name, mean in means.items()
    }
    if means["accuracy"].count:
        accuracy = means["accuracy"]
        written["accuracy"] = formats.percent_plus_minus(accuracy.mean, accuracy.deviation)
    written["training"] = formats.duration(means["training"].mean)
    written["seed"] = f"n = {len(group.summaries)}"
    newest = max(summary.created_at for summary in group.summaries)
    written["date"] = formats.moment(newest)[:10]

    def same(name: str) -> str:
        values = {str(getattr(summary, name)) for summary in group.summaries}
        return values.pop() if len(values) == 1 else f"{len(values)} different"

    return {
        "name": group.label,
        "label": "",
        "group": True,
        "chosen": group.label in view.groups,
        "about": f"{group.label}: {', '.join(summary.name for summary in group.summaries)}",
        "method": same("method"),
        "task": same("task"),
        "status": same("status"),
        **{name: formats.finite(mean.mean) for name, mean in means.items()},
        "seed": len(group.summaries),
        "date": formats.timestamp(newest),
        "written": written,
        "over": {
            name: f"mean ± standard deviation over {formats.count(mean.count, 'run')}"
            for name, mean in means.items()
            if mean.count
        },
    }


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


def _columns() -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = [
        {
            "field": "chosen",
            "headerName": "Show",
            "headerTooltip": f"Choose up to {MOST_RUNS} runs to compare",
            "cellRenderer": "ChooseRun",
            "getQuickFilterText": {"function": "''"},
            "flex": 0,
            "width": 60,
            "minWidth": 60,
        },
        {"field": "name", "headerName": "Run", "headerTooltip": "Name of the file of the run"}
        | {"cellRenderer": "RunLink", "tooltipField": "about", "flex": 3, "minWidth": 140}
        | {"getQuickFilterText": {"function": "params.data.name + ' ' + params.data.label"}},
    ]
    for name, words, meaning in _TEXTS:
        column = {"field": name, "headerName": words, "headerTooltip": meaning}
        columns.append(column | {"tooltipField": name, "minWidth": _WIDE[name]})
    columns[-1] |= {"cellRenderer": "Status"}
    columns.append(
        {"field": "note", "headerName": "Note", "headerTooltip": "What is noted about the run"}
        | {"tooltipField": "note", "hide": True, "flex": 2, "minWidth": 90}  # see grid.js
    )
    for name, words, meaning in _NUMBERS:
        columns.append(
            {
                "field": name,
                "headerName": words,
                "headerTooltip": meaning,
                "tooltipField": f"over.{name}",  # if the number is a mean over samples
                "minWidth": _WIDE.get(name, 72),
                "hide": name == "rmse",  # shown once a run has one: see grid.js
                "type": "rightAligned",
                "filter": "agNumberColumnFilter",
                "getQuickFilterText": {"function": "''"},
                # The grid sorts by the number and shows the formatted text.
                "valueFormatter": {"function": f"params.data.written.{name}"},
            }
        )
    return columns


def _row(run: Summary, chosen: bool, finite: Mapping[str, str]) -> dict[str, Any]:
    """A row of the grid.

    Args:
        run: Summary of the run.
        chosen: Whether the run is chosen.
        finite: Text in place of each mean over samples that is not finite.
    """
    written = {
        "seed": formats.ABSENT if run.seed is None else str(run.seed),
        "samples": formats.ABSENT if run.samples is None else f"{run.samples:,}",
        "accuracy": formats.percent(run.accuracy),
        "nll": formats.number(run.nll),
        "rmse": formats.number(run.rmse),
        "ece": formats.number(run.ece),
        "lambda_1": formats.spread(run.lambda_1),
        "trace": formats.spread(run.trace),
        "training": formats.duration(run.training_seconds),
        "date": formats.moment(run.created_at)[:10],
        **finite,
    }
    spreads = {"lambda_1": run.lambda_1, "trace": run.trace}
    # Two of them are comparable at equal training loss only.
    fit = "" if run.train_loss is None else f", training loss {formats.spread(run.train_loss)}"
    return {
        "name": run.name,
        "chosen": chosen,  # sort key; the check box itself follows the address
        "about": f"{run.name}, made {formats.moment(run.created_at)}",
        "method": run.method,
        "task": run.task,
        "status": run.status,
        "seed": run.seed,
        "samples": run.samples,
        "accuracy": formats.finite(run.accuracy),
        "nll": formats.finite(run.nll),
        "rmse": formats.finite(run.rmse),
        "ece": formats.finite(run.ece),
        **{name: formats.finite(mean.mean if mean else None) for name, mean in spreads.items()},
        "training": formats.finite(run.training_seconds),
        "date": formats.timestamp(run.created_at),
        "written": written,
        "over": {
            name: f"over {formats.counted(mean)}{fit}"
            for name, mean in spreads.items()
            if mean is not None
        },
    }


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
