"""What is on every page: the way to the others, and the runs that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from landscape.errors import InputError
from landscape.store import Run
from landscape_app.components import named, notice
from landscape_app.data import progress
from landscape_app.figures.theme import MARKS
from landscape_app.pages import FIGURE_PAGES
from landscape_app.url import View

_SIGNS = ("●", "■", "◆", "▲")
"""The markers of ``MARKS`` as text."""


def pages(view: View) -> html.Ul:
    """Links to all pages, with the same choices there."""
    titles = {"": "Runs"} | {page.key: page.title for page in FIGURE_PAGES}
    return html.Ul(
        [
            html.Li(
                dcc.Link(
                    title, href=view.on(key).address, className="active" if key == view.page else ""
                ),
                **({"aria-current": "page"} if key == view.page else {}),
            )
            for key, title in titles.items()
        ]
    )


def compared(runs: Sequence[Run], view: View) -> html.Ul | None:
    """The chosen runs, each with the marker that it has in all figures and a way to drop it."""
    if not view.runs:
        return None
    readable = {run.path.stem: run for run in runs}
    chips = []
    for name in view.runs:
        sign, about = "✕", " (cannot be read)"
        style: dict[str, str] = {}
        if name in readable:
            place = view.place(name)
            sign, (colour, _) = _SIGNS[place], MARKS[place]
            style, about = {"color": colour}, progress(readable[name])
        chips.append(
            html.Li(
                [
                    html.Span(sign, style=style, **{"aria-hidden": "true"}),
                    dcc.Link(name, href=view.on("run", name).address, title=f"Details of {name}"),
                    html.Small(about),
                    dcc.Link(
                        "×",
                        href=view.toggle(name).address,
                        className="drop",
                        title=f"Take {name} off",
                    ),
                ]
            )
        )
    return html.Ul(chips, **named("Chosen runs"))


def trouble(view: View, faults: Sequence[InputError]) -> list[Any]:
    """What stands above the figures in place of those that cannot be drawn."""
    if view.page not in {page.key for page in FIGURE_PAGES}:
        return []
    if not view.runs:
        choose = dcc.Link("list of runs", href=view.on("").address)
        return [notice("No run is chosen", ["Choose up to four of them in the ", choose, "."])]
    return [notice("This run cannot be shown", str(fault), "error") for fault in faults]


def highlighted(view: View) -> html.P | None:
    """Which samples are highlighted, and the way to stop it."""
    if not view.picked:
        return None
    words = [f"{run}: {', '.join(map(str, picked))}" for run, picked in view.picked.items()]
    return html.P(
        [
            f"Highlighted samples, in every figure: {'; '.join(words)}. ",
            dcc.Link("Highlight none", href=view.pick({}).address),
        ]
    )
