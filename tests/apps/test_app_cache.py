from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from landscape_app import cache, listing, run_list
from landscape_app.joined import averages

from landscape.errors import InputError
from landscape.store import Run


def test_work_is_done_once_until_the_file_changes(started: Run) -> None:
    done = []

    def work() -> int:
        done.append(1)
        return len(done)

    assert [cache.cached("work", started.path, work) for _ in range(3)] == [1, 1, 1]
    assert cache.cached("other work", started.path, lambda: 9) == 9
    started.write("samples", {"trace": [1.0]})
    assert [cache.cached("work", started.path, work) for _ in range(2)] == [2, 2]


def test_an_error_is_not_kept(started: Run) -> None:
    def work() -> int:
        raise InputError("not yet")

    for _ in range(2):
        with pytest.raises(InputError, match="not yet"):
            cache.cached("failure", started.path, work)


def test_old_results_are_forgotten(started: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST", 2)
    monkeypatch.setattr(cache, "_results", type(cache._results)())
    for number in range(5):
        cache.cached(f"number {number}", started.path, lambda number=number: number)
    assert list(cache._results.values()) == [3, 4]


def test_averages_follow_the_file(complete: Run, started: Run) -> None:
    group = dict(complete["predictions"])
    started.write("predictions", group)
    assert len(averages(started).random["nll"]) == 10
    half = {name: values[:5] for name, values in group.items() if name != "labels"}
    started.write("predictions", half | {"labels": group["labels"]})
    assert len(averages(started).random["nll"]) == 5


def test_a_list_reads_only_the_files_that_changed(
    new_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = new_run("first"), new_run("second", seed=1)
    read = []
    reader = listing.open_summarised
    monkeypatch.setattr(
        listing, "open_summarised", lambda path: read.append(path.stem) or reader(path)
    )
    before = run_list.list_runs(tmp_path)
    assert run_list.list_runs(tmp_path) == before
    first.set_attributes(status="failed")
    after = {run.name: run for run in run_list.list_runs(tmp_path)}
    assert sorted(read) == ["first", "first", "second"]
    assert after["first"].status == "failed"
