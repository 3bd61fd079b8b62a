"""Other processes help with the list: it is the same as that of this process alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from landscape_app import cache, index, listing, run_list

from landscape.store import Run


@pytest.fixture(autouse=True)
def _helped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MANY", 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)  # two others
    cache._results.clear()
    cache._of_folders.clear()


def test_others_read_what_this_process_would(new_run: Callable[..., Run], tmp_path: Path) -> None:
    paths = [new_run(name, seed=seed).path for seed, name in enumerate(("one", "two", "three"))]
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(b"\x89HDF\r\n\x1a\n")
    read: dict[Path, index.Listed] = {}
    enough = threading.Event()

    def take(path: Path, listed: index.Listed) -> None:
        read[path] = listed
        if len(read) == 3:
            enough.set()

    with listing.helped([*paths, damaged], take):
        assert enough.wait(60)
    # NaN is not equal to itself.
    assert {path: repr(listed) for path, listed in read.items()} == {
        path: repr(listing.read(path)) for path in paths
    }


@pytest.mark.parametrize("command", [None, ("false",), ("sh", "-c", "kill -9 $$")])
def test_the_list_is_the_same_with_others_and_without(
    command: tuple[str, ...] | None,
    new_run: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for seed, name in enumerate(("one", "two", "three")):
        new_run(name, seed=seed)
    (tmp_path / "damaged.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "link.h5").symlink_to("/etc/hostname")
    monkeypatch.setattr(listing, "MANY", 10**9)
    alone = repr(run_list.list_runs(tmp_path))
    assert "damaged" in alone
    assert "link out of the folder" in alone
    cache._results.clear()
    cache._of_folders.clear()
    monkeypatch.setattr(listing, "MANY", 2)
    if command is not None:
        monkeypatch.setattr(listing, "_COMMAND", command)
    assert repr(run_list.list_runs(tmp_path)) == alone


def test_another_process_starts_without_torch_and_dash() -> None:
    code = (
        "import sys, landscape_app.listing as listing; "
        "assert not {'torch', 'dash', 'plotly'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_process_ends_with_this_one(new_run: Callable[..., Run]) -> None:
    path = new_run("one").path
    process = listing._started([path] * 100_000)  # half an hour of work
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()  # as when this process is killed
    assert process.wait(30) != 0
