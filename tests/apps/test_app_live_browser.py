"""A run that another process measures, and a browser that cannot draw in space."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import CAMERA, Visit
from landscape_app.server import in_background
from playwright.sync_api import BrowserContext, Page

from landscape.store import Run

pytestmark = pytest.mark.browser

WRITER = """
import sys, time
from landscape.store import Run
run = Run.open(sys.argv[1])
whole, about = run["samples"], dict(run.attributes_of("samples"))
run.set_attributes(status="running")
for done in range(1, 5):
    part = {name: values[:done] for name, values in whole.items()}
    run.write("samples", part, about | {"requested": 4})
    print(done, flush=True)
    sys.stdin.readline()
run.set_attributes(status="complete")
"""
POINTS = """() => [...document.querySelectorAll('#spread .js-plotly-plot')]
    .map(plot => plot._fullData[0]?.x.length)[0]"""


PLACE = """() => {
    const { innerText, dataset } = document.activeElement;
    const graph = document.activeElement.closest('.figure');
    const name = graph?.querySelector('.frame')?.id.replace('-frame', '');
    return `${name ?? ''}:${dataset.save ?? innerText.trim()}`;
}"""
"""The figure of the element that has the focus, and what it is."""


def test_a_run_that_another_process_measures_is_followed(
    show: Callable[..., Page], complete: Run, new_run: Callable[..., Run]
) -> None:
    run = new_run("live")
    page = show(run.path.parent, "/surface?run=live&view=3d")
    page.locator("#surface-0 canvas").first.wait_for()
    page.wait_for_function(CAMERA)
    page.wait_for_timeout(800)
    before = page.evaluate(CAMERA)
    page.evaluate(
        """eye => window.Plotly.relayout(document.querySelector('#surface-0 .js-plotly-plot'),
            {'scene.camera.eye': eye})""",
        {"x": 0.4, "y": -1.9, "z": 1.1},
    )
    page.wait_for_timeout(500)
    turned = page.evaluate(CAMERA)
    assert turned != before
    page.evaluate(
        """() => { window.drawn = 0; document.querySelector('#surface-0 .js-plotly-plot')
            .on('plotly_react', () => { window.drawn += 1; }); }"""
    )
    chosen = page.locator("#compared li", has_text="live")
    command = [sys.executable, "-c", WRITER, str(run.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for done in range(1, 5):
            assert writer.stdout.readline() == f"{done}\n"
            chosen.get_by_text(f"{done} of 4 samples").wait_for()
            if done == 2:
                page.wait_for_function("() => window.drawn > 0")
                page.wait_for_timeout(500)
                assert page.evaluate(CAMERA) == pytest.approx(turned, abs=1e-3)
                page.get_by_role("navigation", name="Pages").get_by_text("Flatness").click()
            if done >= 2:
                page.wait_for_function(f"() => ({POINTS})() === {done}")
            writer.stdin.write("\n")
            writer.stdin.flush()
        assert writer.wait(20) == 0
    page.wait_for_function(
        "() => !document.querySelector('#compared').innerText.includes('of 4 samples')"
    )


def test_without_webgl_a_surface_is_drawn_as_contours(
    complete: Run, chromium: Callable[[Path, list[str]], BrowserContext], tmp_path: Path
) -> None:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-3d-apis"]
    flags.append("--disable-background-networking")
    with in_background(complete.path.parent) as site:
        browser = chromium(tmp_path, flags)
        visit = Visit(browser.new_page(), site)
        visit.listen()
        page = visit.open("/surface?run=digits-swag-0&view=3d")
        page.locator("#surface-0 .contourlayer path").first.wait_for(state="attached")
        page.get_by_text("This browser has no WebGL").wait_for()
        assert page.locator("#surface-0 canvas").count() == 0
        page.get_by_role("link", name="contour").click()
        page.get_by_text("This browser has no WebGL").wait_for(state="detached")
        browser.close()
    assert visit.errors == []


def test_every_figure_is_reached_by_keyboard_and_named(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent, "/flatness?run=digits-swag-0")
    page.locator("#density .scatterlayer path.js-line").first.wait_for(state="attached")
    reached: set[str] = set()
    for _ in range(45):
        page.keyboard.press("Tab")
        place = page.evaluate(PLACE)
        while place not in reached:  # arrow keys move within a row
            reached.add(place)
            page.keyboard.press("ArrowRight")
            place = page.evaluate(PLACE)
    for graph in ("eigenvalues", "spread", "relation", "density"):
        for what in ("png", "svg", "pdf", "HTML", "CSV", "Data table"):
            assert f"{graph}:{what}" in reached, (graph, what)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('a, button, summary, input, [role=group]')]
            .filter(element => element.checkVisibility())
            .filter(element => !(element.innerText?.trim() || element.ariaLabel || element.title
                || element.labels?.length || element.closest('.modebar')))
            .map(element => element.outerHTML)"""
    )
    assert nameless == []
