"""The index beside the runs: the list is the same with it, and no entry outlives its file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import pytest
from landscape_app import cache, index, run_list
from landscape_app.groups import all_settings, groups

from landscape.store import Run, Summary


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(index, "FEWEST", 2)
    forget()
    yield
    forget()


def forget() -> None:
    """As a new start of the server."""
    cache._results.clear()
    cache._of_folders.clear()


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that are opened from now on."""
    names: list[str] = []
    before = Run.of

    def note(file: h5py.File, path: Path) -> Run:
        names.append(path.stem)
        return before(file, path)

    monkeypatch.setattr(Run, "of", note)
    return names


def test_the_next_start_opens_only_what_has_changed(
    new_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        new_run(name)
    listed, settings = run_list.list_runs(tmp_path), all_settings(tmp_path)
    assert (tmp_path / index.NAME).exists()
    forget()
    names = opened(monkeypatch)
    assert repr(run_list.list_runs(tmp_path)) == repr(listed)  # NaN is not equal to itself
    assert all_settings(tmp_path) == settings
    (group,) = groups(tmp_path, ["method"])
    assert {run.name for run in group.summaries} == {"one", "two"}
    assert names == []
    forget()
    Run(tmp_path / "two.h5", {}).set_attributes(seed=7)
    names.clear()
    seeds = {run.name: run.seed for run in run_list.list_runs(tmp_path) if isinstance(run, Summary)}
    assert (seeds["one"], seeds["two"], names) == (0, 7, ["two"])
    forget()
    names.clear()
    (tmp_path / index.NAME).unlink()
    assert len(run_list.list_runs(tmp_path)) == 2
    assert sorted(names) == ["one", "two"]


@pytest.mark.parametrize("damage", ["kind", "field", "state", "json", "binary", "version"])
def test_a_damaged_index_is_not_believed(
    damage: str, new_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        new_run(name)
    expected = repr(run_list.list_runs(tmp_path))
    path = tmp_path / index.NAME
    table = json.loads(path.read_text())
    entry = table["runs"]["one.h5"]
    if damage == "kind":
        entry["summary"]["nll"] = "<b>"
    elif damage == "field":
        del entry["summary"]["method"]
    elif damage == "state":
        entry["state"][3] += 1
    elif damage == "version":
        table["version"] = 0
    contents = json.dumps(table).encode()
    contents = {"json": b"{", "binary": b"\xff\x00"}.get(damage, contents)
    path.write_bytes(contents)
    forget()
    names = opened(monkeypatch)
    assert repr(run_list.list_runs(tmp_path)) == expected
    assert "one" in names
    assert ("two" in names) == (damage in ("json", "binary", "version"))


def test_a_folder_that_takes_no_file_has_no_index(
    new_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        new_run(name)

    def refuse(path: Path) -> object:
        raise OSError("read-only file system")

    monkeypatch.setattr(index, "atomic_write", refuse)
    assert len(run_list.list_runs(tmp_path)) == 2
    assert not (tmp_path / index.NAME).exists()
