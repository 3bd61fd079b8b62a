"""Text fields for the highlighted samples and for the point through which surfaces are sliced.

A reader can also click on samples and points. The fields are always in the layout, so that they
keep the keyboard focus when the page is filled again. ``brush.js`` copies the fields into the
address, and the address into the fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import Output, dcc, html

from landscape.errors import InputError
from landscape.store import Run
from landscape_app.cache import cached
from landscape_app.components import HIDDEN, link, named, shown
from landscape_app.url import MOST_RUNS, View

_COUNTED = {"samples": "sample", "predictions": "nll", "density": "sample"}
"""Small variables with one entry for each sample, by their group."""


def sample_entries(signs: Sequence[html.Span]) -> html.Div:
    """Return one field for each place of a run; the sign of the place labels the field."""
    return html.Div(
        [
            html.Span("Highlight samples", className="control-label"),
            *(
                html.Div(
                    [
                        html.Label([sign, html.Span(id=f"pick-{place}-name")], htmlFor=name),
                        dmc.TextInput(id=name, size="xs", w=110),
                    ],
                    id=f"{name}-entry",
                    className="entry",
                    style=HIDDEN,
                )
                for place, (name, sign) in enumerate(zip(_NAMES, signs, strict=True))
            ),
            html.Span(id="pick-note", role="status"),
        ],
        id="pick-entries",
        style=HIDDEN,
        role="group",
        **named("Highlight samples"),
    )


def point_entry() -> html.Div:
    """Return the field for the point through which surfaces are sliced."""
    return html.Div(
        [
            html.Label("Slices through the point", htmlFor="slice-at", className="control-label"),
            dmc.TextInput(id="slice-at", size="xs", w=150, placeholder="x, y"),
            html.Span(id="slice-note"),
        ],
        className="entry",
    )


def remark_form() -> html.Section:
    """Return the fields for the name, the note and the pin of a run: see ``remarks.py``."""
    return html.Section(
        [
            html.Header(
                [
                    html.H2("Name and note"),
                    html.P("Kept in a small file beside the runs. The run stays as it is."),
                ]
            ),
            dmc.TextInput(id="remark-name", label="Name", size="sm"),
            dmc.Textarea(
                id="remark-note",
                label="Note",
                size="sm",
                autosize=True,
                minRows=2,
            ),
            dmc.Checkbox(id="remark-pinned", label="Pin: first in the list", size="sm"),
            html.Div(
                [dmc.Button("Save", id="remark-save", size="xs"), html.Span(id="remark-told")],
                className="entry",
                role="status",
            ),
            dcc.Store(id="remark-of"),
        ],
        id="remark",
        className="panel",
        style=HIDDEN,
    )


def outputs() -> list[Output]:
    """Return the outputs of the callback that calls ``fill``, in the same order."""
    return [
        Output("pick-entries", "style"),
        *(Output(f"{name}-entry", "style") for name in _NAMES),
        *(Output(f"{name}-name", "children") for name in _NAMES),
        *(Output(name, "placeholder") for name in _NAMES),
        Output("pick-note", "children"),
        Output("slice-note", "children"),
    ]


def fill(runs: Sequence[Run], view: View, highlights: bool) -> list[Any]:
    """Return the styles of the fields for ``view``, their labels, hints and notes.

    Args:
        runs: Readable runs of ``view``.
        view: Current view.
        highlights: Whether the page has figures that highlight samples.
    """
    shown_runs: dict[int, Run] = {}
    if highlights:
        shown_runs = {view.place(run.name): run for run in runs}
    counts = {place: sample_count(run) for place, run in shown_runs.items()}
    names = [shown_runs[place].name if place in shown_runs else "" for place in _PLACES]
    return [
        shown(bool(shown_runs)),
        *(shown(place in shown_runs) for place in _PLACES),
        *names,
        *(_span(counts.get(place, 0)) for place in _PLACES),
        _note(shown_runs, counts, view),
        link("No slices", view.slice_at(None)) if view.at else None,
    ]


def sample_count(run: Run) -> int:
    """Return the number of samples of a run that some figure can highlight."""

    def count() -> int:
        lengths = [0]
        for group in run.groups:
            is_path = group.startswith("surfaces/trajectory")  # its points are no samples
            is_surface = group.startswith("surfaces/") and not is_path
            variable = "sample_x" if is_surface else _COUNTED.get(group)
            if variable:
                group_data = run.read(group, variable)
                lengths += [len(group_data[variable])] if variable in group_data else []
        return max(lengths)

    try:
        return cached("sample count", run.path, count)
    except InputError:  # the figures show the error
        return 0


def _span(count: int) -> str:
    return f"0 – {count - 1}" if count > 1 else "0" if count else "no samples"


def _note(shown_runs: dict[int, Run], counts: dict[int, int], view: View) -> list[Any]:
    """Return notes about samples that do not exist, and a link that highlights no sample."""
    notes: list[Any] = []
    for place, run in shown_runs.items():
        name = run.name
        absent = [index for index in view.picked.get(name, ()) if index >= counts[place]]
        if absent:
            notes.append(f"There is no sample {', '.join(map(str, absent))} of {name}. ")
    if view.picked:
        notes.append(link("Highlight none", view.pick({})))
    return notes


_PLACES = range(MOST_RUNS)
_NAMES = [f"pick-{place}" for place in _PLACES]
