"""Measuring from the command line: killed, continued, and on several processes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from landscape.cli import main
from landscape.store import Run

MEASURE = ["--samples", "6", "--eigenvalues", "2", "--grid", "9", "--density", "2"]
EXACT = ("eigenvalues", "trace", "products")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is trained and not measured."""
    folder = tmp_path_factory.mktemp("runs")
    command = ["train", "digits", "swag", "--epochs", "10", "--rank", "3", "--samples", "2"]
    assert main([*command, "--out", str(folder), "--name", "run"]) == 0
    return folder / "run.h5"


def copied(trained: Path, folder: Path) -> Path:
    for ending in (".h5", ".safetensors"):
        shutil.copy(trained.with_suffix(ending), folder)
    return folder / trained.name


def test_a_killed_measurement_goes_on_where_it_was(trained: Path, tmp_path: Path) -> None:
    whole = copied(trained, tmp_path)
    assert main(["measure", str(whole), *MEASURE]) == 0
    (tmp_path / "parts").mkdir()
    path = copied(trained, tmp_path / "parts")
    command = [sys.executable, "-m", "landscape", "measure", str(path), *MEASURE]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and len(finished(path)) < 2:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    before = finished(path)
    assert len(before) >= 2
    assert main(["measure", str(path), *MEASURE]) == 0
    one, two = (Run.open(each)["samples"] for each in (whole, path))
    np.testing.assert_array_equal(two["seconds"][: len(before)], before)  # these were not redone
    for name in EXACT:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-6)
    assert bool(Run.open(path)["surfaces/samples"]["finished"].all())
    assert Run.open(path).attributes["status"] == "complete"


def finished(path: Path) -> np.ndarray:
    """The seconds that the finished samples took."""
    run = Run.open(path)
    return run["samples"]["seconds"] if "samples" in run else np.empty(0)


def test_the_same_command_again_measures_nothing(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(trained, tmp_path)
    assert main(["measure", str(path), *MEASURE]) == 0
    first = capsys.readouterr()
    assert "curvature: 6/6" in first.err
    assert "lambda_1" in first.err
    before = Run.open(path)["samples"]["seconds"]
    assert main(["measure", str(path), *MEASURE]) == 0
    again = capsys.readouterr()
    assert again.err == ""
    assert again.out == first.out
    np.testing.assert_array_equal(Run.open(path)["samples"]["seconds"], before)
    assert main(["measure", str(path), *MEASURE, "--fresh"]) == 0
    assert "curvature: 6/6" in capsys.readouterr().err


def test_worker_processes_measure_the_same(trained: Path, tmp_path: Path) -> None:
    path = copied(trained, tmp_path)
    assert main(["measure", str(path), *MEASURE]) == 0
    here, surface = Run.open(path)["samples"], Run.open(path)["surfaces/samples"]
    assert main(["measure", str(path), *MEASURE, "--fresh", "--workers", "2"]) == 0
    there = Run.open(path)["samples"]
    for name in EXACT:
        np.testing.assert_allclose(there[name], here[name], rtol=1e-4)
    np.testing.assert_allclose(
        Run.open(path)["surfaces/samples"]["loss"], surface["loss"], rtol=1e-4
    )


def test_lines_and_curves_are_written_beside_surfaces(trained: Path, tmp_path: Path) -> None:
    path = copied(trained, tmp_path)
    assert main(["surface", str(path), "--line", "bezier", "--grid", "5", "--split", "test"]) == 0
    found = Run.open(path)["lines/bezier-test"]
    assert found["loss"].shape == (5,)
    assert found.attributes["split"] == "test"
    assert main(["surface", str(path), "--line", "pca", "--plane", "pca"]) == 2
    assert main(["surface", str(path), "--line", "none"]) == 2
