from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from landscape_app import table
from landscape_app.folders import inside, stamp
from landscape_app.groups import groups
from landscape_app.other_folders import folders_below, misnamed
from landscape_app.pages import flatness, runs
from landscape_app.pages.page import Chosen
from landscape_app.run_list import list_runs
from landscape_app.url import View

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


def test_runs_of_two_folders_are_compared_with_their_folder_in_the_name(
    new_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = new_run("same")
    for index, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.h5").write_bytes(run.path.read_bytes())
        Run.open(tmp_path / name / "same.h5").set_attributes(seed=index + 1)
    view = View.parse("/flatness?run=same&run=one/same&run=two/same&with=one,two,../x,gone")
    where = inside(tmp_path, view)
    assert sorted(listed.name for listed in list_runs(where)) == ["one/same", "same", "two/same"]
    assert {group.label: len(group.summaries) for group in groups(where, ["seed"])} == {
        f"seed {seed}": 1 for seed in range(3)
    }
    by_folder = {group.label: group.summaries[0].name for group in groups(where, ["folder"])}
    assert by_folder == {"this folder": "same", "one": "one/same", "two": "two/same"}
    opened = Chosen.of(where, view)
    assert [run.name for run in opened.runs] == list(view.runs)
    assert [run.attributes["seed"] for run in opened.runs] == [0, 1, 2]
    figure = flatness.PAGE.graphs["spread"](opened.runs, view)
    assert {row["run"] for row in table.rows(figure)} == set(view.runs)
    rows, *_ = runs.fill(where, view)
    assert {row["name"]: row["seed"] for row in rows if row["chosen"]} == dict(
        zip(view.runs, range(3), strict=True)
    )
    assert View.parse(view.address) == view


def test_the_list_offers_to_add_folders_and_to_take_them_off(
    new_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = new_run("here")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.h5").write_bytes(run.path.read_bytes())
    offered = str(runs.fill(tmp_path, View())[2])
    assert "/?with=a" in offered
    view = View.parse("/?with=a")
    below = str(runs.fill(inside(tmp_path, view), view)[2])
    assert "take off the list" in below
    before = stamp(inside(tmp_path, view), view)
    Run.open(tmp_path / "a" / "run.h5").set_attributes(seed=9)
    assert stamp(inside(tmp_path, view), view) != before
