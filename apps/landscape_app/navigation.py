"""Parts of every page: links to the other pages, and the runs that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dash import dcc, html

from landscape.errors import InputError
from landscape.store import Run
from landscape_app import formats
from landscape_app.components import link, named, notice
from landscape_app.data import progress
from landscape_app.figures.groups import group_marks
from landscape_app.figures.theme import MARKS, SIGNS
from landscape_app.folders import Where
from landscape_app.groups import MOST_GROUPS, groups
from landscape_app.pages import FIGURE_PAGES
from landscape_app.url import View

_TITLES = {page.key: page.title for page in FIGURE_PAGES}
_OF_FOLDER = {page.key for page in FIGURE_PAGES if page.of_folder}
_UNGROUPED = {page.key for page in FIGURE_PAGES if not page.grouped} - _OF_FOLDER


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
    if view.page in _TITLES and view.by:
        title += f" by {', '.join(view.by)}"
    elif view.page in _TITLES and view.runs:
        title += f": {', '.join(view.runs)}"
    return f"{title} · landscape"


def pages(view: View) -> html.Ul:
    """Links to all pages, which keep the present choices."""
    titles = {"": "Runs"} | _TITLES
    return html.Ul(
        [
            html.Li(
                link(title, view.on(key), className="active" if key == view.page else ""),
                **({"aria-current": "page"} if key == view.page else {}),
            )
            for key, title in titles.items()
        ],
        **{"data-address": view.address},  # see address.js
    )


def compared(runs: Sequence[Run], view: View) -> html.Nav | None:
    """The chosen runs, each with its marker in all figures and a link that removes it."""
    if not view.runs:
        return None
    readable = {run.name: run for run in runs}
    chips = []
    for name in view.runs:
        mark, about = html.Span("✕", **{"aria-hidden": "true"}), " (cannot be read)"
        if name in readable:
            mark, about = sign(view.place(name)), progress(readable[name])
        chips.append(
            html.Li(
                [
                    mark,
                    link(name, view.on("run", name), title=f"Details of {name}"),
                    html.Small(about, className=_standing(about)),
                    link(
                        "×",
                        view.toggle(name),
                        className="drop",
                        title=f"Take {name} off",
                    ),
                ],
            )
        )
    return html.Nav(html.Ul(chips), **named("Chosen runs"))


def grouped(folder: Where, view: View) -> html.Nav | None:
    """The groups of a view, each with its marker and a link that removes it."""
    try:
        every = groups(folder, view.by)
    except InputError:  # the page reports it
        return None
    shown = [group for group in every if group.label in view.groups] or every[:MOST_GROUPS]
    chips = [html.Li([html.Small("by"), ", ".join(view.by), _drop(view)])]
    for group, mark in zip(shown, group_marks(shown), strict=True):
        others = [other.label for other in shown if other is not group]
        colour, symbol = mark
        chips.append(
            html.Li(
                [
                    html.Span(SIGNS[symbol], style={"color": colour}, **{"aria-hidden": "true"}),
                    group.label,
                    html.Small(formats.count(len(group.summaries), "run")),
                    link(
                        "×",
                        view.show_groups(others),
                        className="drop",
                        title=f"Take {group.label} off",
                    ),
                ]
            )
        )
    if len(shown) < len(every):
        words = f"all {len(every)} groups" if len(every) <= MOST_GROUPS else "the first groups"
        chips.append(html.Li(link(words, view.show_groups(()))))
    return html.Nav(html.Ul(chips), **named("Groups"))


def _drop(view: View) -> dcc.Link:
    runs = replace(view, by=(), groups=())
    return link("×", runs, className="drop", title="Show runs in place of groups")


def _standing(about: str) -> str:
    """The class of a word beside a run: failed and stopped catch the eye."""
    status = about.partition(" ")[0]
    return f"standing-{status}" if status in ("failed", "stopped") else ""


def trouble(view: View, faults: Sequence[InputError]) -> list[Any]:
    """Notices above the figures: no run is chosen, or a run cannot be read."""
    if view.page not in _TITLES:
        return []
    if view.by and view.page in _UNGROUPED:
        runs = link("runs", replace(view, by=(), groups=()))
        return [notice("This page shows single runs", ["Show ", runs, " in place of groups."])]
    if not view.runs and not view.by and view.page not in _OF_FOLDER:
        choose = link("list of runs", view.on(""))
        return [notice("No run is chosen", ["Choose up to four of them in the ", choose, "."])]
    return [notice("This run cannot be shown", str(fault), "error") for fault in faults]
