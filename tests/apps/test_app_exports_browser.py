"""Exports in a real browser: images, the printed page, tables, and reports without a server."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import Visit
from landscape_app import exports
from PIL import Image
from playwright.sync_api import Browser, Page

from landscape.store import Run

pytestmark = pytest.mark.browser


def test_a_figure_is_saved_as_image_and_as_drawing(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent, "/flatness?run=digits-swag-0")
    page.locator("#trace .scatterlayer path.point").first.wait_for(state="attached")
    save = page.get_by_role("group", name="Save: Trace at each sample")
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
    assert "Trace of the Hessian" in drawing


@pytest.mark.parametrize("view", ["contour", "3d"])
def test_a_printed_figure_is_a_pdf_of_its_own_size(
    view: str, show: Callable[..., Page], complete: Run, browser: Browser
) -> None:
    page = show(complete.path.parent, f"/surface?run=digits-swag-0&view={view}")
    drawn = "#surface-0 canvas" if view == "3d" else "#surface-0 .contourlayer path"
    page.locator(drawn).first.wait_for(state="attached")
    page.wait_for_timeout(1000)
    # Where a reader is asked for a printer or a file, the test takes what would be printed.
    page.evaluate("""() => {
        const append = document.body.append.bind(document.body);
        document.body.append = (frame) => {
            append(frame);
            frame.contentWindow.print = () => {
                window.printed = frame.contentDocument.documentElement.outerHTML;
            };
        };
    }""")
    page.get_by_role("button", name="PDF").first.click()
    page.wait_for_function("() => window.printed")
    size = page.evaluate(
        "() => { const { width, height } = document.querySelector"
        "('#surface-0 .js-plotly-plot')._fullLayout; return [width, height]; }"
    )
    sheet = browser.new_page()
    sheet.set_content(page.evaluate("() => window.printed"))
    pdf = sheet.pdf(prefer_css_page_size=True, print_background=True)
    sheet.close()
    assert pdf.startswith(b"%PDF")
    (box,) = re.findall(rb"/MediaBox \[0 0 ([0-9.]+) ([0-9.]+)\]", pdf)  # one page
    assert [float(side) / 0.75 for side in box] == pytest.approx(size, abs=1.5)
    assert b"/FontFile2" in pdf  # its text is text


def test_the_numbers_behind_a_figure_are_a_table_for_the_keyboard(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = new_run("one")
    page = show(tmp_path, "/flatness?run=one")
    page.locator("#trace .scatterlayer path.point").first.wait_for(state="attached")
    summary = page.locator("details[data-graph=trace] summary")
    summary.focus()
    page.keyboard.press("Enter")
    table = page.get_by_role("table", name="Trace at each sample")
    table.locator("tbody tr").first.wait_for()
    heads = table.locator("thead th").all_inner_texts()
    cells = table.locator("tbody tr >> nth=3 >> td").all_inner_texts()
    row = dict(zip(heads, cells, strict=True))
    assert float(row["y"]) == pytest.approx(run["samples"]["trace"][3], rel=1e-5)
    assert (row["run"], row["sample"]) == ("one", "3")
    # It follows the file.
    group = dict(run["samples"])
    run.write("samples", {name: values[:2] for name, values in group.items()})
    page.wait_for_function(
        "() => document.querySelectorAll('details[data-graph=trace] tbody tr').length === 2"
    )


def test_a_report_needs_no_server_and_asks_for_nothing(
    browser: Browser, new_run: Callable[..., Run], tmp_path: Path
) -> None:
    for seed, name in enumerate(("one", "two")):
        new_run(name, seed=seed)
    report = tmp_path / "report.html"
    exports.write_report(tmp_path, report)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    visit = Visit(page)
    visit.listen()
    page.goto(report.as_uri())
    assert page.locator("tbody tr").count() == 2
    page.locator("details[open] .contourlayer path").first.wait_for(state="attached")
    assert page.locator("details:not([open]) .main-svg").count() == 0  # drawn on demand
    page.locator("details:not([open]) summary").click()
    page.wait_for_function(
        "() => document.querySelectorAll('details')[1].querySelectorAll('.main-svg').length > 0"
    )
    page.wait_for_timeout(300)
    picture = page.locator("details >> nth=1 >> .figure >> nth=0").screenshot()
    with Image.open(io.BytesIO(picture)) as image:
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 100
    page.close()
    assert [url for url in visit.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert visit.errors == []
