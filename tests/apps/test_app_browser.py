"""The pages in a real browser: what a user sees, and that nothing leaves the machine."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from conftest import write_samples
from landscape_app.server import in_background
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from landscape.store import Run

pytestmark = pytest.mark.browser

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
]
CAMERA = """() => {
    const plot = document.querySelector("#surface .js-plotly-plot");
    return plot._fullLayout.scene._scene.getCamera().eye;
}"""
RANGE = """name =>
    document.querySelector(`#${name} .js-plotly-plot`)?._fullLayout?.xaxis.range"""
HEIGHT = "() => document.querySelector('#surface .js-plotly-plot')._fullLayout.scene.zaxis.tickvals"

TROUBLE = "#run-header .notice-error, #runs-page .notice-error"


@dataclass
class Visit:
    """A browser page, with what went wrong and what was asked of the network meanwhile."""

    page: Page
    site: str = ""
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        self.page.goto(self.site + path)
        return self.page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("LANDSCAPE_REQUIRE_BROWSER") == "1":
            pytest.fail("LANDSCAPE_REQUIRE_BROWSER=1, but there is no chromium on the PATH")
        pytest.skip("no chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """A fresh page; after the test, nothing may have failed or left this machine."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(20_000)
    visit = Visit(page)
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on(
        "console",
        lambda message: visit.errors.append(message.text) if message.type == "error" else None,
    )
    yield visit
    page.close()
    assert visit.errors == []
    hosts = {urlsplit(url).hostname for url in visit.requests if not url.startswith("data:")}
    assert hosts <= {"127.0.0.1", None}  # None: blob URLs of the page itself


@pytest.fixture
def show(visit: Visit) -> Iterator[Callable[[Path, str], Page]]:
    """Serve a folder and open one of its pages."""
    servers = []

    def show(folder: Path, path: str = "/") -> Page:
        server = in_background(folder)
        visit.site = server.__enter__()
        servers.append(server)
        return visit.open(path)

    yield show
    visit.page.close()
    for server in servers:
        server.__exit__(None, None, None)


def colours(page: Page, selector: str) -> int:
    """How many different colours an element shows."""
    with Image.open(io.BytesIO(page.locator(selector).screenshot())) as image:
        return len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0))


def test_the_list_leads_to_a_run_with_every_figure_drawn(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent)
    page.get_by_role("link", name="digits-swag-0").click()
    page.get_by_role("heading", name="digits-swag-0").wait_for()
    assert page.locator(".fact", has_text="Accuracy").inner_text().split("\n")[1] == "93.5 %"
    for drawn in (
        "#surface .contourlayer path",
        "#surface .scatterlayer path.point",
        "#eigenvalues .scatterlayer path.point",
        "#trace .scatterlayer path.point",
        "#metrics .scatterlayer path.point",
        "#training .scatterlayer path.js-line",
    ):
        page.locator(drawn).first.wait_for(state="attached")
        box = page.locator(drawn).first.bounding_box()
        assert box is not None
        assert box["width"] > 0
    assert colours(page, "#surface") > 100
    assert page.locator("#metrics-table tbody tr").count() == 4
    page.get_by_text("Settings and provenance").click()
    assert page.get_by_text("parameter_count").is_visible()


def test_nothing_offers_to_upload_a_figure(show: Callable[..., Page], complete: Run) -> None:
    page = show(complete.path.parent, "/run/digits-swag-0")
    page.locator("#surface .modebar-btn").first.wait_for(state="attached")
    titles = page.locator(".modebar-btn").evaluate_all(
        "buttons => buttons.map(button => button.dataset.title + button.getAttribute('aria-label'))"
    )
    assert any("Zoom" in title for title in titles)
    assert not any("hare" in title or "loud" in title for title in titles)
    assert page.locator(".modebar-btn--logo").count() == 0


def test_3d_on_demand_keeps_the_camera_when_the_figure_changes(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent, "/run/digits-swag-0")
    page.locator("#surface .contourlayer path").first.wait_for(state="attached")
    assert page.locator("#surface canvas").count() == 0
    page.locator("#surface-kind").get_by_label("3D").check()
    page.locator("#surface canvas").first.wait_for()
    page.wait_for_function(CAMERA)
    page.wait_for_timeout(500)
    assert colours(page, "#surface canvas >> nth=0") > 1000
    before = page.evaluate(CAMERA)
    box = page.locator("#surface canvas").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 120, y + 20, steps=6)
    page.mouse.up()
    turned = page.evaluate(CAMERA)
    assert abs(turned["x"] - before["x"]) > 0.1
    for _ in range(2):
        page.mouse.wheel(0, 200)
        page.wait_for_timeout(500)
    farther = page.evaluate(CAMERA)
    assert length(farther) > 1.05 * length(turned)
    page.locator("#surface-scale").get_by_label("logarithmic").check()
    page.wait_for_function(HEIGHT)
    assert page.evaluate(CAMERA) == pytest.approx(farther, abs=1e-3)
    page.locator("#surface [data-title='Reset camera to default']").click()
    page.wait_for_timeout(500)
    reset = page.evaluate(CAMERA)
    assert length(reset) < 0.95 * length(farther)
    page.locator("#surface-scale").get_by_label("linear").check()
    page.wait_for_function(f"() => !({HEIGHT})()")
    assert page.evaluate(CAMERA) == pytest.approx(reset, abs=1e-3)


def length(eye: dict[str, float]) -> float:
    return sum(value**2 for value in eye.values()) ** 0.5


@pytest.mark.parametrize("name", ["surface", "trace"])
def test_a_zoom_and_its_end_outlast_a_new_figure(
    name: str, show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = new_run("zoomed")
    page = show(tmp_path, "/run/zoomed")
    page.locator(f"#{name} .nsewdrag").first.wait_for(state="attached")
    page.locator(f"#{name}").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    whole = page.evaluate(RANGE, name)
    box = page.locator(f"#{name} .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_timeout(500)
    zoomed = page.evaluate(RANGE, name)
    assert zoomed[1] - zoomed[0] < 0.8 * (whole[1] - whole[0])
    redraw(page, name, run)
    assert page.evaluate(RANGE, name) == pytest.approx(zoomed)
    page.mouse.dblclick(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.wait_for_timeout(800)
    reset = page.evaluate(RANGE, name)
    assert reset[0] <= whole[0] < whole[1] <= reset[1]
    redraw(page, name, run)
    assert page.evaluate(RANGE, name) == pytest.approx(reset)


def test_an_axis_that_nobody_touched_follows_the_data(
    show: Callable[..., Page], started: Run
) -> None:
    write_samples(started, np.random.default_rng(0), samples=4)
    page = show(started.path.parent, "/run/digits-map-0")
    page.wait_for_function(f"() => ({RANGE})('trace')?.[1] === 3.5")
    write_samples(started, np.random.default_rng(0), samples=9)
    page.wait_for_function(f"() => ({RANGE})('trace')?.[1] === 8.5")


def redraw(page: Page, name: str, run: Run) -> None:
    """Change the run's file, and wait until the figure is drawn again."""
    page.evaluate(
        """name => {
            window.drawn = false;
            const plot = document.querySelector(`#${name} .js-plotly-plot`);
            plot.on("plotly_react", () => { window.drawn = true; });
            plot.on("plotly_afterplot", () => { window.drawn = true; });
        }""",
        name,
    )
    run.write("samples", dict(run["samples"]), run.attributes_of("samples"))
    page.wait_for_function("() => window.drawn")
    page.wait_for_timeout(300)


def test_another_plane_is_a_choice_away(show: Callable[..., Page], complete: Run) -> None:
    page = show(complete.path.parent, "/run/digits-swag-0")
    page.locator("#surface .gtitle", has_text="through the samples").wait_for()
    page.locator("#surface-name").click()
    page.get_by_role("option", name="random").click()
    page.locator("#surface .gtitle", has_text="a random plane").wait_for()


def test_an_empty_folder_says_what_to_do_and_follows_the_folder(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    page = show(tmp_path)
    page.get_by_text("landscape demo").wait_for()
    assert page.get_by_text(str(tmp_path)).count() >= 1
    new_run("arrived")
    page.get_by_role("link", name="arrived").wait_for()


def test_a_broken_file_is_listed_with_its_reason(show: Callable[..., Page], started: Run) -> None:
    (started.path.parent / "notes.h5").write_text("hello")
    page = show(started.path.parent)
    row = page.locator(".broken tr", has_text="notes.h5")
    assert "not an HDF5 file" in row.inner_text()
    page.goto(page.url + "run/notes")
    page.locator(TROUBLE, has_text="not an HDF5 file").wait_for()


def test_a_missing_quantity_stands_where_its_figure_would(
    show: Callable[..., Page], started: Run
) -> None:
    page = show(started.path.parent, "/run/digits-map-0")
    for place in ("surface", "eigenvalues", "trace", "metrics", "training"):
        page.locator(f"#{place}-message .notice", has_text="landscape").wait_for()
        assert not page.locator(f"#{place}-frame").is_visible()
    assert page.get_by_text("This run is not complete").is_visible()


def test_a_file_that_breaks_and_a_folder_that_goes_are_told(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = new_run("short-lived")
    page = show(tmp_path, "/run/short-lived")
    page.locator("#surface .contourlayer path").first.wait_for(state="attached")
    run.path.write_bytes(run.path.read_bytes()[:1000])
    page.locator(TROUBLE, has_text="truncated").wait_for()
    shutil.rmtree(tmp_path)
    page.get_by_role("link", name="All runs").click()
    page.get_by_text("The folder cannot be read").wait_for()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/run/..%2Fsecret", "not the name of a run"),
        ("/run/absent", "no run 'absent'"),
        ("/elsewhere", "nothing at"),
    ],
)
def test_an_address_that_is_no_page_says_so(
    path: str, said: str, show: Callable[..., Page], started: Run
) -> None:
    page = show(started.path.parent, path)
    page.locator(TROUBLE, has_text=said).wait_for()
