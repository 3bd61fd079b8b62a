from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from landscape_app.data import NotMeasured, read, surface_names
from landscape_app.folders import load_run
from landscape_app.run_list import BrokenRun, list_runs

from landscape.errors import InputError
from landscape.store import Run, Summary, summarise


def test_the_list_sums_a_run_up(complete: Run) -> None:
    (run,) = list_runs(complete.path.parent)
    assert isinstance(run, Summary)
    assert (run.name, run.method, run.seed) == ("digits-swag-0", "swag", 0)
    assert (run.accuracy, run.nll, run.ece, run.samples) == (0.935, 0.231, 0.0312, 10)
    eigenvalues = complete["samples"]["eigenvalues"]
    assert run.lambda_1 is not None
    assert run.lambda_1.mean == pytest.approx(eigenvalues[:, 0].mean())
    assert run.lambda_1.deviation == pytest.approx(eigenvalues[:, 0].std(ddof=1))


def test_a_run_that_has_measured_nothing_is_listed(started: Run) -> None:
    found = summarise(started)
    assert found.status == "running"
    assert found.samples is found.accuracy is found.lambda_1 is None


def test_the_deviation_of_one_sample_is_unknown(started: Run) -> None:
    started.write("samples", {"eigenvalues": [[3.0, 1.0]], "trace": [5.0]})
    found = summarise(started)
    assert found.trace is not None
    assert found.trace.mean == 5
    assert math.isnan(found.trace.deviation)


def test_the_newest_run_comes_first(new_run: Callable[..., Run], tmp_path: Path) -> None:
    new_run("old").set_attributes(created_at="2026-01-01T00:00:00+00:00")
    new_run("new").set_attributes(created_at="2026-01-02T00:00:00+00:00")
    assert [run.name for run in list_runs(tmp_path)] == ["new", "old"]


def test_files_that_cannot_be_read_are_listed_last_with_the_reason(
    new_run: Callable[..., Run], tmp_path: Path
) -> None:
    whole = new_run("whole").path.read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("not HDF5 at all")
    (tmp_path / "folder.h5").mkdir()
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["data"] = np.arange(3)
    with h5py.File(tmp_path / "shapes.h5", "w") as file:
        file.attrs.update({"schema_name": "landscape-run", "schema_version": 1})
        file["samples/eigenvalues"] = np.arange(3.0)
    os.mkfifo(tmp_path / "pipe.h5")
    first, *rest = list_runs(tmp_path)
    assert first.name == "whole"
    reasons = {file.name: file.reason for file in rest if isinstance(file, BrokenRun)}
    names = ("cut", "text", "folder", "foreign", "shapes", "pipe")
    assert reasons.keys() == {f"{name}.h5" for name in names}
    assert "truncated" in reasons["cut.h5"]
    assert "not an HDF5 file" in reasons["text.h5"]
    assert "not a run" in reasons["foreign.h5"]
    assert "needs the axes" in reasons["shapes.h5"]
    assert "regular file" in reasons["pipe.h5"]
    assert not any("\n" in reason for reason in reasons.values())


def test_hidden_and_other_files_are_not_listed(started: Run) -> None:
    folder = started.path.parent
    (folder / ".digits.h5.123.tmp").write_bytes(b"half a file")
    (folder / ".hidden.h5").write_bytes(b"")
    (folder / "weights.safetensors").write_bytes(b"")
    assert [run.name for run in list_runs(folder)] == [started.path.stem]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        list_runs(tmp_path / "gone")


@pytest.mark.parametrize(
    "name", ["../secret", "..", ".", "", "/etc/passwd", "a/b", "a\\b", ".hidden", "a\0b"]
)
def test_a_name_does_not_leave_the_folder(name: str, started: Run, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    started.path.rename(tmp_path / "secret.h5")
    with pytest.raises(InputError, match="not the name of a run"):
        load_run(inside, name)


def test_a_link_out_of_the_folder_is_refused(started: Run, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.h5").symlink_to(started.path)
    with pytest.raises(InputError, match="link out of the folder"):
        load_run(inside, "link")


def test_a_link_within_the_folder_is_followed(started: Run, tmp_path: Path) -> None:
    (tmp_path / "latest.h5").symlink_to(started.path.name)
    assert load_run(tmp_path, "latest").attributes == started.attributes


def test_a_run_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run 'absent'"):
        load_run(tmp_path, "absent")


def test_only_the_named_variables_are_read(complete: Run) -> None:
    group = read(complete, "predictions", "nll", optional=("accuracy", "absent"))
    assert set(group) == {"nll", "accuracy"}
    assert group.attributes["brier"] == 0.101


@pytest.mark.parametrize(
    ("group", "variable", "remedy"),
    [
        ("samples", "trace", "landscape measure"),
        ("predictions", "nll", "landscape train"),
        ("surfaces/random", "loss", "landscape surface"),
        ("training", "epoch", "landscape train"),
    ],
)
def test_what_is_missing_comes_with_its_remedy(
    group: str, variable: str, remedy: str, started: Run
) -> None:
    with pytest.raises(NotMeasured, match=f"`{remedy}.*`") as caught:
        read(started, group, variable)
    assert str(started.path) in str(caught.value)
    assert started.path.name not in caught.value.reason


def test_a_group_stored_as_a_variable_counts_as_missing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file.attrs.update({"schema_name": "landscape-run", "schema_version": 1})
        file["samples"], file["surfaces"] = np.arange(3.0), 1.0
    run = load_run(tmp_path, "odd")
    assert surface_names(run) == []
    with pytest.raises(NotMeasured):
        read(run, "samples", "trace")


def test_the_plane_through_the_samples_comes_first(complete: Run) -> None:
    assert surface_names(complete) == ["samples", "random"]
