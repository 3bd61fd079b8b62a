"""Pages for everybody: rules of axe, the keyboard, dark colours and narrow windows."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from browsing import Visit
from landscape_app.pages import FIGURE_PAGES
from made import write_run
from playwright.sync_api import Page

from landscape.store import Run

pytestmark = pytest.mark.browser

NARROW, MIDDLE, WIDE = 360, 768, 1280
TITLES = {"runs": "Runs"} | {page.key: page.title for page in FIGURE_PAGES}
FEWEST = 25
"""Number of stops of the Tab key from the top of a page below which any figure is reached."""

# axe walks through all elements. It has no rule for the lines of a drawing and none for a page that
# is hidden, so both are taken out for the moment: they are thousands.
TAKE_OUT = """() => {
    const isHidden = (page) => !page.checkVisibility();
    const pages = [...document.querySelectorAll("[id$=-page]")].filter(isHidden);
    const drawings = document.querySelectorAll(".main-svg");
    const parts = [...drawings, ...pages.flatMap((hidden) => [...hidden.children])];
    window.takenOut = parts.map((part) => {
        const place = document.createComment("");
        part.replaceWith(place);
        return [place, part];
    });
}"""
PUT_BACK = "() => window.takenOut.forEach(([place, part]) => place.replaceWith(part))"
AXE = """async ([scheme, rules]) => {
    document.documentElement.dataset.mantineColorScheme = scheme;
    document.body.dataset.agThemeMode = scheme;
    const only = rules.length ? { runOnly: { type: "rule", values: rules } } : {};
    const how = { resultTypes: ["violations"], preload: false, iframes: false, ...only };
    const { violations } = await axe.run(document, how);
    return violations
        .filter(({ impact }) => ["serious", "critical"].includes(impact))
        .flatMap(({ id, nodes }) => nodes.map(({ html, any }) => [id, html, any[0]?.message]));
}"""
"""What axe finds to be serious or worse in a scheme of colours, by these rules or by all."""
CUT_OFF = """() => [...document.querySelectorAll(".js-plotly-plot .main-svg text")]
    .filter((text) => text.checkVisibility() && text.textContent.trim())
    .filter((text) => {
        const own = text.getBoundingClientRect();
        const plot = text.closest(".js-plotly-plot").getBoundingClientRect();
        return own.left < plot.left - 2 || own.right > plot.right + 2;
    })
    .map((text) => text.textContent)"""
"""The texts of figures that do not fit into their width."""
SIDEWAYS = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SETTLED = "() => !document.querySelector('[data-dash-is-loading]')"
"""Whether no part of the page waits for an answer of the server, which would draw it anew."""
FRAMES = """(page) => [...document.querySelectorAll(`#${page}-page .frame`)]
    .filter((frame) => frame.checkVisibility()).map(({ id }) => id.replace("-frame", ""))"""
DRAWN = """([page, width]) => {
    const frames = [...document.querySelectorAll(`#${page}-page .frame`)]
        .filter((frame) => frame.checkVisibility());
    return frames.length && frames.every((frame) => {
        const plot = frame.querySelector(".js-plotly-plot");
        const { width: drawn, meta } = plot?._fullLayout ?? {};
        const sized = meta?.sized ?? 0;
        const fits = width > 1080 ? !sized : Math.abs(sized - drawn) < 22;
        return plot?.data?.length && fits && Math.abs(drawn - frame.clientWidth) < 3;
    });
}"""
"""Whether all figures of a page are drawn for the width of the window."""
FOCUSED = """() => document.activeElement.closest(".figure")
    ?.querySelector(".frame").id.replace("-frame", "") ?? document.activeElement.className"""


def go_to(page: Page, name: str) -> None:
    """Go to a page by its link."""
    if name == "run":
        page.locator("#compared").get_by_text("digits-swag-0", exact=True).click()
        page.locator(".metrics tbody tr").first.wait_for()
        return
    page.get_by_role("navigation", name="Pages").get_by_text(TITLES[name], exact=True).click()
    page.locator(f"#{name}-page").wait_for()


def test_axe_finds_nothing_serious_and_nothing_is_cut_off(
    show: Callable[..., Page], complete: Run, visit: Visit
) -> None:
    # Figures are drawn once, for the narrow window: see the test of their panels for the others.
    visit.page.add_init_script(
        "window.addEventListener('resize', (event) => event.stopImmediatePropagation())"
    )
    visit.page.set_viewport_size({"width": NARROW, "height": 740})
    visit.page.emulate_media(reduced_motion="reduce")  # colours change at once
    page = show(complete.path.parent, "/?run=digits-swag-0&at=0,0")
    page.add_style_tag(content=".frame { width: 312px !important; }")
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
    faults: list[Any] = []
    for name in (*TITLES, "run"):
        go_to(page, name)
        if name not in ("runs", "run"):
            page.wait_for_function(DRAWN, arg=[name, NARROW])
        page.wait_for_function(SETTLED)
        faults += [(name, "cut off", text) for text in page.evaluate(CUT_OFF)]
        page.evaluate(TAKE_OUT)
        for width in (NARROW, MIDDLE, WIDE):
            page.set_viewport_size({"width": width, "height": 740})
            faults += [(name, width, "sideways")] if page.evaluate(SIDEWAYS) > 0 else []
            if width != MIDDLE:
                for scheme, rules in (("light", []), ("dark", ["color-contrast"])):
                    found = page.evaluate(AXE, [scheme, rules])
                    faults += [(name, width, scheme, *fault) for fault in found]
        page.set_viewport_size({"width": NARROW, "height": 740})
        page.evaluate(PUT_BACK)
    assert faults == []


def test_every_figure_is_a_few_stops_from_the_top(
    show: Callable[..., Page], tmp_path: Path
) -> None:
    names = ("one", "two", "three", "four")
    for seed, name in enumerate(names):
        write_run(tmp_path, name, seed=seed)
    page = show(tmp_path, f"/surface?run={'&run='.join(names)}&at=0,0")  # the most figures
    page.wait_for_function(DRAWN, arg=["surface", WIDE])
    expected = set(page.evaluate(FRAMES, "surface"))
    assert len(expected) == 6
    reached = set()
    for stop in range(1, FEWEST):
        page.keyboard.press("Tab")
        here = page.evaluate(FOCUSED)
        if stop == 1:
            assert here == "skip", "the first stop leads past the head of the page"
            page.keyboard.press("Enter")
        reached.add(here)
    assert expected <= reached, f"{expected - reached} after {FEWEST - 1} stops"
