"""The commands that keep, measure and draw weights along a training."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import landscape as ls
from landscape import workflow
from landscape.cli import main

MEASURED = ["--along", "--eigenvalues", "1", "--trace-matvecs", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    given = ["--shots", "2", "--model", "mlp", "--epochs", "4", "--batch-size", "5"]
    kept = ["--record", "2", "--record-most", "5", "--samples", "1"]
    assert main(["train", "digits", "map", *given, *kept, "--out", str(folder)]) == 0
    return folder / "digits-map-seed0.h5"


def test_train_measure_and_surface_go_along_the_training(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["measure", str(trained), *MEASURED, "--grid", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unfinished"] == []
    run = ls.Run.open(trained)
    assert list(run["trajectory"]["count"]) == [0, 4, 8, 12, 16]
    assert run["surfaces/trajectory"].attributes["kind"] == "pca"
    assert list(run["surfaces/trajectory"]["sample_count"]) == [0, 4, 8, 12, 16]
    assert run.config["along"]["samples"] == 5
    assert "samples" not in run.groups
    final = workflow.load(trained)
    loss = ls.Objective(final.posterior.space, final.task.train).loss(final.posterior.mean)
    assert run["trajectory"]["loss"][-1] == pytest.approx(float(loss), rel=1e-5)
    other = ["surface", str(trained), "--plane", "trajectory", "--grid", "3"]
    assert main(other) == 2
    assert "--fresh replaces it" in capsys.readouterr().err
    assert main([*other, "--fresh"]) == 0
    assert run["surfaces/trajectory"]["loss"].shape == (3, 3)


def test_imported_weights_along_a_training_are_measured(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained.with_suffix(workflow.TRAJECTORY)
    given = ["--task", "digits", "--shots", "2", "--model", "mlp", "--out", str(trained.parent)]
    assert main(["import", str(folder), *given]) == 0
    run = trained.parent / "digits-imported.h5"
    assert main(["measure", str(run), *MEASURED, "--grid", "0"]) == 0
    assert len(ls.Run.open(run)["trajectory"]["trace"]) == len(list(folder.iterdir()))
    assert np.isfinite(ls.Run.open(run)["trajectory"]["trace"]).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["measure", "--along", "--samples", "3"], "no --samples"),
        (["measure", "--along", "--plane", "random"], "no --plane"),
        (["surface", "--plane", "trajectory", "--samples", "3"], "no --samples"),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    trained: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([words[0], str(trained), *words[1:]]) == 2
    assert message in capsys.readouterr().err


def test_weights_of_another_training_are_not_taken(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending in (".h5", ".safetensors"):
        shutil.copy(trained.with_suffix(ending), tmp_path)
    run = tmp_path / trained.name
    assert main(["measure", str(run), "--along", "--grid", "0"]) == 2
    assert "train with --record N" in capsys.readouterr().err
    given = ["--shots", "2", "--model", "mlp", "--epochs", "1", "--record", "1", "--samples", "1"]
    words = ["train", "digits", "map", *given, "--name", "other", "--out", str(tmp_path)]
    assert main(words) == 0
    (tmp_path / "other.trajectory").rename(run.with_suffix(workflow.TRAJECTORY))
    assert main(["measure", str(run), "--along", "--grid", "0"]) == 2
    assert "holds the weights of another training" in capsys.readouterr().err
