"""Callbacks that fill a page of figures from the address: its controls, figures and tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dash
import plotly.graph_objects as go
from dash import ClientsideFunction, Input, Output

from landscape.errors import InputError
from landscape_app import downloads
from landscape_app.components import HIDDEN, notice
from landscape_app.data import NotMeasured
from landscape_app.figures import darkened, sized
from landscape_app.figures.sent import sent
from landscape_app.folders import inside
from landscape_app.pages.page import Chosen, Page
from landscape_app.url import View

_NO_WEBGL = notice("Contours in place of 3D", "This browser has no WebGL, which 3D needs.")


def fill_page(app: dash.Dash, folder: Path, page: Page) -> None:
    """Add the callbacks that fill ``page`` with runs in ``folder`` when it is shown."""

    @app.callback(
        Output(f"{page.key}-controls", "children"),
        Output(f"{page.key}-below", "children"),
        Input(f"{page.key}-shown", "data"),
        prevent_initial_call=True,
    )
    def fill(shown: dict[str, Any]) -> tuple[Any, Any]:
        view = View.parse(shown["address"])
        chosen = Chosen.of(inside(folder, view), view)
        if not chosen.fills(page):
            raise dash.exceptions.PreventUpdate
        controls = page.controls(chosen.runs, view)
        if view != _drawable(view, shown):  # explain above the figures why there is no 3D
            controls = [*controls, _NO_WEBGL]
        return controls, page.below(chosen.runs, view)

    for identifier in page.graphs:
        _fill_graph(app, folder, page, identifier)


def _fill_graph(app: dash.Dash, folder: Path, page: Page, identifier: str) -> None:
    app.clientside_callback(
        ClientsideFunction("landscape", "keepView"),
        Output(identifier, "figure"),
        Input(f"{identifier}-drawn", "data"),
        prevent_initial_call=True,  # of all graphs it takes 0.1 s of the 2 that a page needs
    )
    app.clientside_callback(
        ClientsideFunction("landscape", "showWhole"),
        Input(identifier, "relayoutData"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output(f"{identifier}-drawn", "data"),
        Output(f"{identifier}-frame", "style"),
        Output(f"{identifier}-message", "children"),
        Output(f"{identifier}-links", "children"),
        Input(f"{page.key}-shown", "data"),
        prevent_initial_call=True,
    )
    def fill(shown: dict[str, Any]) -> tuple[Any, ...]:
        view = View.parse(shown["address"])
        inner = inside(folder, view)
        # A figure of the whole folder is drawn from the list: no run is opened for it.
        chosen = Chosen(inner, [], []) if page.of_folder else Chosen.of(inner, view)
        if not chosen.fills(page):
            raise dash.exceptions.PreventUpdate
        try:
            figure = page.draw(identifier, chosen, _drawable(view, shown))
        except NotMeasured as error:
            return go.Figure(), HIDDEN, notice("Not measured", str(error)), None
        except InputError as error:
            return go.Figure(), HIDDEN, notice("Cannot be shown", str(error), "error"), None
        if figure is None:
            return go.Figure(), HIDDEN, None, None
        # Zoom and camera stay the same in a new figure, unless the runs or the axes change.
        clicks = {"clickmode": "event+select"} if identifier in page.brushed else {}
        figure.update_layout(uirevision=_framed(view), selectionrevision=view.address, **clicks)
        links = downloads.links(identifier, view)
        height = (figure.layout.meta or {}).get("height")
        if shown.get("width"):
            height = sized(figure, shown["width"]).layout.height
            figure.update_layout(width=None, height=None)  # those of its place
        style = {} if height is None else {"height": f"{height}px"}
        figure = darkened(figure) if shown["dark"] else figure
        return sent(figure), style, None, links


def _drawable(view: View, shown: dict[str, Any]) -> View:
    """The view that this browser can draw: contours in place of 3D if it has no WebGL."""
    return view if shown["webgl"] else view.set("view", "contour")


def _framed(view: View) -> str:
    """The address of the choices that change the meaning of the axes."""
    return replace(view.set("loss", "auto"), picked={}, at=None).address
