"""The pieces that both pages are built of."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from landscape_app.figures import CONFIG

HIDDEN = {"display": "none"}
SHOWN: dict[str, str] = {}
_CONFIG: Any = CONFIG


def shown(condition: bool) -> dict[str, str]:
    """The style that shows or hides an element which stays in the layout."""
    return SHOWN if condition else HIDDEN


def with_code(text: str) -> list[Any]:
    """``text`` with its `backquoted` parts set as code."""
    return [
        html.Code(part) if index % 2 else part for index, part in enumerate(text.split("`")) if part
    ]


def notice(title: str, text: str, kind: str = "info") -> html.Div:
    """A box that says something in place of what cannot be shown."""
    return html.Div(
        [html.Strong(title), html.P(with_code(text))], className=f"notice notice-{kind}"
    )


def badge(status: str) -> html.Span:
    """The status of a run, told by its word; the colour only repeats it."""
    known = status if status in ("running", "complete", "failed") else "unknown"
    return html.Span(status or "unknown", className=f"badge badge-{known}")


def fact(label: str, value: str, note: str = "") -> html.Div:
    """One number with its name."""
    return html.Div([html.Dt(label), html.Dd([value, html.Small(note)])], className="fact")


def graph(identifier: str, label: str) -> html.Div:
    """A figure's place, and the place for a line of text where there is no figure.

    The graph is always in the layout and only its ``figure`` changes: mounted anew, it would lose
    the camera and the zoom.
    """
    return html.Div(
        [
            html.Div(
                dcc.Graph(id=identifier, config=_CONFIG, responsive=True),
                id=f"{identifier}-frame",
                className="frame",
                role="group",
                **_named(label),
            ),
            html.Div(id=f"{identifier}-message", role="status"),
            dcc.Store(id=f"{identifier}-drawn"),
        ]
    )


def switch(identifier: str, label: str, options: dict[str, str], value: str) -> html.Div:
    """A choice between a few values, as radio buttons side by side."""
    return html.Div(
        [
            html.Span(label, className="control-label"),
            dcc.RadioItems(options=options, value=value, id=identifier, inline=True),
        ],
        className="control",
        role="radiogroup",
        **_named(label),
    )


def section(title: str, about: str, *children: Any) -> html.Section:
    """A part of a page with a heading and a sentence about it."""
    return html.Section(
        [html.Header([html.H2(title), html.P(about)]), *children], className="panel"
    )


def _named(label: str) -> dict[str, Any]:
    return {"aria-label": label}
