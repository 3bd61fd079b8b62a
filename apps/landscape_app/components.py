"""The components that all pages use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from landscape_app.access import href
from landscape_app.figures import CONFIG
from landscape_app.pdf import can_write_pdf
from landscape_app.url import View

HIDDEN = {"display": "none"}
SHOWN: dict[str, str] = {}
THEME = {
    "fontFamily": "var(--sans)",
    "fontFamilyMonospace": "var(--mono)",
    "headings": {"fontFamily": "var(--sans)"},
    "defaultRadius": "md",
    "black": "#1f2933",
    "white": "#ffffff",
    # Mantine has ten shades. Text has the fourth on a dark ground, the seventh on a light one.
    "colors": {
        "accent": ["#7cc0ec"] * 5 + ["#0b5a8f"] * 5,
        "good": ["#6fd3b1"] * 5 + ["#0b6b4f"] * 5,
        "bad": ["#ff9d80"] * 5 + ["#9b2c10"] * 5,
    },
    "primaryColor": "accent",
}
"""Theme of Mantine's components. It matches the rest of the page: see ``landscape.css``."""
_COLOURS = {"running": "accent", "complete": "good", "failed": "bad", "stopped": "bad"}
# Each figure has its own buttons, which save it under its own name: see `_tools`.
_CONFIG: Any = CONFIG | {"modeBarButtonsToRemove": [*CONFIG["modeBarButtonsToRemove"], "toImage"]}
SCALES = {"auto": "automatic", "linear": "linear", "log": "logarithmic"}
"""Labels of the scales of an axis; the numbers decide the automatic one."""
_SIZES = {
    "as on the screen": "screen",
    "one column, 84 mm": "84mm",
    "one column, no titles": "84mm bare",
    "two columns, 174 mm": "174mm",
    "two columns, no titles": "174mm bare",
}
"""Sizes of saved figures: see ``exports.js`` and ``paper.py``."""
_SAVED = {"PNG": "Save as an image", "SVG": "Save as a drawing", "PDF": "Save as a page of PDF"}


def shown(condition: bool) -> dict[str, str]:
    """The style that shows or hides an element that stays in the layout."""
    return SHOWN if condition else HIDDEN


def with_code(text: str) -> list[Any]:
    """``text`` with its `backquoted` parts set as code."""
    return [
        html.Code(part) if index % 2 else part for index, part in enumerate(text.split("`")) if part
    ]


def notice(title: str, text: str | list[Any], kind: str = "info") -> dmc.Alert:
    """A box with a message, in place of content that cannot be shown."""
    return dmc.Alert(
        with_code(text) if isinstance(text, str) else text,
        title=title,
        color="bad" if kind == "error" else "accent",
        className=f"notice notice-{kind}",
    )


def badge(status: str) -> dmc.Badge:
    """The status of a run as a word. The colour only repeats the word."""
    colour = _COLOURS.get(status, "gray")
    return dmc.Badge(status or "unknown", color=colour, variant="light", tt="none", size="lg")


def fact(label: str, value: str, note: str = "") -> html.Div:
    """One number with its name."""
    return html.Div([html.Dt(label), html.Dd([value, html.Small(note)])], className="fact")


def graph(identifier: str, label: str) -> html.Div:
    """The place of a figure, and of a message instead of the figure.

    The graph is always in the layout, and only its ``figure`` changes. A graph that is mounted
    again would lose the camera and the zoom.
    """
    place = dcc.Graph(id=identifier, config=_CONFIG, responsive=True)
    return html.Div(
        [
            html.Div(
                dcc.Loading(
                    place,
                    delay_show=400,
                    overlay_style={"visibility": "visible", "opacity": 0.6},
                    parent_className="loading",
                ),
                id=f"{identifier}-frame",
                className="frame",
                role="group",
                **named(label),
            ),
            html.Div(id=f"{identifier}-message", role="status"),
            _tools(identifier, label),
            dcc.Store(id=f"{identifier}-drawn"),
        ],
        className="figure",
    )


def _tools(identifier: str, label: str) -> html.Div:
    """Tools below a figure: buttons to save it, and a table of its numbers. See ``exports.js``."""
    buttons = [
        html.Button(
            words,
            type="button",
            title=f"{meaning}: {label}",
            **{"data-graph": identifier, "data-save": words.lower()},
        )
        for words, meaning in _SAVED.items()
    ]
    links = html.Span(id=f"{identifier}-links", className="links")
    table = html.Details(
        [html.Summary("Data table"), html.Div(className="data-table", tabIndex=0, **named(label))],
        className="data",
        **{"data-graph": identifier, "data-label": label},
    )
    save = html.Div(
        [html.Span("Save as"), *buttons, links, html.Output()],
        className="save",
        role="group",
        **named(f"Save: {label}"),
    )
    return html.Div([save, table], className="tools", **{"data-arrows": ""})


def saving() -> html.Div:
    """What is saved of the figures of a page: their size, and all of them as one zip."""
    sizes = [html.Option(words, value=value) for words, value in _SIZES.items()]
    files = "SVG and PDF" if can_write_pdf() else "SVG"
    save_all = html.Button(
        "Save all as ZIP",
        type="button",
        title=f"Save all figures of this page as {files}, with their captions",
        **{"data-save-all": ""},
    )
    return html.Div(
        [html.Label(["Saved figures ", html.Select(sizes)]), save_all, html.Output()],
        className="saving",
    )


def link(words: str, view: View, **more: Any) -> dcc.Link:
    """A link to another view of the dashboard."""
    return dcc.Link(words, href=href(view.address), **more)


def choice(label: str, options: Mapping[str, View], chosen: str) -> html.Nav:
    """A choice between a few values. Each value is a link to the address that sets it.

    It is one stop of the Tab key; arrow keys move within it.

    Args:
        label: Name of the choice.
        options: View of each option, by its label.
        chosen: Label of the present choice.
    """
    links = [
        html.Li(
            link(words, view, className="active" if words == chosen else ""),
            **({"aria-current": "true"} if words == chosen else {}),
        )
        for words, view in options.items()
    ]
    return html.Nav(
        [html.Span(label, className="control-label"), html.Ul(links)],
        className="control",
        **{"data-arrows": ""},
        **named(label),
    )


def setting(label: str, name: str, words: Mapping[str, str], view: View) -> html.Nav:
    """The choice of a value of one of ``url.SETTINGS``; ``words`` holds the label of each value."""
    options = {text: view.set(name, value) for value, text in words.items()}
    return choice(label, options, words[view.setting(name)])


def choose_one(identifier: str, **more: Any) -> dmc.Select:
    """A field for one of several options, which can be searched; a callback fills them in."""
    return dmc.Select(id=identifier, data=[], size="sm", searchable=True, **more)


def choose_several(identifier: str, **more: Any) -> dmc.MultiSelect:
    """A field for any number of options, as ``choose_one``."""
    return dmc.MultiSelect(
        id=identifier,
        data=[],
        size="sm",
        searchable=True,
        clearable=True,
        hidePickedOptions=True,
        **more,
    )


def table_frame(table: html.Table, label: str) -> html.Div:
    """A table that scrolls by itself, also by keyboard, if it is wider than the window."""
    return html.Div(table, className="table-frame", role="group", tabIndex=0, **named(label))


def section(title: str, about: str, *children: Any) -> html.Section:
    """A part of a page, with a heading and a short description."""
    return html.Section(
        [html.Header([html.H2(title), html.P(about)]), *children], className="panel"
    )


def named(label: str) -> dict[str, Any]:
    """The name of an element for screen readers."""
    return {"aria-label": label}
