"""Fields to type in what else is clicked: which samples are highlighted, where surfaces are sliced.

They are always in the layout, so that none loses the keyboard when the page is filled anew.
``brush.js`` writes what is typed into the address, and what the address says into the fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import Output, dcc, html

from landscape.errors import InputError
from landscape.store import Run
from landscape_app.cache import cached
from landscape_app.components import HIDDEN, named, shown
from landscape_app.url import MOST_RUNS, View

_COUNTED = {"samples": "sample", "predictions": "nll", "density": "sample"}
"""Small variables that have an entry for each sample."""


def sample_entries(signs: Sequence[html.Span]) -> html.Div:
    """A field for each place of a run, under the sign of that place."""
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
    """The field for the point through which surfaces are sliced."""
    return html.Div(
        [
            html.Label("Slices through the point", htmlFor="slice-at", className="control-label"),
            dmc.TextInput(id="slice-at", size="xs", w=150, placeholder="x, y"),
            html.Span(id="slice-note"),
        ],
        className="entry",
    )


def outputs() -> list[Output]:
    """What ``fill`` gives the values of."""
    return [
        Output("pick-entries", "style"),
        *(Output(f"{name}-entry", "style") for name in _NAMES),
        *(Output(f"{name}-name", "children") for name in _NAMES),
        *(Output(name, "placeholder") for name in _NAMES),
        Output("pick-note", "children"),
        Output("slice-note", "children"),
    ]


def fill(runs: Sequence[Run], view: View, highlights: bool) -> list[Any]:
    """Which fields there are for ``view``, and what stands beside them.

    Args:
        runs: Those of its runs that can be read.
        view: What is shown.
        highlights: Whether there are figures on the page in which samples are highlighted.
    """
    here: dict[int, Run] = {view.place(run.path.stem): run for run in runs} if highlights else {}
    counts = {place: sample_count(run) for place, run in here.items()}
    names = [here[place].path.stem if place in here else "" for place in _PLACES]
    return [
        shown(bool(here)),
        *(shown(place in here) for place in _PLACES),
        *names,
        *(_span(counts.get(place, 0)) for place in _PLACES),
        _note(here, counts, view),
        dcc.Link("No slices", href=view.slice_at(None).address) if view.at else None,
    ]


def sample_count(run: Run) -> int:
    """How many samples of a run there are to highlight, in any figure."""

    def count() -> int:
        lengths = [0]
        for group in run.groups:
            is_surface = group.startswith("surfaces/")
            variable = "sample_x" if is_surface else _COUNTED.get(group)
            if variable:
                found = run.read(group, variable)
                lengths += [len(found[variable])] if variable in found else []
        return max(lengths)

    try:
        return cached("sample count", run.path, count)
    except InputError:  # the figures say what is wrong
        return 0


def _span(count: int) -> str:
    return f"0 – {count - 1}" if count > 1 else "0" if count else "no samples"


def _note(here: dict[int, Run], counts: dict[int, int], view: View) -> list[Any]:
    """The way to highlight none, and which of those that are asked for there are not."""
    notes: list[Any] = []
    for place, run in here.items():
        name = run.path.stem
        absent = [index for index in view.picked.get(name, ()) if index >= counts[place]]
        if absent:
            notes.append(f"There is no sample {', '.join(map(str, absent))} of {name}. ")
    if view.picked:
        notes.append(dcc.Link("Highlight none", href=view.pick({}).address))
    return notes


_PLACES = range(MOST_RUNS)
_NAMES = [f"pick-{place}" for place in _PLACES]
