"""Behind a proxy, in a frame, over a network: who gets an answer, and what it holds."""

from __future__ import annotations

import gzip
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from landscape_app import notebook
from landscape_app.access import Access, proxy_prefix
from landscape_app.app import create_app
from landscape_app.folders import inside
from landscape_app.other_folders import folders_below
from landscape_app.pages import runs
from landscape_app.run_list import list_runs
from landscape_app.url import View

from landscape.errors import InputError
from landscape.store import Run, Summary

PREFIX = "/user/me/proxy/8050/"


def client(folder: Path, **settings: Any) -> FlaskClient:
    return create_app(folder, Access(**settings)).server.test_client()


def navigation(browser: FlaskClient, address: str, at: str = "/") -> str:
    """The links at the top of a page, as its callback answers them."""
    shown = {"address": address, "stamp": "", "back": None}
    dependencies = browser.get(f"{at}_dash-dependencies").get_json()
    output = next(entry["output"] for entry in dependencies if "pages.children" in entry["output"])
    names = [part.rsplit(".", 1) for part in output.strip(".").split("...")]
    body = {
        "output": output,
        "outputs": [{"id": name, "property": value} for name, value in names],
        "inputs": [{"id": "seen", "property": "data", "value": shown}],
        "changedPropIds": ["seen.data"],
    }
    answer = browser.post(f"{at}_dash-update-component", json=body)
    return json.dumps(answer.get_json()["response"]["pages"])


@pytest.mark.parametrize("at", ["/", PREFIX])
def test_every_address_has_the_prefix_of_the_proxy(complete: Run, at: str) -> None:
    """Some proxies take the prefix off, and some do not."""
    browser = client(complete.path.parent, prefix=PREFIX)
    page = browser.get(f"{at}surface?run=digits-swag-0").get_data(as_text=True)
    for mark in ('src="', 'href="'):
        addresses = [part.partition('"')[0] for part in page.split(mark)[1:]]
        assert addresses
        assert all(address.startswith(PREFIX) for address in addresses)
    assert f'window.landscapeRoot = "{PREFIX}"' in page
    assert '"address": "/surface?run=digits-swag-0"' in page
    links = navigation(browser, "/surface?run=digits-swag-0", at)
    assert f'"href": "{PREFIX}flatness?run=digits-swag-0"' in links
    assert '"href": "/' not in links.replace(PREFIX, "")
    assert browser.get(f"{at}export/spread.csv?run=digits-swag-0").status_code == 200
    assert browser.get(f"{at}alive").status_code == 204


def test_the_prefix_of_known_proxies_is_found() -> None:
    assert proxy_prefix(8050, {}) == "/"
    assert proxy_prefix(8050, {"JUPYTERHUB_SERVICE_PREFIX": "/user/me/"}) == PREFIX
    code = {"VSCODE_PROXY_URI": "https://example.org/code/proxy/{{port}}/"}
    assert proxy_prefix(8050, code) == "/code/proxy/8050/"
    for wrong in ("user/", "/user", "/a b/", '/"/'):
        with pytest.raises(InputError, match="no path that begins and ends with a slash"):
            Access(prefix=wrong)


def test_only_named_sites_may_frame_the_page(complete: Run) -> None:
    folder = complete.path.parent
    policy = client(folder).get("/").headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors 'self'")
    framed = client(folder, ancestors=("https://hub.example.org",)).get("/")
    policy = framed.headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors 'self' https://hub.example.org")
    with pytest.raises(InputError, match="is no site"):
        Access(ancestors=("x; script-src *",))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8050", 200),
        ("127.0.0.1:8050", 200),
        ("[::1]:8050", 200),
        ("10.1.2.3", 200),  # an address is no name that somebody else has given it
        ("box.example.org", 200),
        ("evil.example.com", 403),
        ("localhost.evil.com", 403),
    ],
)
def test_a_name_that_is_not_this_machines_is_refused(complete: Run, host: str, status: int) -> None:
    browser = client(complete.path.parent, hosts=("box.example.org",))
    for path in ("/", "/export/spread.csv?run=digits-swag-0", "/_dash-layout"):
        answer = browser.get(path, headers={"Host": host})
        assert answer.status_code == status
        if status == 403:
            assert "--allow-host" in answer.get_data(as_text=True)


def test_a_token_is_asked_for_once(complete: Run) -> None:
    browser = client(complete.path.parent, token="secret", prefix=PREFIX)
    for path in ("/", "/export/spread.csv?run=digits-swag-0", "/?token=wrong", "/assets/grid.js"):
        assert browser.get(path).status_code == 403
    answer = browser.get("/flatness?run=digits-swag-0&token=secret")
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"{PREFIX}flatness?run=digits-swag-0"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert f"Path={PREFIX}" in cookie
    assert browser.get(f"{PREFIX}flatness").status_code == 200
    other = create_app(complete.path.parent, Access(token="secret")).server
    known = {"Host": "hub.example.org", "Cookie": cookie.partition(";")[0]}
    assert other.test_client(use_cookies=False).get("/", headers=known).status_code == 200


def test_text_is_compressed_for_browsers_that_take_it(complete: Run) -> None:
    browser = client(complete.path.parent)
    script = next(
        part.partition('"')[0]
        for part in browser.get("/").get_data(as_text=True).split('src="')
        if "address.js" in part.partition('"')[0]
    )
    for path in (script, "/_dash-layout", "/export/density.csv?run=digits-swag-0"):
        with (
            browser.get(path) as plain,
            browser.get(path, headers={"Accept-Encoding": "gzip, br"}) as packed,
        ):
            assert "Content-Encoding" not in plain.headers
            assert packed.headers["Content-Encoding"] == "gzip"
            assert int(packed.headers["Content-Length"]) == len(packed.get_data())
            assert gzip.decompress(packed.get_data()) == plain.get_data()
            assert len(packed.get_data()) < 0.6 * len(plain.get_data())
    with browser.get("/export/x.y", headers={"Accept-Encoding": "gzip"}) as small:
        assert "Content-Encoding" not in small.headers


def test_runs_at_any_depth_are_a_link_away(new_run: Callable[..., Run], tmp_path: Path) -> None:
    path = new_run("here").path
    deep = tmp_path / "study" / "a b" / "runs"
    deep.mkdir(parents=True)
    (deep / "deep.h5").write_bytes(path.read_bytes())
    (tmp_path / "loop").symlink_to(tmp_path)
    assert folders_below(tmp_path) == {deep: 1}
    below = str(runs.fill(tmp_path, View())[2])
    assert "study/a b/runs" in below
    target = View().in_folder("study/a b/runs")
    assert target.address == "/?in=study%2Fa+b%2Fruns"
    assert f"href='{target.address}'" in below
    there = inside(tmp_path, View.parse(target.on("flatness").address))
    assert there == deep
    (listed,) = list_runs(there)
    assert isinstance(listed, Summary)
    assert listed.name == "deep"
    browser = client(tmp_path)
    assert browser.get("/export/spread.csv?run=deep&in=study/a+b/runs").status_code == 200
    assert browser.get("/export/spread.csv?run=deep").status_code == 404


@pytest.mark.parametrize("name", ["..", "../x", "/etc", "a/../..", ".hidden", "a\\b", "a//b"])
def test_a_folder_outside_is_none(name: str, tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    for made in ("x", "served/.hidden", "served/a"):
        (tmp_path / made).mkdir(exist_ok=True)
    (served / "out").symlink_to(tmp_path / "x")
    for wrong in (name, "out"):
        found = inside(served, View(texts={"in": wrong}))
        assert not found.exists()


def test_a_notebook_cell_frames_a_dashboard(complete: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("IPython")
    monkeypatch.setattr(notebook, "_servers", {})
    for name in ("JUPYTERHUB_SERVICE_PREFIX", "VSCODE_PROXY_URI"):
        monkeypatch.delenv(name, raising=False)
    folder = complete.path.parent
    try:
        frame = notebook.show(folder, address="/flatness?run=digits-swag-0", height=500)
        assert frame.src.endswith("/flatness?run=digits-swag-0")
        with urllib.request.urlopen(frame.src) as answer:
            assert "http://localhost:*" in answer.headers["Content-Security-Policy"]
        assert 'height="500"' in frame._repr_html_()
        again = notebook.show(folder)
        assert again.src.rpartition("/")[0] == frame.src.rpartition("/")[0]  # one server a folder
    finally:
        notebook._open.close()
    monkeypatch.setattr(notebook, "_servers", {})
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/me/")
    try:
        hub = notebook.show(folder, address="/compare")
        assert hub.src.startswith("/user/me/proxy/")  # of the notebook's own site
        assert hub.src.endswith("/compare")
    finally:
        notebook._open.close()
