"""Downloads below each figure: the figure as an HTML page or PDF, and its numbers as CSV."""

from __future__ import annotations

import math
from pathlib import Path
from urllib.parse import quote

import dash
import flask
from dash import html

from landscape.errors import InputError
from landscape_app.access import href
from landscape_app.data import inside
from landscape_app.exports import figure_html
from landscape_app.pages import FIGURE_PAGES
from landscape_app.pages.page import Chosen
from landscape_app.pdf import MOST_BYTES, to_pdf
from landscape_app.table import to_csv
from landscape_app.url import View

_KINDS = {"html": ("text/html", figure_html), "csv": ("text/csv", to_csv)}


def links(graph: str, view: View) -> list[html.A]:
    """Return links to the files of one figure, as ``view`` shows it."""
    return [
        html.A(
            kind.upper(),
            href=href(f"/export/{graph}.{kind}{view.query}"),
            download=True,
            **{"data-format": kind},
        )
        for kind in _KINDS
    ]


def serve(app: dash.Dash, folder: Path) -> None:
    """Serve those links for the runs in ``folder``, and convert drawings to PDF."""

    @app.server.route("/export/<graph>.<kind>")
    def export(graph: str, kind: str) -> flask.Response:
        try:
            return _file(folder, graph, kind, flask.request.query_string.decode("utf-8", "replace"))
        except InputError as error:
            return flask.Response(f"{error}\n", status=404, mimetype="text/plain")

    app.server.add_url_rule("/export/pdf", view_func=_pdf, methods=["POST"])


def _file(folder: Path, graph: str, kind: str, query: str) -> flask.Response:
    page = next((page for page in FIGURE_PAGES if graph in page.graphs), None)
    if page is None or kind not in _KINDS:
        raise InputError(f"there is no figure '{graph}' as '{kind}'")
    view = View.parse(f"/{page.key}?{query}")
    chosen = Chosen.of(inside(folder, view), view)
    if not chosen.fills(page):
        raise chosen.faults[0] if chosen.faults else InputError("choose a run to export")
    figure = page.draw(graph, chosen, view)
    if figure is None:
        raise InputError(f"there is nothing in the figure '{graph}' to export")
    mime, write = _KINDS[kind]
    camera = _camera(flask.request.args.get("camera", ""))
    if camera and view.setting("view") == "3d" and figure.layout.scene.camera.eye.x is not None:
        figure.update_layout(scene_camera=camera)
    answer = flask.Response(write(figure), mimetype=mime)
    name = f"{figure.layout.meta['file']}.{kind}"
    answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name)}"
    return answer


def _camera(text: str) -> dict[str, dict[str, float]]:
    """Parse the camera position that ``view.js`` writes; return an empty dict if it is invalid."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return {}
    if len(numbers) not in (6, 9) or not all(map(math.isfinite, numbers)):
        return {}
    vectors = [
        dict(zip("xyz", numbers[at : at + 3], strict=True)) for at in (0, 3, 6)[: len(numbers) // 3]
    ]
    return dict(zip(("eye", "center", "up"), vectors, strict=False))


def _pdf() -> flask.Response:
    request = flask.request
    request.max_content_length = MOST_BYTES
    # A page of another site cannot send this type: the browser would first ask this server.
    if request.mimetype != "image/svg+xml":
        return flask.Response("send an SVG\n", status=415, mimetype="text/plain")
    try:
        return flask.Response(to_pdf(request.get_data()), mimetype="application/pdf")
    except InputError as error:
        return flask.Response(f"{error}\n", status=400, mimetype="text/plain")
