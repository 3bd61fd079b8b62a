"""Exports in a real browser: images, the printed page, tables, and reports without a server."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from browsing import Visit, follow
from landscape_app import exports
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect
from test_app_paper import font_sizes

from landscape.store import Run

pytestmark = pytest.mark.browser


def test_a_figure_is_saved_as_image_and_as_drawing(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent, "/flatness?run=digits-swag-0")
    page.locator("#spread .scatterlayer path.point").first.wait_for(state="attached")
    save = page.get_by_role("group", name="Save: Largest eigenvalue and trace at each sample")
    with page.expect_download() as download:
        save.get_by_role("button", name="PNG").click()
    with Image.open(download.value.path()) as image:
        assert image.format == "PNG"
        assert image.width > 1500
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 10
    with page.expect_download() as download:
        save.get_by_role("button", name="SVG").click()
    drawing = Path(download.value.path()).read_text()
    assert drawing.startswith("<svg")
    assert "Largest eigenvalue and trace of the Hessian" in drawing


def test_figures_are_saved_for_a_paper_and_all_as_one_zip(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent, "/flatness?run=digits-swag-0")
    page.get_by_text("dark", exact=True).click()
    page.locator("#relation .scatterlayer path.point").first.wait_for(state="attached")
    page.locator("#density path.js-line").first.wait_for(state="attached")
    size = page.locator("#flatness-page").get_by_label("Saved figures")
    size.select_option("one column, no titles")
    with page.expect_download() as download:
        page.locator("button[data-graph=spread][data-save=svg]").click()
    drawing = Path(download.value.path()).read_text()
    assert drawing.count('width="84mm"') == 1
    assert font_sizes(drawing) == {8.0}
    assert "Largest eigenvalue and trace" not in drawing
    assert "fill: rgb(255, 255, 255)" in drawing  # the page is dark, a paper is not
    with page.expect_download() as download:
        page.locator("#flatness-page").get_by_role("button", name="Save all as ZIP").click()
    assert download.value.suggested_filename == "flatness.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        figures = ("spread", "eigenvalues", "relation", "density")
        kinds = ("svg", "pdf")
        names = {f"{figure}-digits-swag-0.{kind}" for figure in figures for kind in kinds}
        assert set(archive.namelist()) == names | {"captions.txt"}
        assert "Largest eigenvalue and trace" in archive.read("captions.txt").decode()
        (sheet,) = pypdfium2.PdfDocument(archive.read("spread-digits-swag-0.pdf"))
        assert sheet.get_width() == pytest.approx(84 / 25.4 * 72, abs=0.1)


PDFS = {
    "contour": ("surface", "surface-0", "Loss on the plane through the samples"),
    "3d": ("surface", "surface-0", "Loss on the plane through the samples"),
    "points": ("flatness", "eigenvalues", "Largest eigenvalues of the Hessian"),
    "bands": ("averaging", "averaging", "The average over the first n samples"),
    "error bars": ("calibration", "calibration", "Reliability diagram"),
}


def test_figures_are_saved_as_pages_of_pdf(show: Callable[..., Page], complete: Run) -> None:
    page = show(complete.path.parent, "/surface?run=digits-swag-0")
    for what, (where, graph, title) in PDFS.items():
        follow(page, where)
        drawn = ".main-svg .gtitle"
        if what == "3d":
            page.get_by_role("link", name="3D").click()
            drawn = "canvas"
        page.locator(f"#{graph} {drawn}").first.wait_for(state="attached")
        page.wait_for_timeout(1000)
        check_pdf(page, graph, title)


def check_pdf(page: Page, graph: str, title: str) -> None:
    """Save a figure as PDF: its text is there, and it looks as on the screen."""
    with page.expect_download() as download:
        page.locator(f"button[data-graph={graph}][data-save=pdf]").click()
    name = "surface-samples" if graph == "surface-0" else graph
    assert download.value.suggested_filename == f"{name}-digits-swag-0.pdf"
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(b"%PDF")
    width, height = page.evaluate(
        """graph => { const { width, height } = document.querySelector
        (`#${graph} .js-plotly-plot`)._fullLayout; return [width, height]; }""",
        graph,
    )
    pdf = pypdfium2.PdfDocument(content)
    (sheet,) = pdf
    assert sheet.get_size() == pytest.approx((0.75 * width, 0.75 * height), abs=0.5)
    # Text is text; readers find spaces by the gaps between letters, each in its own way.
    text = "".join(sheet.get_textpage().get_text_range().split())
    assert "".join(title.split()) in text
    # It looks like what is on the screen.
    image = sheet.render(scale=1 / 0.75).to_pil().convert("RGB")
    png = page.evaluate(
        """([graph, width, height]) => window.Plotly.toImage(
        document.querySelector(`#${graph} .js-plotly-plot`), {format: "png", width, height})""",
        [graph, width, height],
    )
    with Image.open(io.BytesIO(base64.b64decode(png.partition(",")[2]))) as screen:
        shown = screen.convert("RGB").resize(image.size)
    difference = np.abs(np.asarray(shown, float) - np.asarray(image, float)).mean()
    assert difference < 4, f"{difference} of 255 on average"
    pdf.close()


def test_a_figure_that_cannot_be_saved_says_so(
    show: Callable[..., Page], complete: Run, visit: Visit
) -> None:
    page = show(complete.path.parent, "/training?run=digits-swag-0")
    page.locator("#training path.js-line").first.wait_for(state="attached")
    page.route("**/export/pdf", lambda route: route.fulfill(status=400, body="no space left"))
    page.get_by_role("button", name="PDF").click()
    page.get_by_text("Not saved: no space left").wait_for()
    assert [error for error in visit.errors if "400" not in error] == []
    visit.errors.clear()  # the browser's own line about the answer


def test_the_numbers_behind_a_figure_are_a_table_for_the_keyboard(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = new_run("one")
    page = show(tmp_path, "/flatness?run=one")
    page.locator("#spread .scatterlayer path.point").first.wait_for(state="attached")
    summary = page.locator("details[data-graph=spread] summary")
    summary.focus()
    page.keyboard.press("Enter")
    table = page.get_by_role("table", name="Largest eigenvalue and trace at each sample")
    table.locator("tbody tr").first.wait_for()
    heads = table.locator("thead th").all_inner_texts()
    cells = table.locator("tbody tr >> nth=3 >> td").all_inner_texts()
    row = dict(zip(heads, cells, strict=True))
    assert float(row["y"]) == pytest.approx(run["samples"]["eigenvalues"][3, 0], rel=1e-5)
    assert (row["run"], row["sample"]) == ("one", "3")
    # It follows the file, which has two samples then and their mean, of lambda_1 and trace.
    group = dict(run["samples"])
    run.write("samples", {name: values[:2] for name, values in group.items()})
    page.wait_for_function(
        "() => document.querySelectorAll('details[data-graph=spread] tbody tr').length === 6"
    )


def test_a_report_needs_no_server_and_asks_for_nothing(
    browser: BrowserContext, new_run: Callable[..., Run], tmp_path: Path
) -> None:
    for seed, name in enumerate(("one", "two")):
        new_run(name, seed=seed)
    report = tmp_path / "report.html"
    exports.write_report(tmp_path, report)
    page = browser.new_page()
    visit = Visit(page, report.as_uri())
    visit.listen()
    visit.open("")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.locator("details[open] .contourlayer path").first.wait_for(state="attached")
    assert page.locator("details[open] >> nth=0 >> .js-plotly-plot").count() == 5  # of both runs
    assert page.locator("details:not([open]) .main-svg").count() == 0  # drawn on demand
    page.locator("details:not([open]) summary").click()
    page.wait_for_function(
        "() => document.querySelectorAll('details')[2].querySelectorAll('.main-svg').length > 0"
    )
    page.wait_for_timeout(300)
    picture = page.locator("details >> nth=2 >> .figure >> nth=0").screenshot()
    with Image.open(io.BytesIO(picture)) as image:
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 100
    page.close()
    assert [url for url in visit.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert visit.errors == []
