"""The page of one run: its layout, which never changes, and what fills it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from dash import dcc, html

from landscape.errors import InputError
from landscape.store import Run, Summary, schema, summarise
from landscape_app import formats
from landscape_app.components import badge, fact, graph, notice, section, switch
from landscape_app.data import NotMeasured
from landscape_app.figures import metrics_table

_SCALES = {"linear": "linear", "log": "logarithmic"}
_brief = partial(formats.number, digits=2)
# words, how a value is written, how its deviation is
_METRICS = {
    "accuracy": ("Accuracy", formats.percent, formats.percent),
    "nll": ("Negative log-likelihood (nat)", formats.number, _brief),
    "ece": ("Expected calibration error", formats.number, _brief),
    "brier": ("Brier score", formats.number, _brief),
}


def layout() -> list[Any]:
    """The page with nothing in it yet; callbacks fill it by the identifiers."""
    controls = html.Div(
        [
            html.Div(
                [
                    html.Label("Plane", htmlFor="surface-name", className="control-label"),
                    dcc.Dropdown(id="surface-name", clearable=False, searchable=False),
                ],
                id="surface-chooser",
                className="control",
            ),
            switch("surface-kind", "View", {"contour": "contour", "3d": "3D"}, "contour"),
            switch("surface-scale", "Loss scale", _SCALES, "linear"),
        ],
        className="controls",
    )
    return [
        html.Div(id="run-header"),
        html.Div(
            [
                section(
                    "Loss surface",
                    "The loss on a plane in parameter space, with the posterior's samples "
                    "projected onto it. Hover over a sample for its distance to the plane.",
                    controls,
                    graph("surface", "Loss surface"),
                ),
                section(
                    "Flatness",
                    "Curvature of the loss at each sample of the posterior: smaller is flatter.",
                    html.Div(
                        switch("eigenvalue-scale", "Eigenvalue axis", _SCALES, "linear"),
                        className="controls",
                    ),
                    html.Div(
                        [
                            graph("eigenvalues", "Largest Hessian eigenvalues of each sample"),
                            graph("trace", "Trace of the Hessian at each sample"),
                        ],
                        className="columns",
                    ),
                ),
                section(
                    "Predictions",
                    "What averaging over the samples gains over any single one of them.",
                    graph("metrics", "NLL and accuracy of single samples and of their average"),
                    html.Div(id="metrics-table"),
                ),
                section(
                    "Training",
                    "Loss and accuracy as training went on.",
                    graph("training", "Losses and validation accuracy by epoch"),
                ),
                html.Details(
                    [html.Summary("Settings and provenance"), html.Div(id="run-attributes")],
                    className="panel",
                ),
            ],
            id="run-sections",
        ),
    ]


def header(run: Run) -> list[Any]:
    """Name, status and the numbers that sum the run up.

    Raises:
        InputError: the file is damaged where they are read.
    """
    found = summarise(run)
    seed = "" if found.seed is None else f"seed {found.seed}"
    facts = [found.method, found.task, seed, formats.moment(found.created_at)]
    top = html.Header(
        [
            back(),
            html.H1([run.path.stem, badge(found.status)]),
            html.P(" · ".join(filter(None, facts)), className="where"),
        ],
        className="page-header",
    )
    return [top, *_remark(found.status), html.Dl(_facts(found), className="facts")]


def not_there(error: InputError) -> list[Any]:
    """What stands in place of a run that cannot be shown."""
    return [
        html.Header(back(), className="page-header"),
        notice("This run cannot be shown", str(error), "error"),
    ]


def back() -> dcc.Link:
    """The way back to the list."""
    return dcc.Link("← All runs", href="/", className="back")


def metrics(run: Run) -> html.Table | None:
    """The predictive metrics as a table; None without predictions, which the figure's place says.

    Raises:
        InputError: the file is damaged where they are read.
    """
    try:
        found = metrics_table(run)
    except NotMeasured:
        return None
    head = ["Metric", "Average over samples", "One sample alone: mean ± sd", "Lowest – highest"]
    rows = []
    for row in found:
        words, written, written_deviation = _METRICS[row.name]
        single, span = formats.ABSENT, formats.ABSENT
        if row.single is not None:
            single = written(row.single.mean)
            if row.single.count > 1:
                single += f" ± {written_deviation(row.single.deviation)}"
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


def attributes(run: Run) -> html.Table:
    """Every attribute of the run; JSON is indented, and a hover gives an attribute's meaning."""
    known = [name for name in schema.ATTRIBUTES if name in run.attributes]
    others = sorted(set(run.attributes) - set(known))
    rows = [
        html.Tr(
            [
                html.Th(name, scope="row", title=schema.ATTRIBUTES.get(name, "")),
                html.Td(_attribute(run.attributes[name])),
            ]
        )
        for name in [*known, *others]
    ]
    return html.Table(html.Tbody(rows), className="attributes")


def _facts(found: Summary) -> Sequence[html.Div]:
    over = "" if found.samples is None else f"with {formats.count(found.samples, 'sample')}"
    flatness = [
        fact(
            label,
            formats.ABSENT if value is None else formats.number(value.mean),
            ""
            if value is None or value.count < 2
            else f"± {formats.number(value.deviation, 2)} over {value.count} samples",
        )
        for label, value in (("Largest eigenvalue λ₁", found.lambda_1), ("Trace", found.trace))
    ]
    return [
        fact("Accuracy", formats.percent(found.accuracy), over),
        fact("NLL", formats.number(found.nll), over),
        fact("ECE", formats.number(found.ece), over),
        *flatness,
        fact("Training", formats.duration(found.training_seconds)),
    ]


def _remark(status: str) -> list[html.Div]:
    if status == "running":
        text = "It is in progress, or it was interrupted. This page follows the file."
        return [notice("This run is not complete", text)]
    if status == "failed":
        return [notice("This run failed", "What was saved before is shown.", "error")]
    return []


def _attribute(value: str | int | float) -> Any:
    if not isinstance(value, str):
        return str(value)
    try:
        loaded = json.loads(value)
    except ValueError:
        return value or formats.ABSENT
    if isinstance(loaded, dict):
        return html.Pre(json.dumps(loaded, indent=2, ensure_ascii=False))
    return ", ".join(map(str, loaded)) if isinstance(loaded, list) else value
