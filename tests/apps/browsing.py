"""A real browser on a folder that is served: nothing may fail there, or leave the machine."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partialmethod
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from landscape_app import components
from landscape_app.server import in_background
from playwright.sync_api import BrowserContext, Error, Page, Request, expect, sync_playwright

CAMERA = """() => {
    const plot = document.querySelector("#surface-0 .js-plotly-plot");
    return plot._fullLayout.scene._scene.getCamera().eye;
}"""
PATIENCE = 60_000
"""Milliseconds: a machine with other work is slow, and what fails may take its time."""
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",  # a processor draws text and lines faster when it does not act as a GPU
    "--enable-unsafe-swiftshader",  # WebGL alone needs it to
    "--disable-background-networking",
    "--process-per-site",  # pages share a process, which keeps the scripts that it has compiled
]


_listening: list[Visit] = []
expect.set_options(timeout=PATIENCE)
# Without this, a page that is waited for is asked in each frame, and draws frames without end.
Page.wait_for_function = partialmethod(Page.wait_for_function, polling=50)  # type: ignore[assignment]


@dataclass
class Visit:
    """A browser page, with what went wrong and what was asked of the network meanwhile."""

    page: Page
    site: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unanswered: set[Request] = field(default_factory=set)

    def listen(self) -> None:
        """Note requests and errors from now on. If the test fails, its report shows them."""
        _listening.append(self)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("request", lambda request: self.unanswered.add(request))
        for end in ("requestfinished", "requestfailed"):
            self.page.on(end, lambda request: self.unanswered.discard(request))
        self.page.on("requestfailed", lambda request: self.failed.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(error.stack or str(error)))
        self.page.on("crash", lambda _: self.errors.append("the page crashed"))
        self.page.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type == "error" else None,
        )

    def open(self, path: str) -> Page:
        self.page.goto(self.site + path)
        return self.page

    def __str__(self) -> str:
        now: dict[str, object] = {"address": self.page.url, "errors": self.errors}
        now["unanswered"] = [
            f"{request.url} {request.post_data or ''}"[:200] for request in self.unanswered
        ]
        now["failed"] = self.failed
        with suppress(Error):
            now["text"] = self.page.locator("body").inner_text(timeout=2000)
        return "\n".join(f"{name}: {value}" for name, value in now.items())


def opened() -> list[Visit]:
    """The pages that a test has open; they are then forgotten."""
    visits = [visit for visit in _listening if not visit.page.is_closed()]
    _listening.clear()
    return visits


@pytest.fixture(scope="session")
def chromium() -> Iterator[Callable[[Path, list[str]], BrowserContext]]:
    """Start Chromium with a folder for its profile, and some flags."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("LANDSCAPE_REQUIRE_BROWSER") == "1":
            pytest.fail("LANDSCAPE_REQUIRE_BROWSER=1, but there is no chromium on the PATH")
        pytest.skip("no chromium on the PATH")
    with sync_playwright() as playwright:
        yield lambda profile, flags: playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium,
            args=flags,
            viewport={"width": 1280, "height": 900},
        )


@pytest.fixture(scope="session")
def site() -> str:
    """An address of this machine that is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="session")
def browser(
    chromium: Callable[[Path, list[str]], BrowserContext],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[BrowserContext]:
    """One for all tests: the scripts of a site that it has seen are compiled already."""
    browser = chromium(tmp_path_factory.mktemp("profile"), FLAGS)
    browser.set_default_timeout(PATIENCE)
    yield browser
    browser.close()


@pytest.fixture
def visit(browser: BrowserContext, site: str) -> Iterator[Visit]:
    """A fresh page; after the test, nothing may have failed or left this machine."""
    page = browser.new_page()
    settings = {"origin": site, "storageTypes": "local_storage"}  # those of the test before
    browser.new_cdp_session(page).send("Storage.clearDataForOrigin", settings)
    visit = Visit(page, site)
    visit.listen()
    yield visit
    page.close()
    assert not visit.errors, visit.errors
    hosts = {urlsplit(url).hostname for url in visit.requests if not url.startswith("data:")}
    assert hosts <= {"127.0.0.1", None}  # None: blob URLs of the page itself


@pytest.fixture
def show(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, str], Page]]:
    """Serve a folder and open one of its pages."""
    # Without a GPU, what is in space is drawn a pixel at a time: one for each of the screen, not 4.
    monkeypatch.setitem(components._CONFIG, "plotGlPixelRatio", 1)
    servers = []

    def show(folder: Path, path: str = "/") -> Page:
        server = in_background(folder, urlsplit(visit.site).port)
        server.__enter__()
        servers.append(server)
        first = visit.page.context.pages[0]
        if first.url == "about:blank":  # the process lives as long as a page of this site is open
            first.goto(visit.site + "/_favicon.ico")
        return visit.open(path)

    yield show
    visit.page.close()
    for server in servers:
        server.__exit__(None, None, None)


def follow(page: Page, name: str) -> None:
    """Go to a page by its link, which is quicker than to load it anew."""
    if f"/{name}?" in page.url:
        return
    page.get_by_role("navigation", name="Pages").get_by_text(name.capitalize()).click()
    page.wait_for_url(f"**/{name}?**")


def wait_for_frames(page: Page) -> None:
    """Until the browser has drawn often enough for a scene to see the mouse where it is."""
    page.evaluate(
        """async () => {
            for (let frame = 0; frame < 10; frame += 1)
                await new Promise((drawn) => requestAnimationFrame(drawn));
        }"""
    )
