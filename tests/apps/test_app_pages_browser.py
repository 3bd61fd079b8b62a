"""What a page says of itself, what an address keeps, and what is done without a mouse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from browsing import CAMERA, Visit, wait_for_frames
from landscape_app.server import in_background
from made import start_run, write_predictions
from playwright.sync_api import BrowserContext, Page, Route, expect

from landscape.store import Run

pytestmark = pytest.mark.browser

PAGES = {
    "/": ("Runs", "Runs · landscape"),
    "/run/{}": ("{}", "{} · landscape"),
    "/run/absent": ("absent", "absent · landscape"),
    "/surface?run={}": ("Surface", "Surface: {} · landscape"),
    "/flatness?run={}": ("Flatness", "Flatness: {} · landscape"),
    "/averaging": ("Averaging", "Averaging · landscape"),
    "/elsewhere": ("No such page", "No such page · landscape"),
}
HEADINGS = """() => [...document.querySelectorAll("h1")]
    .filter((heading) => heading.checkVisibility()).map(({ innerText }) => innerText)"""
GO = """path => {
    const { pathname, search } = new URL(path, window.location);
    window.landscapeAddress.go(search, pathname);
}"""
BEYOND = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SLICED = """() => document.querySelector("#slices .js-plotly-plot")?._fullData
    .find(({ mode }) => mode === "markers")?.x[0]"""


def rows(page: Page) -> list[str]:
    """The names in the list, from top to bottom."""
    found = page.locator("#grid .ag-center-cols-container .ag-row").evaluate_all(
        """rows => rows.map(row => [Number(row.getAttribute("row-index")),
            row.querySelector("[col-id=name]").innerText])"""
    )
    return [name for _, name in sorted(found)]


def test_every_page_has_one_heading_and_a_title_of_its_own(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent)
    for path, (heading, title) in PAGES.items():
        page.evaluate(GO, path.format("digits-swag-0"))
        page.wait_for_function(
            "title => document.title === title", arg=title.format("digits-swag-0")
        )
        page.get_by_role("heading", level=1, name=heading.format("digits-swag-0")).wait_for()
        assert len(page.evaluate(HEADINGS)) == 1, path


def test_a_long_name_fits(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    names = ["short", "long" * 45]
    for name in names:
        new_run(name)
    page = show(tmp_path, f"/flatness?run={'&run='.join(names)}")
    page.locator("#eigenvalues .legendtext", has_text="…").wait_for()
    assert page.evaluate(BEYOND) == 0
    page.get_by_title(f"Take {names[1]} off").click()
    page.wait_for_url("**/flatness?run=short**")


def test_samples_and_slices_are_chosen_without_a_mouse(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent, "/surface?run=digits-swag-0")
    page.locator("#surface-0 .contourlayer path").first.wait_for(state="attached")
    point = page.get_by_label("Slices through the point")
    point.focus()
    page.keyboard.type("1 -0.5")
    page.keyboard.press("Enter")
    page.wait_for_url("**&at=1,-0.5")
    page.wait_for_function(f"() => Math.abs(({SLICED})() - 1) < 0.12")
    assert point.evaluate("field => field === document.activeElement")
    for wrong in ("1, 2, 3", "foo", "1e400, 0"):  # it stays to be mended, and goes nowhere
        point.fill(wrong)
        page.keyboard.press("Enter")
        expect(page.get_by_text("two numbers: x, y")).to_be_visible()
        expect(point).to_have_value(wrong)
        assert page.url.endswith("&at=1,-0.5")
    point.fill("1, 100")
    page.keyboard.press("Enter")
    expect(page.locator("#slices")).to_contain_text("outside the plane")
    expect(page.get_by_text("two numbers: x, y")).to_be_hidden()
    point.fill("1, -0.5")
    page.keyboard.press("Enter")
    page.wait_for_url("**&at=1,-0.5")  # what is typed now, before the field is written anew, stays
    samples = page.get_by_role("group", name="Highlight samples").get_by_label("digits-swag-0")
    expect(samples).to_have_attribute("placeholder", "0 – 9")
    samples.focus()
    page.keyboard.type("4, x")
    page.keyboard.press("Tab")
    page.wait_for_timeout(300)
    expect(page.get_by_text("numbers: 0, 3, 9-11")).to_be_visible()
    samples.fill("6-8, 2 2")
    page.keyboard.press("Enter")
    page.wait_for_url("**&at=1,-0.5&pick=digits-swag-0:2,6,7,8")
    samples.fill("4, 2 2")
    page.keyboard.press("Enter")
    page.wait_for_url("**&at=1,-0.5&pick=digits-swag-0:2,4")
    page.wait_for_function("() => document.querySelector('#pick-0').value === '2, 4'")
    page.get_by_role("link", name="No slices").click()
    page.locator("#slices-frame").wait_for(state="hidden")
    assert page.url.endswith("/surface?run=digits-swag-0&pick=digits-swag-0:2,4")
    samples.fill("")
    samples.press("Enter")
    page.wait_for_url("**/surface?run=digits-swag-0")
    page.go_back()
    page.wait_for_function("() => document.querySelector('#pick-0').value === '2, 4'")
    page.goto(f"{page.url}&at=0,1")
    page.wait_for_function("() => document.querySelector('#slice-at')?.value === '0, 1'")
    expect(samples).to_have_value("2, 4")


def test_nothing_is_called_highlighted_that_is_not(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent, "/flatness?run=digits-swag-0&pick=digits-swag-0:1,77")
    page.get_by_text("There is no sample 77 of digits-swag-0.").wait_for()
    page.get_by_role("navigation", name="Pages").get_by_text("Calibration").click()
    page.locator("#calibration path.point").first.wait_for(state="attached")
    expect(page.get_by_role("group", name="Highlight samples")).to_be_hidden()
    expect(page.get_by_text("ighlight").filter(visible=True)).to_have_count(0)


def test_the_list_is_used_by_keyboard_alone(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    for seed, name in enumerate(("one", "two")):
        new_run(name, seed=seed)
    page = show(tmp_path)
    page.get_by_label("Show one").wait_for()
    assert page.get_by_label("Show one").get_attribute("type") == "checkbox"
    page.locator("#by").focus()  # the last field before the list
    stops = []
    for _ in range(14):  # 13 headers, and the first cell
        page.keyboard.press("Tab")
        stops.append(page.evaluate("() => document.activeElement.innerText.trim()"))
    assert all(stops[:13]), stops  # none is empty
    assert page.evaluate("() => document.activeElement.getAttribute('col-id')") == "chosen"
    name = page.evaluate(
        "() => document.activeElement.closest('.ag-row').querySelector('[col-id=name]').innerText"
    )
    page.keyboard.press("Space")
    page.wait_for_url(f"**/?run={name}")
    page.wait_for_function(
        "name => document.querySelector(`[aria-label='Show ${name}']`).checked", arg=name
    )
    page.keyboard.press("Space")
    page.wait_for_function("() => !window.location.search")


def test_the_list_comes_back_sorted_filtered_and_searched_from_its_address(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path, visit: Visit
) -> None:
    for name, nll in (("swag-a", 0.9), ("swag-b", 10.0), ("swag-c", 2.0), ("map-a", 1.0)):
        run = new_run(name)
        run.write("predictions", dict(run["predictions"]), {"nll": nll})
    page = show(tmp_path)
    page.locator("#grid [col-id=nll] .ag-header-cell-text").click()
    page.locator("#grid [col-id=nll] .ag-header-cell-text").click()
    page.wait_for_url("**/?sort=nll:desc")
    page.get_by_label("Find runs").fill("swag-")
    page.wait_for_url("**/?find=swag-&sort=nll:desc")
    # A choice keeps the rest, and its links lead to pages without it.
    page.get_by_label("Show swag-a").click()
    page.wait_for_url("**/?run=swag-a&find=swag-&sort=nll:desc")
    page.get_by_label("Show swag-a").click()
    page.wait_for_url("**/?find=swag-&sort=nll:desc")
    condition = '{"nll":{"filterType":"number","type":"lessThan","filter":5},"odd":{}}'
    address = f"{page.url}&filter={condition}"
    page.goto("about:blank")
    page.goto(address)
    page.get_by_label("Show swag-c").wait_for()
    page.wait_for_function("() => document.querySelectorAll('#grid .ag-row').length === 2")
    assert rows(page) == ["swag-c", "swag-a"]
    assert page.get_by_label("Find runs").input_value() == "swag-"


def test_choices_that_are_quicker_than_the_server_all_count(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    for seed, name in enumerate(("one", "two", "three & <b>")):
        new_run(name, seed=seed)
    page = show(tmp_path, "/?run=one&pick=one:3")
    expect(page.get_by_label("Show one")).to_be_checked()
    page.locator("#compared li").wait_for()
    with unanswered(page):
        page.get_by_label("Show two").click()
        page.wait_for_url("**/?run=one&run=two&pick=one:3")
        page.get_by_label("Show one").click()
        page.wait_for_url("**/?run=&run=two")
        page.get_by_label("Show one").click()
        page.get_by_label("Show three").click()
        page.wait_for_url("**/?run=one&run=two&run=three%20%26%20%3Cb%3E")
        expect(page.get_by_role("checkbox", checked=True)).to_have_count(3)
        page.get_by_role("navigation", name="Pages").get_by_text("Training").click()
        page.wait_for_url("**/training?run=one&run=two&run=three%20%26%20%3Cb%3E")
    page.locator("#compared li").nth(2).wait_for()
    with unanswered(page):
        page.get_by_title("Take one off").click()
        page.get_by_title("Take two off").click()
    page.wait_for_url("**/training?run=&run=&run=three%20%26%20%3Cb%3E")
    expect(page.locator("#compared li")).to_have_count(1)
    page.locator("#training .gtitle", has_text="three & <b>").wait_for()


def test_a_text_typed_before_the_list_has_rows_counts(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path, visit: Visit
) -> None:
    for seed, name in enumerate(("swag-a", "swag-b", "map-a")):
        new_run(name, seed=seed)
    with unanswered(visit.page, '"runs-shown'):
        page = show(tmp_path)
        page.get_by_label("Find runs").fill("swag-")
    page.wait_for_url("**/?find=swag-")
    page.wait_for_function("() => document.querySelectorAll('#grid .ag-row').length === 2")
    assert sorted(rows(page)) == ["swag-a", "swag-b"]
    assert page.get_by_label("Find runs").input_value() == "swag-"


@contextmanager
def unanswered(page: Page, asked: str = "") -> Iterator[None]:
    """Let the server's answers wait meanwhile: those to requests that have ``asked`` in them."""
    waiting: list[Route] = []
    done = False

    def hold(route: Route) -> None:
        if not done and asked in (route.request.post_data or ""):
            waiting.append(route)
        else:
            route.continue_()

    page.route("**/_dash-update-component*", hold)
    yield
    done = True
    for route in waiting:
        route.continue_()


def test_settings_that_are_quicker_than_the_server_all_count(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent, "/surface?run=digits-swag-0")
    page.locator("#surface-0 .contourlayer path").first.wait_for(state="attached")
    with unanswered(page):
        for name in ("3D", "logarithmic", "contour"):
            page.get_by_role("link", name=name).click()
        page.wait_for_url("**/surface?run=digits-swag-0&loss=log")
        page.get_by_role("navigation", name="Pages").get_by_text("Flatness").click()
        page.wait_for_url("**/flatness?run=digits-swag-0&loss=log")
    page.get_by_role("heading", level=1, name="Flatness").wait_for()
    page.go_back()
    page.locator("#surface-0 .contourlayer path").first.wait_for(state="attached")
    assert page.url.endswith("/surface?run=digits-swag-0&loss=log")


def test_an_address_and_a_saved_surface_keep_the_camera(
    show: Callable[..., Page], browser: BrowserContext, complete: Run, tmp_path: Path
) -> None:
    page = show(complete.path.parent, "/surface?run=digits-swag-0&view=3d")
    page.locator("#surface-0 canvas").first.wait_for()
    page.wait_for_function(CAMERA)
    page.wait_for_timeout(800)
    assert "camera" not in page.url
    box = page.locator("#surface-0 canvas").first.bounding_box()
    assert box is not None
    for _ in range(10):  # a slow machine may miss a drag
        page.mouse.move(box["x"] + 300, box["y"] + 300)
        page.mouse.down()
        page.mouse.move(box["x"] + 400, box["y"] + 310, steps=2)
        wait_for_frames(page)
        page.mouse.up()
        page.wait_for_timeout(800)
        if "camera=" in page.url:
            break
    address, turned = page.url, page.evaluate(CAMERA)
    assert "&camera=" in address
    page.get_by_role("link", name="logarithmic").click()
    page.wait_for_url("**&loss=log&camera=*")
    # The links follow the address as soon as the server has answered.
    page.locator("a[href$='&loss=log']", has_text="contour").click()
    page.wait_for_url("**/surface?run=digits-swag-0&loss=log")
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function(
        f"eye => {{ try {{ return Math.abs(({CAMERA})().x - eye.x) < 1e-3 }} catch {{}} }}",
        arg=turned,
    )
    page.wait_for_timeout(1500)
    assert page.evaluate(CAMERA) == pytest.approx(turned, abs=1e-3)
    assert page.url == address
    # And a surface is saved as it is looked at.
    page.evaluate(
        """eye => window.Plotly.relayout(document.querySelector('#surface-0 .js-plotly-plot'),
            {'scene.camera.eye': eye})""",
        {"x": 0.4, "y": -1.9, "z": 1.1},
    )
    page.wait_for_function("() => window.location.search.includes('camera=0.4,-1.9,1.1')")
    with page.expect_download() as download:
        page.locator("#surface-0-links a[data-format=html]").click()
    file = tmp_path / "surface.html"
    download.value.save_as(file)
    saved = browser.new_page()
    saved.goto(file.as_uri())
    eye = saved.evaluate("document.querySelector('.js-plotly-plot').layout.scene.camera.eye")
    assert eye == {"x": 0.4, "y": -1.9, "z": 1.1}
    saved.close()


def test_a_server_that_is_gone_is_told_until_it_is_back(
    browser: BrowserContext, new_run: Callable[..., Run], tmp_path: Path
) -> None:
    new_run("one")
    page = browser.new_page()
    gone = page.get_by_role("alert").get_by_text("does not answer")
    with in_background(tmp_path) as site:
        page.goto(site)
        page.get_by_label("Show one").wait_for()
        assert not gone.is_visible()
        page.route("**/*", lambda route: route.abort())  # as a server that was stopped
        gone.wait_for()
        page.get_by_role("link", name="one", exact=True).click()
        page.unroute("**/*")
        gone.wait_for(state="detached")
        page.get_by_role("heading", level=1, name="one").wait_for()
    page.close()


def test_no_browser_is_warned_of_a_grid_without_width(
    show: Callable[..., Page], complete: Run, visit: Visit
) -> None:
    said: list[str] = []
    visit.page.on("console", lambda message: said.append(message.text))
    page = show(complete.path.parent, "/training?run=digits-swag-0")
    page.locator("#training path.js-line").first.wait_for(state="attached")
    page.wait_for_timeout(500)
    page.get_by_role("navigation", name="Pages").get_by_text("Runs").click()
    page.get_by_label("Show digits-swag-0").wait_for()
    assert not [text for text in said if "AG Grid" in text]
    for column in ("name", "status", "training"):  # nothing is cut off, or beyond the page
        cell = page.locator(f"#grid .ag-row [col-id={column}]")
        assert cell.evaluate("cell => cell.scrollWidth <= cell.clientWidth"), column
        box = cell.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] < 1280 - 32, column
    assert page.locator("#grid .status-complete").inner_text() == "complete"


def test_settings_are_a_table_without_bookkeeping(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path, visit: Visit
) -> None:
    for name, rank, asked in (("one", 5, "pca"), ("two", 7, "random")):
        config = {"method": {"name": "swag", "rank": rank, "start": None, "scale": [1, 2]}}
        new_run(name).set_attributes(config=json.dumps(config | {"surface": {"plane": asked}}))
    page = show(tmp_path, "/?run=one&run=two")
    table = page.locator("section", has_text="Settings that differ").locator("tbody tr")
    table.first.wait_for()
    assert [row.split() for row in table.all_inner_texts()] == [["method.rank", "5", "7"]]
    page.goto(f"{visit.site}/run/two")
    page.get_by_text("Settings and provenance").click()
    body = page.locator(".attributes tbody", has=page.get_by_text("method", exact=True)).last
    assert [row.split("\t") for row in body.inner_text().split("\n") if row][-3:] == [
        ["rank", "7"],
        ["start", "–"],
        ["scale", "1, 2"],
    ]
    assert page.locator(".attributes", has_text="{").count() == 0


def test_runs_that_are_not_in_the_list_are_pointed_at(
    show: Callable[..., Page], started: Run
) -> None:
    folder = started.path.parent
    (folder / "demo").mkdir()
    shutil.copy(started.path, folder / "demo" / "inside.h5")
    started.path.rename(folder / "UPPER.H5")
    page = show(folder)
    page.get_by_text(f"landscape app {folder / 'demo'}").wait_for()
    assert "rename it to UPPER.h5" in page.locator(".broken tr", has_text="UPPER.H5").inner_text()


def test_a_run_without_a_surface_says_how_it_gets_one(
    show: Callable[..., Page], tmp_path: Path
) -> None:
    run = start_run(tmp_path, "bare")
    write_predictions(run, np.random.default_rng(0))
    page = show(tmp_path, "/surface?run=bare&plane=pca")
    page.locator("#surface-0-message code", has_text="bare.h5 --plane pca").wait_for()
