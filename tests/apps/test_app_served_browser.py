"""The dashboard where people work, in a real browser: behind a proxy, in a frame, with groups."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browsing import Visit
from landscape_app.access import Access
from landscape_app.server import behind
from made import write_run
from playwright.sync_api import BrowserContext, expect

pytestmark = pytest.mark.browser

PREFIX = "/user/me/proxy/8050/"


def test_groups_and_numbers_are_chosen_behind_a_proxy_and_in_a_frame(
    browser: BrowserContext, tmp_path: Path
) -> None:
    for method in ("swag", "vi"):
        for seed in range(2):
            run = write_run(tmp_path, f"{method}-seed{seed}", method=method, seed=seed)
            run.set_attributes(config=json.dumps({"method": {"name": method, "rank": seed}}))
    access = Access(prefix=PREFIX, ancestors=("http://localhost:*",))
    with behind(tmp_path, 0, access) as (site, _):
        visit = Visit(browser.new_page(), site)
        visit.listen()
        page = visit.open(PREFIX)
        expect(page.locator("#row-count")).to_have_text("4 runs")
        page.get_by_label("Find runs").fill("swag")
        expect(page.locator("#row-count")).to_have_text("2 of 4 runs")
        page.get_by_label("Find runs").fill("")
        page.get_by_label("Settings as columns").first.click()
        page.get_by_role("option", name="method.rank").click()
        page.wait_for_url(f"**{PREFIX}?columns=method.rank")
        page.locator("#grid [col-id='setting method.rank']", has_text="1").first.wait_for()
        page.keyboard.press("Escape")
        page.get_by_label("Group runs by settings").first.click()
        page.get_by_role("option", name="method", exact=True).last.click()
        page.wait_for_url(f"**{PREFIX}?by=method&columns=method.rank")
        expect(page.locator("#row-count")).to_have_text("2 groups")
        page.keyboard.press("Escape")
        page.get_by_label("Show vi").click()
        page.wait_for_url(f"**{PREFIX}?by=method&group=vi&columns=method.rank")
        expect(page.locator("#compared li", has_text="vi")).to_contain_text("2 runs")
        page.get_by_role("navigation", name="Pages").get_by_text("Flatness").click()
        page.locator("#spread .gtitle", has_text="Largest eigenvalue, trace").wait_for()
        page.get_by_role("link", name="all 2 groups").click()
        page.wait_for_url(f"**{PREFIX}flatness?by=method&columns=method.rank")
        page.locator("#spread .xtick", has_text="swag").first.wait_for()
        page.get_by_role("navigation", name="Pages").get_by_text("Surface").click()
        page.get_by_text("This page shows single runs").wait_for()
        page.get_by_role("navigation", name="Pages").get_by_text("Compare").click()
        page.locator("#scatter .gtitle", has_text="NLL (nat) against λ1 (nat), runs").wait_for()
        page.locator("#compare-y").click()
        page.get_by_role("option", name="trace (nat)").click()
        page.wait_for_url("**&y=trace&columns=method.rank")
        page.locator("#scatter .gtitle", has_text="trace (nat) against").wait_for()
        page.go_back()
        page.locator("#scatter .gtitle", has_text="NLL (nat) against").wait_for()
        expect(page.locator("#compare-y")).to_have_value("NLL (nat)")
        with page.expect_download() as download:
            page.locator("#scatter-links a", has_text="CSV").click()
        assert Path(download.value.path()).read_text().startswith("series,run,quantity_x")
        assert visit.errors == []
        with site_with(f"<iframe src='{site}{PREFIX}run/vi-seed1'></iframe>") as notebook:
            page.goto(notebook)
            inner = page.frame_locator("iframe")
            expect(inner.get_by_role("heading", level=1)).to_contain_text("vi-seed1")
        page.close()


@contextmanager
def site_with(body: str) -> Iterator[str]:
    """A site of one page, which is called by another name than the dashboard."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
