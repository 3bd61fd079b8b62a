"""The page of one run: its metrics, settings and provenance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dash import dcc, html

from landscape.errors import InputError
from landscape.store import Run, Summary, schema, summarise
from landscape.store.heartbeat import STOPPED, status_of
from landscape_app import formats
from landscape_app.components import (
    badge,
    choice,
    fact,
    link,
    notice,
    section,
    table_frame,
    with_code,
)
from landscape_app.data import NotMeasured, progress
from landscape_app.figures import metrics_table
from landscape_app.folders import Where, load_run
from landscape_app.pages import FIGURE_PAGES
from landscape_app.settings import MOST_ROWS, flattened, parts, written
from landscape_app.url import View

_Writer = Callable[[float | None], str]
# label, format of a value, format of a value with its deviation
_METRICS: dict[str, tuple[str, _Writer, Callable[[float, float], str]]] = {
    "accuracy": ("Accuracy", formats.percent, formats.percent_plus_minus),
    "nll": ("NLL (nat)", formats.number, formats.plus_minus),
    "ece": ("ECE", formats.number, formats.plus_minus),
    "brier": ("Brier score", formats.number, formats.plus_minus),
    "rmse": ("RMSE", formats.number, formats.plus_minus),
}


def content(folder: Where, view: View) -> list[Any]:
    """The page of the run ``view.name``, or a notice with the reason why it cannot be shown."""
    try:
        run = load_run(folder, view.name)
        return [*_header(run, view), _predictions(run), _provenance(run)]
    except InputError as error:
        return [
            html.Header([_back(view), html.H1(view.name or "Which run?")], className="page-header"),
            notice("This run cannot be shown", str(error), "error"),
        ]


def _header(run: Run, view: View) -> list[Any]:
    summary = summarise(run)
    seed = "" if summary.seed is None else f"seed {summary.seed}"
    facts = [summary.method, summary.task, seed, formats.moment(summary.created_at)]
    top = html.Header(
        [
            _back(view),
            html.H1([run.name, badge(summary.status)]),
            html.P(" · ".join(filter(None, facts)), className="where"),
        ],
        className="page-header",
    )
    name = run.name
    target = view if name in view.runs else View(runs=(name,))
    pages = {page.title: target.on(page.key) for page in FIGURE_PAGES}
    return [
        top,
        *_remark(run),
        html.Dl(_facts(summary), className="facts"),
        html.Div(choice("Look at it in", pages, ""), className="controls"),
    ]


def _back(view: View) -> dcc.Link:
    return link("← All runs", view.on(""), className="back")


def _predictions(run: Run) -> html.Section:
    about = "The metrics of the average over samples, and of single samples."
    try:
        return section("Predictions", about, table_frame(_metrics_table(run), "Predictions"))
    except NotMeasured as error:
        return section("Predictions", about, notice("Not measured", str(error)))


def _metrics_table(run: Run) -> html.Table:
    metric_rows = metrics_table(run)
    head = ["Metric", "Average over samples", "Single samples: mean ± sd", "Lowest – highest"]
    rows = []
    for row in metric_rows:
        words, written, with_deviation = _METRICS[row.name]
        single, span = formats.ABSENT, formats.ABSENT
        if row.single is not None:
            single = written(row.single.mean)
            if row.single.count > 1:
                single = with_deviation(row.single.mean, row.single.deviation)
                span = f"{written(row.lowest)} – {written(row.highest)}"
        cells = [
            html.Td(value, className="number") for value in (written(row.average), single, span)
        ]
        rows.append(html.Tr([html.Th(words, scope="row"), *cells]))
    return html.Table(
        [
            html.Thead(
                html.Tr(
                    [
                        html.Th(words, scope="col", className="number" if index else "")
                        for index, words in enumerate(head)
                    ]
                )
            ),
            html.Tbody(rows),
        ],
        className="metrics",
    )


def _provenance(run: Run) -> html.Details:
    table = _attributes(run)
    return html.Details([html.Summary("Settings and provenance"), table], className="panel")


def _attributes(run: Run) -> html.Table:
    """A table of all attributes: single values first, then each group of settings."""
    known = [name for name in schema.ATTRIBUTES if name in run.attributes]
    others = sorted(set(run.attributes) - set(known))
    plain: dict[str, object] = {}
    groups: dict[str, dict[str, object]] = {}
    for name in [*known, *others]:
        value = parts(run.attributes[name])
        if not isinstance(value, dict):
            plain[name] = value
        elif name != "config":
            groups[name] = flattened(value)
        else:
            plain |= {
                key: setting for key, setting in value.items() if not isinstance(setting, dict)
            }
            groups |= {
                key: flattened(setting)
                for key, setting in value.items()
                if isinstance(setting, dict)
            }
    left = MOST_ROWS - len(plain)
    body = [html.Tbody([_attribute(*row) for row in list(plain.items())[:MOST_ROWS]])]
    for title, rows in groups.items():
        shown = list(rows.items())[: max(left, 0)]
        left -= len(rows)
        head = html.Tr(html.Th(title, scope="rowgroup", colSpan=2, className="group"))
        if shown:
            body.append(html.Tbody([head, *(_attribute(*row) for row in shown)]))
    if left < 0:
        note = f"{formats.count(-left, 'more setting')}: see `landscape inspect --json`"
        body.append(html.Tbody(html.Tr(html.Td(with_code(note), colSpan=2))))
    return html.Table(body, className="attributes")


def _attribute(name: str, value: object) -> html.Tr:
    meaning = schema.ATTRIBUTES.get(name, "")
    return html.Tr([html.Th(name, scope="row", title=meaning), html.Td(written(value))])


def _facts(summary: Summary) -> Sequence[html.Div]:
    matrix = "" if summary.matrix in (None, "hessian") else f" of the {summary.matrix} matrix"
    note = "" if summary.samples is None else f"with {formats.count(summary.samples, 'sample')}"
    flatness = [
        fact(
            f"{label}{matrix}",
            formats.spread(value),
            "" if value is None or value.count < 2 else f"over {formats.counted(value)}",
        )
        for label, value in (("Largest eigenvalue λ₁", summary.lambda_1), ("Trace", summary.trace))
    ]
    nll = fact("NLL", formats.number(summary.nll), note)
    if summary.rmse is not None:
        predictions = [nll, fact("RMSE", formats.number(summary.rmse), note)]
    else:
        accuracy = fact("Accuracy", formats.percent(summary.accuracy), note)
        predictions = [accuracy, nll, fact("ECE", formats.number(summary.ece), note)]
    return [
        *predictions,
        *flatness,
        fact("Training", formats.duration(summary.training_seconds)),
    ]


def _remark(run: Run) -> list[html.Div]:
    status = status_of(run)
    if status == STOPPED:
        done = progress(run).removeprefix(f"{STOPPED} at ")
        text = "Its process ended without a word: it was killed, or its machine failed"
        text += f" ({done} are there)." if done != STOPPED else "."
        text += " The same command goes on from what was saved."
        return [notice("This run was stopped", text, "error")]
    if status == "running":
        done = progress(run)
        text = (
            f"It is in progress{'' if done == 'running' else f' ({done})'}, or it was interrupted."
        )
        text += " This page follows the file."
        return [notice("This run is not complete", text)]
    if status == "failed":
        saved = "The page shows the results saved before the failure."
        return [notice("This run failed", saved, "error")]
    return []
