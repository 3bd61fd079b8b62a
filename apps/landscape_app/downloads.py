"""Downloads below each figure: as an HTML page or PDF, for a paper, and its numbers as CSV."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dash
import flask
import plotly.graph_objects as go
import plotly.io
from dash import html

from landscape.errors import InputError
from landscape_app import formats, paper
from landscape_app.access import href
from landscape_app.exports import figure_html
from landscape_app.folders import inside
from landscape_app.pages import FIGURE_PAGES
from landscape_app.pages.page import Chosen
from landscape_app.pdf import MOST_BYTES, can_write_pdf, to_pdf
from landscape_app.table import to_csv
from landscape_app.url import View

_KINDS = {"html": ("text/html", figure_html), "csv": ("text/csv", to_csv)}
_MOST_DRAWINGS = 50
"""Largest number of drawings in a zip."""


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
    app.server.add_url_rule("/export/zip", view_func=_zip, methods=["POST"])


def _file(folder: Path, graph: str, kind: str, query: str) -> flask.Response:
    figure = _figure(folder, graph, kind, query)
    if kind == "json":
        return _for_paper(figure, flask.request.args)
    mime, write = _KINDS[kind]
    answer = flask.Response(write(figure), mimetype=mime)
    name = f"{figure.layout.meta['file']}.{kind}"
    answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name)}"
    return answer


def _figure(folder: Path, graph: str, kind: str, query: str) -> go.Figure:
    page = next((page for page in FIGURE_PAGES if graph in page.graphs), None)
    if page is None or kind not in (*_KINDS, "json"):
        raise InputError(f"there is no figure '{graph}' as '{kind}'")
    view = View.parse(f"/{page.key}?{query}")
    chosen = Chosen.of(inside(folder, view), view)
    if not chosen.fills(page):
        raise chosen.faults[0] if chosen.faults else InputError("choose a run to export")
    figure = page.draw(graph, chosen, view)
    if figure is None:
        raise InputError(f"there is nothing in the figure '{graph}' to export")
    camera = _camera(flask.request.args.get("camera", ""))
    if camera and view.setting("view") == "3d" and figure.layout.scene.camera.eye.x is not None:
        figure.update_layout(scene_camera=camera)
    return figure


def _for_paper(figure: go.Figure, asked: Mapping[str, str]) -> flask.Response:
    """A figure for a paper, which the browser draws: its data and layout, and its sizes."""
    width = paper.width_of(asked.get("width", ""))
    paper.for_paper(figure, width, asked.get("titles") != "no")
    sizes = {"millimetres": width, "scale": paper.DOTS_PER_PIXEL}
    drawn = {name: part for name, part in figure.to_plotly_json().items() if name != "frames"}
    text = str(plotly.io.json.to_json_plotly(drawn | sizes))
    return flask.Response(text, mimetype="application/json")


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


def _zip() -> flask.Response:
    """The drawings of a page as one zip: SVG, PDF if Typst is installed, and their captions."""
    request = flask.request
    request.max_content_length = MOST_BYTES
    # A page of another site cannot send this type: the browser would first ask this server.
    if request.mimetype != "application/json":
        return flask.Response("send JSON\n", status=415, mimetype="text/plain")
    try:
        contents = _contents(request.get_json(silent=True))
    except InputError as error:
        return flask.Response(f"{error}\n", status=400, mimetype="text/plain")
    stream = io.BytesIO()
    paper.write_zip(stream, contents)
    return flask.Response(stream.getvalue(), mimetype="application/zip")


def _contents(drawings: Any) -> dict[str, bytes]:
    """The files of a zip by their names.

    Raises:
        InputError: this is no list of drawings with their captions, or one is no SVG.
    """
    contents: dict[str, bytes] = {}
    captions = []
    try:
        for drawing in drawings[:_MOST_DRAWINGS]:
            name = paper.unused(formats.file_name(drawing["about"]["file"]), contents)
            captions.append(paper.caption(drawing["about"]))
            contents[name] = drawing["svg"].encode()
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError("send a list of drawings with their captions") from error
    if not contents:
        raise InputError("there is no figure to save on this page")
    files = {f"{name}.svg": drawing for name, drawing in contents.items()}
    if can_write_pdf():
        files |= {f"{name}.pdf": to_pdf(drawing) for name, drawing in contents.items()}
    return files | {paper.CAPTIONS: "\n\n".join(captions).encode() + b"\n"}
