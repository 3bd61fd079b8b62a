"""Parts of every page: links to the other pages, and the runs that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from landscape.errors import InputError
from landscape.store import Run
from landscape_app.components import named, notice
from landscape_app.data import progress
from landscape_app.figures.theme import MARKS, SIGNS
from landscape_app.pages import FIGURE_PAGES
from landscape_app.url import View

_TITLES = {page.key: page.title for page in FIGURE_PAGES}


def sign(place: int) -> html.Span:
    """The marker of the run in a place. The name of the run stands beside it."""
    colour, symbol = MARKS[place]
    return html.Span(SIGNS[symbol], style={"color": colour}, **{"aria-hidden": "true"})


def heading(view: View) -> html.H1 | None:
    """The title of a page of figures. The other pages have titles of their own."""
    return html.H1(_TITLES[view.page]) if view.page in _TITLES else None


def document_title(view: View) -> str:
    """The title of the page in the browser's tab and history."""
    titles = {"": "Runs", "run": view.name} | _TITLES
    title = titles.get(view.page, "No such page")
    if view.page in _TITLES and view.runs:
        title += f": {', '.join(view.runs)}"
    return f"{title} · landscape"


def pages(view: View) -> html.Ul:
    """Links to all pages, which keep the present choices."""
    titles = {"": "Runs"} | _TITLES
    return html.Ul(
        [
            html.Li(
                dcc.Link(
                    title, href=view.on(key).address, className="active" if key == view.page else ""
                ),
                **({"aria-current": "page"} if key == view.page else {}),
            )
            for key, title in titles.items()
        ],
        **{"data-address": view.address},  # see address.js
    )


def compared(runs: Sequence[Run], view: View) -> html.Ul | None:
    """The chosen runs, each with its marker in all figures and a link that removes it."""
    if not view.runs:
        return None
    readable = {run.path.stem: run for run in runs}
    chips = []
    for name in view.runs:
        mark, about = html.Span("✕", **{"aria-hidden": "true"}), " (cannot be read)"
        if name in readable:
            mark, about = sign(view.place(name)), progress(readable[name])
        chips.append(
            html.Li(
                [
                    mark,
                    dcc.Link(name, href=view.on("run", name).address, title=f"Details of {name}"),
                    html.Small(about, className=_standing(about)),
                    dcc.Link(
                        "×",
                        href=view.toggle(name).address,
                        className="drop",
                        title=f"Take {name} off",
                    ),
                ],
            )
        )
    return html.Ul(chips, **named("Chosen runs"))


def _standing(about: str) -> str:
    """The class of a word beside a run: failed and stopped catch the eye."""
    status = about.partition(" ")[0]
    return f"standing-{status}" if status in ("failed", "stopped") else ""


def trouble(view: View, faults: Sequence[InputError]) -> list[Any]:
    """Notices above the figures: no run is chosen, or a run cannot be read."""
    if view.page not in {page.key for page in FIGURE_PAGES}:
        return []
    if not view.runs:
        choose = dcc.Link("list of runs", href=view.on("").address)
        return [notice("No run is chosen", ["Choose up to four of them in the ", choose, "."])]
    return [notice("This run cannot be shown", str(fault), "error") for fault in faults]
