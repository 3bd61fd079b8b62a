"""Measuring from the command line: killed, continued, and on several processes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cases import Shared

from landscape import workflow
from landscape.cli import main
from landscape.errors import InputError, LandscapeError
from landscape.prediction import best_temperature, predict
from landscape.runtime.files import file_lock
from landscape.store import Run

TRAIN = ["train", "digits", "swag", "--model", "mlp", "--epochs", "10", "--rank", "3"]
TRAIN += ["--samples", "2"]
MEASURE = ["--samples", "4", "--eigenvalues", "2", "--trace-matvecs", "6", "--grid", "5"]
EXACT = ("eigenvalues", "trace", "matvecs")


@pytest.fixture(scope="module")
def trained(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is trained and not measured."""
    return copied(trained_run, tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def measured(trained: Path, shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is measured too."""

    def fill(folder: Path) -> None:
        folder.mkdir()
        assert main(["measure", str(copied(trained, folder)), *MEASURE]) == 0

    return copied(shared("measured", fill) / "run.h5", tmp_path_factory.mktemp("measured"))


def copied(trained: Path, folder: Path) -> Path:
    for ending in (".h5", ".safetensors"):
        shutil.copy(trained.with_suffix(ending), folder)
    return folder / trained.name


def test_a_killed_measurement_goes_on_where_it_was(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = [*MEASURE, "--trace-matvecs", "100"]  # slow enough to be killed between two samples
    (tmp_path / "measured").mkdir()
    measured, path = copied(trained, tmp_path / "measured"), copied(trained, tmp_path)
    assert main(["measure", str(measured), *slow]) == 0
    command = [sys.executable, "-m", "landscape", "measure", str(path), *slow]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and len(finished(path)) < 2:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    before = finished(path)
    assert len(before) >= 2
    capsys.readouterr()
    assert main(["inspect", str(path)]) == 0
    assert re.search(r"unfinished +[23] of 4 samples", capsys.readouterr().out)
    assert main(["measure", str(path), *slow]) == 0
    assert "unfinished" not in capsys.readouterr().out
    one, two = (Run.open(each)["samples"] for each in (measured, path))
    np.testing.assert_array_equal(two["seconds"][: len(before)], before)  # these were not redone
    for name in EXACT:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-6)
    assert bool(Run.open(path)["surfaces/samples"]["finished"].all())
    assert Run.open(path).attributes["status"] == "complete"


def finished(path: Path) -> np.ndarray:
    """The seconds that the finished samples took."""
    run = Run.open(path)
    return run["samples"]["seconds"] if "samples" in run else np.empty(0)


def test_one_process_at_a_time_works_on_a_run(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(measured, tmp_path)
    before = path.read_bytes()
    with file_lock(path.with_suffix(".safetensors"), ""):
        for command in ("measure", "surface"):
            assert main([command, str(path), "--fresh"]) == 2
            assert f"another process is measuring {path} or a run" in capsys.readouterr().err
        assert main([*TRAIN, "--out", str(tmp_path), "--name", "run", "--overwrite"]) == 2
        assert f"another process is measuring {path} or a run" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main(["surface", str(path), "--plane", "random", "--grid", "3"]) == 0


def test_weights_of_another_training_are_refused(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(measured, tmp_path)
    assert main([*TRAIN, "--out", str(tmp_path), "--name", "other", "--seed", "1"]) == 0
    weights = path.with_suffix(".safetensors")
    shutil.copy(tmp_path / "other.safetensors", weights)
    assert main(["surface", str(path), "--plane", "random", "--grid", "3"]) == 2
    assert f"{weights} does not hold the weights that {path} is about" in capsys.readouterr().err


def test_a_run_without_a_posterior_is_refused(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run.h5")
    with pytest.raises(InputError, match="names no posterior"), workflow.in_progress(run):
        pass


def test_the_same_command_again_measures_nothing(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(measured, tmp_path)
    before = finished(path)
    assert main(["inspect", str(path)]) == 0
    summary = capsys.readouterr().out
    assert main(["measure", str(path), *MEASURE]) == 0
    again = capsys.readouterr()
    assert again.err == ""
    assert again.out == summary
    np.testing.assert_array_equal(finished(path), before)
    assert main(["measure", str(path), *MEASURE, "--fresh"]) == 0
    anew = capsys.readouterr()
    assert "curvature: 4/4" in anew.err
    assert "lambda_1" in anew.err


def test_worker_processes_measure_the_same(measured: Path, tmp_path: Path) -> None:
    path = copied(measured, tmp_path)
    here, surface = Run.open(path)["samples"], Run.open(path)["surfaces/samples"]
    assert main(["measure", str(path), *MEASURE, "--fresh", "--workers", "2"]) == 0
    there = Run.open(path)["samples"]
    for name in EXACT:
        np.testing.assert_allclose(there[name], here[name], rtol=1e-4)
    np.testing.assert_allclose(
        Run.open(path)["surfaces/samples"]["loss"], surface["loss"], rtol=1e-4
    )


def test_lines_and_curves_are_written_beside_surfaces(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(trained, tmp_path)
    bezier = ["surface", str(path), "--line", "bezier", "--grid", "5", "--split", "test"]
    bezier += ["--steps", "20"]
    assert main(bezier) == 0
    found = Run.open(path)["lines/bezier-test"]
    assert found["loss"].shape == (5,)
    assert found.attributes["split"] == "test"
    barrier = found["loss"].max() - max(found["loss"][0], found["loss"][-1])
    assert f"line_barriers          bezier-test {barrier:.4g}\n" in capsys.readouterr().out
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["line_barriers"] == {"bezier-test": barrier}
    for reach in ("--margin", "--extent"):
        assert main([*bezier, reach, "0.2", "--fresh"]) == 2
        assert "no margin and no extent" in capsys.readouterr().err
    assert main(["surface", str(path), "--line", "samples", "--grid", "3"]) == 0
    straight = Run.open(path)["lines/samples"]
    assert straight["x"][0] == 0  # from the one sample to the other, as the curve
    assert straight["x"][-1] == pytest.approx(straight.attributes["distance"])
    for few, message in (
        (["--line", "pca", "--plane", "pca"], "in place of a plane"),
        (["--line", "none"], "unknown line 'none'"),
        (["--plane", "random", "--margin", "1"], "give --extent, not --margin"),
        (["--margin", "1", "--extent", "1"], "give one of the two"),
        (["--dask", ""], "no Dask scheduler answers"),
        (["--steps", "9"], "of a curve: --line bezier or chain"),
        (["--line", "samples", "--samples", "9"], "the first two samples: no --samples"),
        (["--line", "pca", "--learning-rate", "1"], "of a curve: --line bezier or chain"),
    ):
        assert main(["surface", str(path), *few]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("where", ["--plane", "--line"])
def test_a_margin_about_a_point_is_refused(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "digits", "map", "--model", "mlp", "--epochs", "1", "--name", "run"]
    assert main([*train, "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    path, along = tmp_path / "run.h5", [where, "eigenvectors", "--grid", "3"]
    assert main(["surface", str(path), *along, "--margin", "1"]) == 2
    assert "one sample has no range: give --extent, not --margin" in capsys.readouterr().err
    assert main(["surface", str(path), *along, "--extent", "1"]) == 0


def test_what_is_not_of_the_hessian_is_said_to_be(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(measured, tmp_path)
    for matrix in ("hessian", "gauss-newton"):
        capsys.readouterr()
        assert main(["measure", str(path), *MEASURE, "--matrix", matrix, "--fresh"]) == 0
        rows = capsys.readouterr().out.splitlines()
        named = [row.split()[1] for row in rows if row.startswith("matrix")]
        assert named == ([] if matrix == "hessian" else [matrix])
        assert main(["inspect", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["matrix"] == matrix


def test_the_samples_are_those_that_were_averaged_unless_another_seed_is_given(
    tmp_path: Path,
) -> None:
    assert main([*TRAIN, "--seed", "4", "--out", str(tmp_path), "--name", "run"]) == 0
    path = tmp_path / "run.h5"
    measure = ["measure", str(path), "--samples", "2", "--eigenvalues", "1", "--grid", "5"]
    assert main([*measure, "--plane", "random"]) == 0
    run = Run.open(path)
    assert run["samples"].attributes["seed"] == run["predictions"].attributes["seed"] == 4
    assert run["surfaces/random"].attributes["seed"] == 4
    assert main([*measure, "--plane", "random", "--seed", "0", "--fresh"]) == 0
    assert Run.open(path)["samples"].attributes["seed"] == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--eigenvalues", "3"], "eigenvalues was 2 there and is 3 now"),
        (["--density", "2"], "density_probes was 0 there and is 2 now"),
        (["--backend", "pyhessian"], "backend was lanczos there"),
        (["--grid", "7"], "shape was [5, 5] there and is [7, 7] now"),
        (["--seed", "1"], "seed was 0 there and is 1 now"),
    ],
)
def test_what_was_measured_with_other_settings_is_replaced_only_when_asked(
    measured: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: list[str],
    message: str,
) -> None:
    path = copied(measured, tmp_path)
    assert main(["measure", str(path), *MEASURE, *changed]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert "--fresh replaces it" in error
    before, now = Run.open(measured), Run.open(path)
    assert now.config == before.config
    assert now.attributes["status"] == "complete"
    np.testing.assert_array_equal(finished(path), finished(measured))
    if "--density" not in changed:  # which takes its time
        assert main(["measure", str(path), *MEASURE, *changed, "--fresh"]) == 0
        assert finished(path).tolist() != finished(measured).tolist()


def test_differences_of_gradients_are_another_request_and_say_where_they_fail(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["measure", str(copied(measured, tmp_path)), *MEASURE, "--method"]
    assert main([*command, "finite-difference"]) == 2
    message = "matrix was hessian there and is hessian, finite-difference now"
    assert message in capsys.readouterr().err
    assert main([*command, "finite-difference", "--fresh"]) == 1
    assert "do not agree with each other" in capsys.readouterr().err  # a ReLU network in float32


def test_more_samples_of_the_same_are_added(measured: Path, tmp_path: Path) -> None:
    path = copied(measured, tmp_path)
    assert main(["measure", str(path), *MEASURE, "--samples", "5", "--grid", "0"]) == 0
    assert len(finished(path)) == 5
    np.testing.assert_array_equal(finished(path)[:4], finished(measured))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--plane", "smaples"], "unknown plane 'smaples'"),
        (["--grid", "1"], "at least 2 each, not (1, 1)"),
        (["--grid", "0", "--plane", "pca"], "--grid 0 asks for no surface"),
        (["--samples", "2", "--plane", "pca"], "the plane 'pca' needs three samples, not 2"),
    ],
)
def test_a_surface_that_cannot_be_is_refused_before_anything_is_measured(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    wrong: list[str],
    message: str,
) -> None:
    path = copied(trained, tmp_path)
    before = path.read_bytes()
    assert main(["measure", str(path), "--samples", "3", *wrong]) == 2
    assert message in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_surface_or_line_of_other_settings_is_replaced_only_when_asked(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(trained, tmp_path)
    chain = ["--line", "chain", "--steps", "20"]
    for command, changed, message in (
        (["--plane", "pca", "--grid", "3"], ["--margin", "0.1"], "margin was 0.5 there"),
        (["--plane", "pca", "--grid", "3"], ["--samples", "4"], "samples was 30 there and is 4"),
        (["--plane", "pca", "--grid", "3"], ["--samples", "31"], "samples was 30 there and is 31"),
        (["--line", "pca", "--grid", "3"], ["--extent", "2"], "extent was None there and is 2.0"),
        (["--line", "pca", "--grid", "3"], ["--samples", "4"], "samples was 30 there and is 4"),
        ([*chain, "--grid", "3"], ["--grid", "5"], "points was 3 there and is 5"),
        ([*chain, "--grid", "3"], ["--steps", "9"], "steps was 20 there and is 9"),
    ):
        assert main(["surface", str(path), *command, "--fresh"]) == 0
        before = path.read_bytes()
        capsys.readouterr()
        assert main(["surface", str(path), *command, *changed]) == 2
        assert message in capsys.readouterr().err
        assert Run.open(path).attributes["status"] == "complete"
        assert main(["surface", str(path), *command]) == 0  # nothing was lost
        assert capsys.readouterr().err == ""
        assert main(["surface", str(path), *command, *changed, "--fresh"]) == 0
        assert path.read_bytes() != before
        capsys.readouterr()


@pytest.mark.parametrize("wrong", [["--rows", "0"], ["--margin", "inf"], ["--extent", "nan"]])
def test_a_bad_reach_or_shape_of_a_surface_is_one_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    path = copied(trained, tmp_path)
    assert main(["surface", str(path), *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert Run.open(path).attributes["status"] == "complete"


def test_settings_on_record_are_those_of_what_the_file_holds(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(trained, tmp_path)
    few = ["--samples", "2", "--eigenvalues", "1", "--grid", "0"]
    assert main(["measure", str(path), *few]) == 0

    def fail(*_: object, **__: object) -> None:
        raise LandscapeError("no more")

    with monkeypatch.context() as patch:  # after the samples have been replaced
        patch.setattr(workflow, "measure_surface", fail)
        wider = ["--samples", "3", "--eigenvalues", "2", "--grid", "5", "--fresh"]
        assert main(["measure", str(path), *wider]) == 1
    assert Run.open(path).config["measurement"]["eigenvalues"] == 2
    assert Run.open(path).attributes["status"] == "failed"
    with monkeypatch.context() as patch:  # before anything was
        patch.setattr(workflow, "measure_curvature", fail)
        assert main(["measure", str(path), *few, "--fresh"]) == 1
    assert Run.open(path).config["measurement"]["eigenvalues"] == 2


def test_a_line_is_taken_over_unless_it_is_to_be_fresh(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(trained, tmp_path)
    command = ["surface", str(path), "--line", "samples", "--grid", "5"]
    assert main(command) == 0
    assert "loss along a line: 5/5" in capsys.readouterr().err
    assert main(command) == 0
    assert capsys.readouterr().err == ""
    assert main([*command, "--fresh"]) == 0
    assert "loss along a line: 5/5" in capsys.readouterr().err


def test_sharpness_is_added_to_a_run_that_is_measured(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(measured, tmp_path)
    before = Run.open(path)["samples"]["seconds"]
    few = [*MEASURE[:-2], "--grid", "0"]
    names = "fisher_rao,average_normalised, average_tempered"
    capsys.readouterr()
    assert main(["measure", str(path), *few, "--sharpness", names]) == 0
    assert re.search(r"fisher_rao +[0-9.e-]+ \+- ", capsys.readouterr().out)
    np.testing.assert_array_equal(Run.open(path)["samples"]["seconds"], before)
    stored = Run.open(path)["sharpness"]
    assert stored["value"].shape == (4, 3)
    assert main(["inspect", str(path), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)["sharpness"]
    for column, name in enumerate(["average_normalised", "average_tempered", "fisher_rao"]):
        assert summary[name]["mean"] == pytest.approx(stored["value"][:, column].mean())
        assert summary[name]["low"] < summary[name]["mean"] < summary[name]["high"]
    assert list(summary) == ["average_normalised", "average_tempered", "fisher_rao"]
    # each sample's own temperature, fitted on the validation set
    trained = workflow.load(path)
    validation = predict(trained.posterior, trained.task.validation, samples=4, seed=0)
    fitted = [best_temperature(each, validation.labels) for each in validation.log_probabilities]
    np.testing.assert_allclose(stored["temperature"], fitted, rtol=1e-3)
    # the same again measures nothing; other measures are another request
    assert main(["measure", str(path), *few, "--sharpness", names]) == 0
    np.testing.assert_array_equal(Run.open(path)["sharpness"]["seconds"], stored["seconds"])
    capsys.readouterr()
    assert main(["measure", str(path), *few, "--sharpness", "fisher_rao"]) == 2
    assert "sharpness was ['average_normalised'" in capsys.readouterr().err
    assert main(["measure", str(path), *few, "--sharpness", "flat"]) == 2
    assert "unknown sharpness 'flat'; known: worst_l2" in capsys.readouterr().err
