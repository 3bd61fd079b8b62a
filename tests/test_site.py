"""The site: every public name is in its reference, every page opens, and nothing is fetched."""

import contextlib
import functools
import http.server
import importlib
import os
import re
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import landscape as ls

ROOT = Path(__file__).parent.parent
PACKAGES = ("curvature", "methods", "models", "posteriors", "prediction", "results", "store")
PACKAGES += ("surfaces", "tasks", "workflow")

FETCHED = (
    r"<(?:script|img|iframe|source)[^>]*src=[\"']?(https?:[^\"' >]+)",
    r"<link[^>]*rel=[\"']?stylesheet[^>]*href=[\"']?(https?:[^\"' >]+)",
)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built so that a broken link or reference is an error."""
    if built := os.environ.get("LANDSCAPE_SITE"):
        return Path(built)
    pytest.importorskip("mkdocstrings_handlers.python", reason="pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def inventory(site: Path) -> set[str]:
    data = (site / "objects.inv").read_bytes()
    text = zlib.decompress(data[data.index(b"zlib.\n") + 6 :]).decode()
    return {line.split(" ", 1)[0] for line in text.splitlines()}


def test_the_reference_has_every_public_name(site: Path) -> None:
    names = {f"landscape.{name}" for name in ("Objective", "ParameterSpace")}
    for package in PACKAGES:
        module = importlib.import_module(f"landscape.{package}")
        names |= {f"{module.__name__}.{name}" for name in module.__all__}
    names |= {
        f"landscape.objective.losses.{name}" for name in ("Heads", "NormalisedLogits", "Readout")
    }
    for name in ls.__all__:
        if isinstance(getattr(ls, name), type) or callable(getattr(ls, name)):
            home = getattr(ls, name)
            names.add(f"{home.__module__}.{home.__name__}")
    assert names <= inventory(site), sorted(names - inventory(site))


def test_no_page_asks_another_site_for_anything(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text()
        fetched = [url for kind in FETCHED for url in re.findall(kind, text)]
        assert not fetched, (page, fetched)


@pytest.mark.browser
def test_every_page_opens_and_search_finds_a_name(site: Path, address: str) -> None:
    from playwright.sync_api import expect, sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        assert os.environ.get("LANDSCAPE_REQUIRE_BROWSER") != "1", "no chromium on the PATH"
        pytest.skip("no chromium on the PATH")
    asked: list[str] = []
    errors: list[str] = []
    with sync_playwright() as playwright, contextlib.ExitStack() as stack:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        stack.callback(browser.close)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("response", lambda answer: answer.status < 400 or errors.append(answer.url))
        for path in sorted(site.rglob("*.html")):
            if path.name != "404.html":
                page.goto(address + path.relative_to(site).as_posix())
                assert page.locator("h1").count() == 1, path
        page.goto(address + "index.html")
        page.locator(".md-search__input").click()
        page.keyboard.type("top_eigenvalues")
        result = page.locator(".md-search-result__link[href*='top_eigenvalues']").first
        expect(result).to_be_visible(timeout=60_000)
        result.click()
        expect(page).to_have_url(re.compile("top_eigenvalues"))
    assert not errors
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
