from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from landscape_app.other_folders import folders_below, misnamed

from landscape.store import Run


def test_a_file_whose_name_is_not_quite_a_runs_is_told_how_to_be_called(
    new_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = new_run("lower")
    for name in ("UPPER.H5", "long.hdf5", ".hidden.H5", "notes.txt"):
        (tmp_path / name).write_bytes(run.path.read_bytes())
    (tmp_path / "folder.H5").mkdir()
    assert [file.name for file in misnamed(tmp_path)] == ["UPPER.H5", "long.hdf5"]
    assert "rename it to UPPER.h5" in misnamed(tmp_path)[0].reason


def test_runs_in_folders_inside_are_counted(new_run: Callable[..., Run], tmp_path: Path) -> None:
    run = new_run("here")
    for name in ("demo", ".hidden", "empty"):
        (tmp_path / name).mkdir()
    for name in ("demo/one.h5", "demo/two.h5", "demo/weights.safetensors", ".hidden/three.h5"):
        (tmp_path / name).write_bytes(run.path.read_bytes())
    assert folders_below(tmp_path) == {tmp_path / "demo": 2}
    assert folders_below(tmp_path / "gone") == {}
