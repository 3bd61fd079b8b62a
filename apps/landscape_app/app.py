"""The Dash application: one layout that stays, and callbacks that fill it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import dash
import flask
import plotly.graph_objects as go
from dash import ClientsideFunction, Input, Output, State, dcc, html

from landscape.errors import InputError
from landscape.store import Run
from landscape_app import figures
from landscape_app.components import HIDDEN, SHOWN, notice, shown
from landscape_app.data import NotMeasured, load_run, run_files, surface_names
from landscape_app.pages import run as run_page
from landscape_app.pages import runs as runs_page

REFRESH_MILLISECONDS = 3000
_RUN_ADDRESS = "/run/"
_INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
<link rel="icon" type="image/svg+xml" href="ICON">
{%css%}
</head>
<body>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""
# The browser itself then refuses whatever would leave this server.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; frame-ancestors 'self'"
)


def create_app(folder: Path) -> dash.Dash:
    """The application that shows the run files in ``folder``; nothing is read yet.

    Args:
        folder: Where the ``.h5`` files are. It may appear, change or vanish later.
    """
    app = dash.Dash(
        "landscape_app",
        assets_folder=str(Path(__file__).parent / "assets"),
        title="landscape",
        update_title="",
        serve_locally=True,
        use_pages=False,
        enable_mcp=False,
    )
    app.index_string = _INDEX.replace("ICON", app.get_asset_url("icon.svg"))
    app.layout = _layout()
    app.server.after_request(_add_policy)
    _watch(app, folder)
    _fill_pages(app, folder)
    _fill_figures(app, folder)
    return app


def _layout() -> html.Div:
    # Both pages are always here, and hidden by style, so that no graph is ever mounted anew.
    return html.Div(
        [
            dcc.Location(id="url"),
            dcc.Interval(id="clock", interval=REFRESH_MILLISECONDS),
            dcc.Store(id="seen"),
            html.Div(
                [
                    dcc.Link("landscape", href="/", className="brand"),
                    html.Span("how flat is the posterior?", className="tagline"),
                ],
                className="top",
                role="banner",
            ),
            html.Main(
                [
                    html.Div(id="runs-page", style=HIDDEN),
                    html.Div(run_page.layout(), id="run-page", style=HIDDEN),
                ]
            ),
        ]
    )


def _watch(app: dash.Dash, folder: Path) -> None:
    @app.callback(
        Output("seen", "data"),
        Input("url", "pathname"),
        Input("clock", "n_intervals"),
        State("seen", "data"),
    )
    def watch(pathname: str | None, _: int | None, seen: dict[str, str] | None) -> Any:
        """What to show and the state of its files; the pages are drawn again when it changes."""
        now = _state_of(pathname or "/", folder)
        return dash.no_update if now == seen else now


def _fill_pages(app: dash.Dash, folder: Path) -> None:
    @app.callback(
        Output("runs-page", "children"),
        Output("runs-page", "style"),
        Output("run-page", "style"),
        Input("seen", "data"),
    )
    def fill_runs(seen: dict[str, str]) -> tuple[Any, ...]:
        if seen["page"] == "run":
            return None, HIDDEN, SHOWN
        if seen["page"] == "runs":
            return runs_page.content(folder), SHOWN, HIDDEN
        return runs_page.no_such_page(seen["name"]), SHOWN, HIDDEN

    @app.callback(
        Output("run-header", "children"),
        Output("run-sections", "style"),
        Output("surface-name", "options"),
        Output("surface-name", "value"),
        Output("surface-chooser", "style"),
        Output("metrics-table", "children"),
        Output("run-attributes", "children"),
        Input("seen", "data"),
        State("surface-name", "value"),
    )
    def fill_run(seen: dict[str, str], chosen: str | None) -> tuple[Any, ...]:
        if seen["page"] != "run":
            return None, HIDDEN, [], None, HIDDEN, None, None
        try:
            run = load_run(folder, seen["name"])
            names = surface_names(run)
            return (
                run_page.header(run),
                SHOWN,
                names,
                chosen if chosen in names else next(iter(names), None),
                shown(len(names) > 1),
                run_page.metrics(run),
                run_page.attributes(run),
            )
        except InputError as error:
            return run_page.not_there(error), HIDDEN, [], None, HIDDEN, None, None


def _fill_figures(app: dash.Dash, folder: Path) -> None:
    def callback(identifier: str, *controls: Input) -> Callable[..., Any]:
        app.clientside_callback(
            ClientsideFunction("landscape", "keepView"),
            Output(identifier, "figure"),
            Input(f"{identifier}-drawn", "data"),
        )
        return app.callback(
            Output(f"{identifier}-drawn", "data"),
            Output(f"{identifier}-frame", "style"),
            Output(f"{identifier}-message", "children"),
            Input("seen", "data"),
            *controls,
        )

    def fill(seen: dict[str, str], draw: Callable[[Run], go.Figure], view: str = "") -> Any:
        # ``view`` names what zoom and camera are of: under another they start afresh.
        if seen["page"] != "run":
            return go.Figure(), HIDDEN, None
        try:
            figure = draw(load_run(folder, seen["name"]))
            return figure.update_layout(uirevision=f"{seen['name']}/{view}"), SHOWN, None
        except NotMeasured as error:
            return go.Figure(), HIDDEN, notice("Not measured", str(error))
        except InputError as error:
            return go.Figure(), HIDDEN, notice("Cannot be shown", str(error), "error")

    @callback(
        "surface",
        Input("surface-name", "value"),
        Input("surface-kind", "value"),
        Input("surface-scale", "value"),
    )
    def fill_surface(seen: dict[str, str], name: str | None, kind: str, scale: str) -> Any:
        form: figures.Kind = "3d" if kind == "3d" else "contour"
        return fill(
            seen,
            lambda run: figures.surface_figure(run, name or "samples", form, scale == "log"),
            f"{name}/{form}",
        )

    @callback("eigenvalues", Input("eigenvalue-scale", "value"))
    def fill_eigenvalues(seen: dict[str, str], scale: str) -> Any:
        return fill(seen, lambda run: figures.eigenvalues_figure(run, log=scale == "log"), scale)

    @callback("trace")
    def fill_trace(seen: dict[str, str]) -> Any:
        return fill(seen, figures.trace_figure)

    @callback("metrics")
    def fill_metrics(seen: dict[str, str]) -> Any:
        return fill(seen, figures.metrics_figure)

    @callback("training")
    def fill_training(seen: dict[str, str]) -> Any:
        return fill(seen, figures.training_figure)


def _state_of(pathname: str, folder: Path) -> dict[str, str]:
    """Which page an address means, with a stamp that changes when the page's files do."""
    if pathname in ("", "/"):
        try:
            return {"page": "runs", "name": "", "stamp": str([*map(_stamp, run_files(folder))])}
        except InputError as error:
            return {"page": "runs", "name": "", "stamp": str(error)}
    name = unquote(pathname.removeprefix(_RUN_ADDRESS))
    if not pathname.startswith(_RUN_ADDRESS):
        return {"page": "unknown", "name": pathname, "stamp": ""}
    try:
        return {"page": "run", "name": name, "stamp": str(_stamp(load_run(folder, name).path))}
    except InputError as error:
        return {"page": "run", "name": name, "stamp": str(error)}


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        status = path.lstat()
    except OSError:  # it went away since the folder was read: that, too, is a change
        return path.name, 0, 0
    return path.name, status.st_mtime_ns, status.st_size


def _add_policy(response: flask.Response) -> flask.Response:
    response.headers["Content-Security-Policy"] = _POLICY
    return response
