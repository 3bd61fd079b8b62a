"""Pages for everybody: rules of axe, the keyboard, dark colours and narrow windows."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from browsing import follow
from made import write_run
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

AXE = """async () => {
    const found = await axe.run({ exclude: [[".main-svg"]] }, { resultTypes: ["violations"] });
    return found.violations
        .filter(({ impact }) => ["serious", "critical"].includes(impact))
        .flatMap(({ id, nodes }) => nodes.map(({ html, any }) => [id, html, any[0]?.message]));
}"""
"""What axe finds to be serious or worse. It has no rule for the lines of a drawing."""
BEYOND = """() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    const cut = [...document.querySelectorAll(".js-plotly-plot .main-svg text")]
        .filter((text) => text.checkVisibility() && text.textContent.trim())
        .filter((text) => {
            const own = text.getBoundingClientRect();
            const plot = text.closest(".js-plotly-plot").getBoundingClientRect();
            return own.left < plot.left - 3 || own.right > plot.right + 3;
        })
        .map((text) => text.textContent);
    return [...(scrollWidth > clientWidth ? ["the page scrolls sideways"] : []), ...cut];
}"""
"""What does not fit the width of the window."""
DRAWN = """([page, width]) => {
    const shown = [...document.querySelectorAll(`#${page}-page .frame`)]
        .filter((frame) => frame.checkVisibility());
    return shown.length > 0 && shown.every((frame) => {
        const plot = frame.querySelector(".js-plotly-plot");
        const layout = plot?._fullLayout;
        if (!layout || !plot.data?.length) return false;
        const isSized = (layout.meta?.sized ?? 0) > 0;
        return (width > 1080 ? !isSized : isSized) && Math.abs(layout.width - frame.clientWidth) < 3
            && (!isSized || Math.abs(layout.meta.sized - layout.width) < 25);
    });
}"""
"""Whether all figures of a page are drawn for the width of the window."""
PAGES = {
    "surface": "lines",
    "flatness": "density",
    "averaging": "averaging",
    "calibration": "calibration",
    "training": "training",
    "compare": "scatter",
}
"""The last figure of each page."""
SIZES = ((1280, 900), (768, 900), (360, 740))
FIGURE = """() => document.activeElement.closest(".figure")
    ?.querySelector(".frame").id.replace("-frame", "") ?? document.activeElement.className"""
FEWEST = 25
"""Number of stops of the Tab key from the top of a page below which any figure is reached."""


def choose_theme(page: Page, name: str) -> None:
    page.locator("#theme").get_by_text(name, exact=True).click()
    page.wait_for_selector(f"html[data-mantine-color-scheme={name}]", state="attached")


def test_axe_finds_nothing_serious_and_nothing_is_cut_off(
    show: Callable[..., Page], tmp_path: Path
) -> None:
    for seed, name in enumerate(("one", "two")):
        write_run(tmp_path, name, seed=seed)
    page = show(tmp_path, "/?run=one&run=two&at=0,0")
    page.locator(".ag-row").first.wait_for()
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
    faults = []
    for name in ("runs", "run", *PAGES):
        if name == "run":
            page.locator("#compared").get_by_text("one", exact=True).click()
            page.locator(".metrics tbody tr").first.wait_for()
        elif name != "runs":
            follow(page, name)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            if name in PAGES:
                page.wait_for_function(DRAWN, arg=[name, width])
            faults += [(name, width, fault) for fault in page.evaluate(BEYOND)]
            if width == 768:
                continue
            for theme in ("light", "dark"):
                choose_theme(page, theme)
                faults += [(name, width, theme, *fault) for fault in page.evaluate(AXE)]
    assert faults == []


def test_every_figure_is_a_few_stops_from_the_top(
    show: Callable[..., Page], tmp_path: Path
) -> None:
    names = ("one", "two", "three", "four")
    for seed, name in enumerate(names):
        write_run(tmp_path, name, seed=seed)
    page = show(tmp_path, f"/surface?run={'&run='.join(names)}&at=0,0")
    for name in PAGES:
        if name != "surface":
            follow(page, name)
        page.wait_for_function(DRAWN, arg=[name, 1280])
        expected = set(
            page.evaluate(
                """page => [...document.querySelectorAll(`#${page}-page .frame`)]
                    .filter((frame) => frame.checkVisibility())
                    .map(({ id }) => id.replace("-frame", ""))""",
                name,
            )
        )
        page.evaluate("() => { document.activeElement.blur(); window.getSelection().empty(); }")
        page.keyboard.press("Shift+Tab")  # from nowhere, so that the next stop is the first
        page.evaluate("() => document.activeElement.blur()")
        reached = set()
        for stop in range(1, FEWEST):
            page.keyboard.press("Tab")
            here = page.evaluate(FIGURE)
            if stop == 1:
                assert here == "skip", "the first stop leads past the head of the page"
                page.keyboard.press("Enter")
            reached.add(here)
        assert expected <= reached, f"{name}: {expected - reached} after {FEWEST} stops"
