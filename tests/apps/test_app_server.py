from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import h5py
import landscape_app
import numpy as np
import pytest
from landscape_app.app import create_app
from landscape_app.folders import stamp
from landscape_app.pages import FIGURE_PAGES
from landscape_app.server import in_background, is_loopback
from landscape_app.url import View

from landscape.errors import InputError
from landscape.store import Run


def test_the_page_comes_with_a_policy_that_keeps_it_local(complete: Run) -> None:
    with (
        in_background(complete.path.parent) as site,
        urllib.request.urlopen(site) as answer,
    ):
        page = answer.read().decode()
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert 'src="http' not in page
    assert 'href="http' not in page
    assert '<html lang="en">' in page


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/run/a%20b%25%C3%BC",
        "/surface?run=digits-swag-0&view=3d&at=1,2",
        "/?run=</script><script>alert(1)</script>",
        "/flatness?run=%ff%00",
    ],
)
def test_the_page_brings_along_what_is_to_be_seen_first(complete: Run, address: str) -> None:
    folder = complete.path.parent
    page = create_app(folder).server.test_client().get(address).get_data(as_text=True)
    brought = re.search(r"<script>window\.landscapeSeen = (.*?)</script>", page)
    assert brought is not None
    view = View.parse(address)
    assert json.loads(brought[1]) == {
        "address": view.address,
        "stamp": stamp(folder, view),
        "back": None,
    }


def test_no_figure_is_filled_before_its_page_is_shown(tmp_path: Path) -> None:
    callbacks = create_app(tmp_path).server.test_client().get("/_dash-dependencies").json
    graphs = {graph for page in FIGURE_PAGES for graph in page.graphs}
    filled = [call for call in callbacks if call["output"].rpartition(".")[0] in graphs]
    assert len(filled) == len(graphs)
    at_once = [call for call in callbacks if not call["prevent_initial_call"]]
    assert at_once  # the address, the colours and the frame of the page
    needed = {needed["id"] for call in at_once for needed in call["inputs"]}
    pages = {f"{page.key}-shown" for page in FIGURE_PAGES}
    assert needed.isdisjoint(graphs | {f"{graph}-drawn" for graph in graphs} | pages)


def test_a_missing_folder_is_refused_before_anything_listens(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        landscape_app.serve(tmp_path / "gone")


def test_a_file_in_place_of_a_folder_is_told_from_a_missing_one(complete: Run) -> None:
    folder = complete.path.parent
    with pytest.raises(InputError, match=f"h5 is a file: .*`landscape app {folder}`"):
        landscape_app.serve(complete.path)


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"^port {port} .*in use.*choose another with --port"):
            landscape_app.serve(tmp_path, port=port)


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 0), ("127.0.0.1", 99999)])
def test_an_address_that_is_none_is_one_line(host: str, port: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot listen"):
        landscape_app.serve(tmp_path, host=host, port=port)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)],
)
def test_addresses_of_this_machine_are_known(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def test_serve_prints_the_address_and_warns_of_an_open_one(tmp_path: Path) -> None:
    code = (
        "import landscape_app, pathlib, sys;"
        "landscape_app.serve(pathlib.Path(sys.argv[1]), host='0.0.0.0', port=0)"
    )
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            warning, address = process.stdout.readline(), process.stdout.readline()
        finally:
            process.terminate()
    assert "0.0.0.0 can be reached from other machines" in warning
    assert "http://0.0.0.0:" in address


def test_figures_need_no_server() -> None:
    code = "import sys, landscape_app.figures; sys.exit('dash' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ODD = {
    "deep note": ("note", '{"a": ' * 600 + "1" + "}" * 600),
    "deep config": ("config", '{"a": ' * 400 + "1" + "}" * 400),
    "many settings": ("config", json.dumps({f"setting {index}": index for index in range(20_000)})),
    "many items": ("classes", json.dumps(["a"] * 100_000)),
    "odd numbers": ("config", '{"a": NaN, "b": 1e999, "c": ' + "9" * 4000 + "}"),
    "half a character": ("config", json.dumps({"a": "\ud800"})),
    "long text": ("method", "x" * 500_000),
    "no text": ("task", np.bytes_(b"\xff\xfe")),
}


@pytest.mark.parametrize("name", ODD)
def test_the_page_of_a_run_of_any_settings_is_answered(
    name: str, new_run: Callable[..., Run]
) -> None:
    path = new_run("odd").path
    attribute, value = ODD[name]
    with h5py.File(path, "r+") as file:
        file.attrs[attribute] = value
    client = create_app(path.parent).server.test_client()
    shown = {"address": "/run/odd", "dark": False, "webgl": True}
    for output, page in (("other-page", "other"), ("flatness-below", "flatness")):
        outputs = [{"id": output, "property": "children"}]
        if page != "other":
            outputs.insert(0, {"id": "flatness-controls", "property": "children"})
        named = [f"{each['id']}.{each['property']}" for each in outputs]
        body = {
            "output": named[0] if len(named) == 1 else f"..{'...'.join(named)}..",
            "outputs": outputs[0] if len(named) == 1 else outputs,
            "inputs": [{"id": f"{page}-shown", "property": "data", "value": shown}],
            "changedPropIds": [f"{page}-shown.data"],
        }
        answer = client.post("/_dash-update-component", json=body)
        assert answer.status_code in (200, 204), answer.get_data(as_text=True)[:500]
        assert len(answer.get_data()) < 1 << 20
    for graph in ("eigenvalues", "spread", "surface-0"):
        answer = client.get(f"/export/{graph}.csv?run=odd")
        assert answer.status_code in (200, 404)
