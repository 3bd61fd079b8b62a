"""A real browser on a folder that is served: nothing may fail there, or leave the machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from landscape_app.server import in_background
from playwright.sync_api import Browser, Page, expect, sync_playwright

CAMERA = """() => {
    const plot = document.querySelector("#surface-0 .js-plotly-plot");
    return plot._fullLayout.scene._scene.getCamera().eye;
}"""
PATIENCE = 60_000
"""Milliseconds: a machine with other work is slow, and what fails may take its time."""
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
]


expect.set_options(timeout=PATIENCE)


@dataclass
class Visit:
    """A browser page, with what went wrong and what was asked of the network meanwhile."""

    page: Page
    site: str = ""
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Note requests and errors from now on."""
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type == "error" else None,
        )

    def open(self, path: str) -> Page:
        self.page.goto(self.site + path)
        return self.page


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[[list[str]], Browser]]:
    """Start Chromium with some flags."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("LANDSCAPE_REQUIRE_BROWSER") == "1":
            pytest.fail("LANDSCAPE_REQUIRE_BROWSER=1, but there is no chromium on the PATH")
        pytest.skip("no chromium on the PATH")
    with sync_playwright() as playwright:
        yield lambda flags: playwright.chromium.launch(executable_path=chromium, args=flags)


@pytest.fixture(scope="session")
def browser(launch: Callable[[list[str]], Browser]) -> Iterator[Browser]:
    browser = launch(FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """A fresh page; after the test, nothing may have failed or left this machine."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    visit = Visit(page)
    visit.listen()
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


def wait_for_frames(page: Page) -> None:
    """Until the browser has drawn often enough for a scene to see the mouse where it is."""
    page.evaluate(
        """async () => {
            for (let frame = 0; frame < 10; frame += 1)
                await new Promise((drawn) => requestAnimationFrame(drawn));
        }"""
    )
