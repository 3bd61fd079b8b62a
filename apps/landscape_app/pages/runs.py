"""The page that lists the runs of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dash import dcc, html

from landscape.errors import InputError
from landscape.store import Spread, Summary
from landscape_app import formats
from landscape_app.components import badge, notice
from landscape_app.data import BrokenRun, list_runs

_COLUMNS = (
    ("Run", "", ""),
    ("Method and task", "", ""),
    ("Status", "", ""),
    ("Samples", "number", "Posterior samples that the predictions average over"),
    ("Accuracy", "number", "Accuracy of the average over samples"),
    ("NLL", "number", "Negative log-likelihood of the average over samples, in nat"),
    ("ECE", "number", "Expected calibration error of the average over samples"),
    ("λ₁", "number", "Largest Hessian eigenvalue: mean ± standard deviation over samples"),
    ("Trace", "number", "Trace of the Hessian: mean ± standard deviation over samples"),
    ("Training", "number", "Wall-clock time of training"),
)


def content(folder: Path) -> list[Any]:
    """Everything below the header: the runs, the broken files, or why there are none."""
    heading = html.Header(
        [html.H1("Runs"), html.P(["in ", html.Code(str(folder))], className="where")],
        className="page-header",
    )
    try:
        found = list_runs(folder)
    except InputError as error:
        return [heading, notice("The folder cannot be read", str(error), "error")]
    runs = [run for run in found if isinstance(run, Summary)]
    broken = [run for run in found if isinstance(run, BrokenRun)]
    body: list[Any] = [heading]
    if runs:
        body.append(_table(runs))
    elif not broken:
        body.append(_nothing_here(folder))
    if broken:
        body.append(_broken(broken))
    return body


def no_such_page(pathname: str) -> list[Any]:
    """What stands at an address that is neither the list nor a run."""
    return [
        notice("No such page", f"There is nothing at `{pathname}`.", "error"),
        dcc.Link("← All runs", href="/", className="back"),
    ]


def address(name: str) -> str:
    """The path of a run's page."""
    return "/run/" + quote(name, safe="")


def _table(runs: Sequence[Summary]) -> html.Div:
    head = [
        html.Th(words, scope="col", className=kind, title=meaning)
        for words, kind, meaning in _COLUMNS
    ]
    table = html.Table(
        [html.Thead(html.Tr(head)), html.Tbody([_row(run) for run in runs])], className="runs"
    )
    return html.Div(table, className="panel table-frame")


def _row(run: Summary) -> html.Tr:
    seed = "" if run.seed is None else f"seed {run.seed}"
    task = " · ".join(filter(None, [run.task, seed]))
    name = [
        dcc.Link(run.name, href=address(run.name)),
        html.Small(formats.moment(run.created_at)),
    ]
    numbers = (
        formats.ABSENT if run.samples is None else f"{run.samples:,}",
        formats.percent(run.accuracy),
        formats.number(run.nll),
        formats.number(run.ece),
        _spread(run.lambda_1),
        _spread(run.trace),
        formats.duration(run.training_seconds),
    )
    return html.Tr(
        [
            html.Th(name, scope="row"),
            html.Td([run.method or formats.ABSENT, html.Small(task)]),
            html.Td(badge(run.status)),
            *(html.Td(value, className="number") for value in numbers),
        ]
    )


def _spread(spread: Spread | None) -> str:
    return formats.ABSENT if spread is None else formats.spread(spread.mean, spread.deviation)


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
        f"Looked for run files (`*.h5`) in `{folder.absolute()}`, not in folders inside it, and "
        "found none. `landscape demo` makes a few; `landscape train` writes one "
        "of your own. This page follows the folder: a run appears here once it is saved.",
    )
