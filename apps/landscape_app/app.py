"""The Dash application: callbacks that fill one layout from the address."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dash
import flask
from dash import ClientsideFunction, Input, Output, State, html

from landscape.errors import InputError
from landscape_app import downloads, inputs, navigation
from landscape_app.access import Access, protect
from landscape_app.callbacks import fill_page
from landscape_app.components import notice, shown
from landscape_app.folders import inside, root_of, run_path, stamp
from landscape_app.layout import INDEX, PAGES, layout
from landscape_app.pages import FIGURE_PAGES, compare, details, runs, surface
from landscape_app.pages.page import Chosen
from landscape_app.remarks import Remark, keep, remarks
from landscape_app.run_list import list_runs
from landscape_app.url import View

_FIGURES = {page.key: page for page in FIGURE_PAGES}


_GRID = "_dash-component-suites/dash_ag_grid/async-community.js"
"""The part of AG Grid that its script asks for once the grid is on the page."""


class _App(dash.Dash):
    """A Dash application that sends the first view with the page, which saves one request."""

    folder: Path
    root: str

    def interpolate_index(self, **parts: str) -> str:
        address = (
            f"{quote(flask.request.path)}?{flask.request.query_string.decode(errors='replace')}"
        )
        text = json.dumps(_seen(self.folder, View.parse(address), None)).replace("<", "\\u003c")
        parts["metas"] += f"<script>window.landscapeSeen = {text}</script>"
        parts["metas"] += f"<script>window.landscapeRoot = {json.dumps(self.root)}</script>"
        parts["metas"] += self._wanted_soon()
        return str(super().interpolate_index(**parts))

    def _wanted_soon(self) -> str:
        """Hints, so that the browser asks at once for what the scripts ask for when they run."""
        answers = "".join(
            f'<link rel="preload" as="fetch" crossorigin="anonymous" href="{self.root}{name}">'
            for name in ("_dash-layout", "_dash-dependencies")
        )
        return f'{answers}<link rel="preload" as="script" href="{self.root}{_GRID}">'


def create_app(folder: Path, access: Access | None = None) -> dash.Dash:
    """Create the application that shows the run files in ``folder``. It reads nothing yet.

    Args:
        folder: Folder of the ``.h5`` files. It may be created, changed or deleted later.
        access: Prefix of a proxy, token, names and frames.
    """
    access = access or Access()
    app = _App(
        "landscape_app",
        assets_folder=str(Path(__file__).parent / "assets"),
        title="landscape",
        update_title="",
        serve_locally=True,
        use_pages=False,
        enable_mcp=False,
        requests_pathname_prefix=access.prefix,
        routes_pathname_prefix="/",
    )
    app.folder, app.root = folder, access.prefix
    app.index_string = INDEX.replace("ICON", app.get_asset_url("icon.svg"))
    app.layout = layout(access.prefix)
    protect(app.server, access)
    app.server.before_request(lambda: _read_for_page(folder))
    app.server.add_url_rule("/alive", view_func=lambda: ("", 204))  # see connection.js
    downloads.serve(app, folder)
    _watch(app, folder)
    _fill_frame(app, folder)
    _fill_lists(app, folder)
    _fill_compare(app, folder)
    _fill_remark(app, folder)
    for page in FIGURE_PAGES:
        fill_page(app, folder, page)
    app.clientside_callback(
        ClientsideFunction("landscape", "brush"),
        *(Input(graph, "selectedData") for page in FIGURE_PAGES for graph in page.brushed),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("landscape", "choosePoint"),
        *(Input(slot, "clickData") for slot in surface.SLOTS),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("landscape", "linkCameras"),
        *(Input(slot, "relayoutData") for slot in surface.SLOTS),
        prevent_initial_call=True,
    )
    return app


def _seen(folder: Path, view: View, back: Any) -> dict[str, Any]:
    return {"address": view.address, "stamp": stamp(inside(folder, view), view), "back": back}


def _watch(app: dash.Dash, folder: Path) -> None:
    @app.callback(
        Output("seen", "data"),
        Input("address", "data"),
        Input("clock", "n_intervals"),
        Input("back", "data"),
        State("seen", "data"),
        prevent_initial_call=True,
    )
    def watch(address: str | None, _: int | None, back: Any, seen: dict[str, Any]) -> Any:
        """Return the address and the state of its files.

        The pages are drawn again when this changes, or when a lost server is ``back``.
        """
        now = _seen(folder, View.parse(address or seen["address"]), back)
        return dash.no_update if now == seen else now

    app.clientside_callback(
        ClientsideFunction("landscape", "arrive"),
        Output("seen", "data", allow_duplicate=True),
        Output("address", "data"),
        Input("url", "pathname"),
        Input("url", "search"),
        prevent_initial_call="initial_duplicate",
    )
    app.clientside_callback(
        ClientsideFunction("landscape", "keptTheme"), Output("theme", "value"), Input("theme", "id")
    )
    app.clientside_callback(
        ClientsideFunction("landscape", "setTheme"),
        Output("dark", "data"),
        Output("provider", "forceColorScheme"),
        Input("theme", "value"),
    )
    app.clientside_callback(
        ClientsideFunction("landscape", "hasWebGL"), Output("webgl", "data"), Input("url", "href")
    )
    app.clientside_callback(
        ClientsideFunction("landscape", "figureWidth"),
        Output("width", "data"),
        Input("width", "id"),
    )
    # Only the page on the screen requests data from the server.
    app.clientside_callback(
        ClientsideFunction("landscape", "route"),
        *(Output(f"{key}-shown", "data") for key in PAGES),
        Input("seen", "data"),
        Input("dark", "data"),
        Input("webgl", "data"),
        Input("width", "data"),
    )
    for page in FIGURE_PAGES:
        app.clientside_callback(
            "() => true",
            Output(f"{page.key}-mounted", "opened"),
            Input(f"{page.key}-shown", "data"),
            prevent_initial_call=True,
        )


def _fill_frame(app: dash.Dash, folder: Path) -> None:
    @app.callback(
        Output("pages", "children"),
        Output("compared", "children"),
        Output("heading", "children"),
        Output("document-title", "data"),
        Output("trouble", "children"),
        *(Output(f"{key}-page", "style") for key in PAGES),
        *inputs.outputs(),
        Input("seen", "data"),
    )
    def fill(seen: dict[str, str]) -> tuple[Any, ...]:
        view = View.parse(seen["address"])
        here = inside(folder, view)
        chosen = Chosen.of(here, view)
        opened = chosen.runs
        present = view.page or "runs"
        if present not in PAGES:
            present = "other"
        elif view.page in _FIGURES and not chosen.fills(
            _FIGURES[view.page]
        ):  # a page of figures with nothing to draw
            present = ""
        highlights = any(page.key == present and page.brushed for page in FIGURE_PAGES)
        return (
            navigation.pages(view),
            navigation.compared(opened, view) if not view.by else navigation.grouped(here, view),
            navigation.heading(view),
            navigation.document_title(view),
            navigation.trouble(view, chosen.faults),
            *(shown(key == present) for key in PAGES),
            *inputs.fill(opened, view, highlights),
        )

    app.clientside_callback("title => { document.title = title; }", Input("document-title", "data"))

    app.clientside_callback(ClientsideFunction("landscape", "followAddress"), Input("url", "href"))
    app.clientside_callback(ClientsideFunction("landscape", "keepList"), Input("grid", "id"))


def _fill_lists(app: dash.Dash, folder: Path) -> None:
    @app.callback(
        Output("runs-header", "children"),
        Output("grid", "rowData"),
        Output("grid-frame", "style"),
        Output("runs-below", "children"),
        Output("by", "data"),
        Output("by", "value"),
        Output("columns", "data"),
        Output("columns", "value"),
        Output("hue", "data"),
        Output("hue", "value"),
        Output("hue-key", "children"),
        Output("list-filled", "data"),
        Input("runs-shown", "data"),
        prevent_initial_call=True,
    )
    def fill_runs(shown: dict[str, Any]) -> tuple[Any, ...]:
        view = View.parse(shown["address"])
        here = inside(folder, view)
        filled = runs.fill(here, view)
        settings = runs.groupable(here)
        columns = runs.chosen_columns(view)
        by = list(view.by)
        options = runs.hue_options(here)
        hue = view.texts.get("hue")
        hue = hue if any(option["value"] == hue for option in options) else None
        header, values = runs.header(folder, view), {"by": by, "columns": columns, "hue": hue}
        fields = (settings, by, settings, columns, options, hue, runs.hue_key(here, view))
        return header, *filled, *fields, values

    for name in ("by", "columns", "hue"):
        app.clientside_callback(
            ClientsideFunction("landscape", "choose"),
            Input(name, "value"),
            State("list-filled", "data"),
            prevent_initial_call=True,
        )

    @app.callback(
        Output("other-page", "children"), Input("other-shown", "data"), prevent_initial_call=True
    )
    def fill_other(shown: dict[str, Any]) -> Any:
        view = View.parse(shown["address"])
        if view.page == "run":
            return details.content(inside(folder, view), view)
        fault = notice("No such page", f"There is nothing at `{shown['address']}`.", "error")
        return [html.H1("No such page", className="page-title"), fault]


def _fill_remark(app: dash.Dash, folder: Path) -> None:
    @app.callback(
        Output("remark", "style"),
        Output("remark-name", "value"),
        Output("remark-note", "value"),
        Output("remark-pinned", "checked"),
        Output("remark-of", "data"),
        Output("remark-told", "children"),
        Input("seen", "data"),
        State("remark-of", "data"),
    )
    def fill(seen: dict[str, str], before: Any) -> tuple[Any, ...]:
        """Fill the fields of a run, but leave what is typed there when nothing else changed."""
        view = View.parse(seen["address"])
        here = inside(folder, view)
        quiet = (dash.no_update,) * 5
        if view.page != "run":
            return shown(False), *quiet
        try:
            run_path(here, view.name)
            remark = remarks(here).get(view.name, Remark())
        except InputError as fault:
            return shown(False), *quiet[:4], str(fault)
        now = {"folder": str(root_of(here)), "run": view.name, **asdict(remark)}
        if now == before:
            return shown(True), *quiet
        return shown(True), remark.name, remark.note, remark.pinned, now, ""

    @app.callback(
        Output("remark-told", "children", allow_duplicate=True),
        Input("remark-save", "n_clicks"),
        State("seen", "data"),
        State("remark-name", "value"),
        State("remark-note", "value"),
        State("remark-pinned", "checked"),
        prevent_initial_call=True,
    )
    def save(_: int, seen: dict[str, str], name: Any, note: Any, pinned: Any) -> str:
        view = View.parse(seen["address"])
        remark = Remark(str(name or "").strip(), str(note or "").strip(), bool(pinned))
        try:
            keep(inside(folder, view), view.name, remark)
        except InputError as fault:
            return f"Not saved: {fault}"
        return "Saved"


def _fill_compare(app: dash.Dash, folder: Path) -> None:
    names = [f"compare-{name}" for name in (*compare.FIELDS, "where", "axes")]

    @app.callback(
        *(Output(name, "data") for name in names),
        *(Output(name, "value") for name in names),
        Output("compare-filled", "data"),
        Input("compare-shown", "data"),
        prevent_initial_call=True,
    )
    def fill(shown: dict[str, Any]) -> tuple[Any, ...]:
        view = View.parse(shown["address"])
        return compare.fill(inside(folder, view), view)

    for name in names:
        app.clientside_callback(
            ClientsideFunction("landscape", "choose"),
            Input(name, "value"),
            State("compare-filled", "data"),
            prevent_initial_call=True,
        )


def read_ahead(folder: Path) -> None:
    """Begin to read the list of runs, before a browser has loaded its scripts and requests it.

    What the intervals of the first figure need is imported as well.
    """

    def read() -> None:
        with suppress(InputError):  # the page that requests the list reports it
            list_runs(folder)
        import scipy.special  # noqa: F401

    threading.Thread(target=read, daemon=True).start()


def _read_for_page(folder: Path) -> None:
    if flask.request.path == "/":
        read_ahead(folder)
