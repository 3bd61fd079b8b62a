"""Letters, then digits: from small files, and from the real files if available."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import write_images

from landscape import tasks
from landscape.errors import InputError
from landscape.tasks.data_folder import VARIABLE

REAL = os.environ.get(VARIABLE, "")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_images(tmp_path / "emnist_letters_small.npz", 26, 260, 52)
    write_images(tmp_path / "mnist_small.npz", 10, 1300, 40)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def test_digits_of_each_seed_with_one_validation_and_one_test_set(folder: Path) -> None:
    first, second = (tasks.load("mnist", shots=3, seed=seed) for seed in (0, 1))
    assert first.sizes["train"] == 30
    assert first.sizes["validation"] == 1000
    assert first.sizes["test"] == 40
    assert torch.bincount(first.train.targets).tolist() == [3] * 10
    assert not torch.equal(first.train.inputs, second.train.inputs)
    assert torch.equal(first.validation.inputs, second.validation.inputs)
    assert torch.equal(first.test.inputs, second.test.inputs)


def test_no_image_is_in_two_splits(folder: Path) -> None:
    task = tasks.load("mnist", shots=10)
    rows = torch.cat([task.train.inputs, task.validation.inputs, task.test.inputs]).flatten(1)
    assert len(torch.unique(rows, dim=0)) == len(rows) == 1140


def test_both_are_standardised_by_the_letters_they_are_transferred_from(folder: Path) -> None:
    task = tasks.load("mnist")
    assert task.source is not None
    assert task.source.classes == tuple("abcdefghijklmnopqrstuvwxyz")
    letters = task.source.train.inputs
    assert letters.shape[1:] == (1, 28, 28)
    assert abs(float(letters.mean())) < 1e-4
    assert abs(float(letters.std()) - 1) < 1e-3
    with np.load(folder / "mnist_small.npz") as found:
        pixels = torch.from_numpy(found["x_test"]) / 255
    scaling = task.source.scaling
    assert scaling is not None
    expected = (pixels[:, None] - scaling.mean) / scaling.deviation
    assert torch.allclose(task.test.inputs, expected, atol=1e-5)


def test_a_path_goes_before_the_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere")
    assert tasks.load("emnist-letters", path=str(folder)).sizes["test"] == 52


@pytest.mark.parametrize("name", ["mnist", "emnist-letters"])
def test_without_a_folder_or_a_file_one_line_says_what_is_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(InputError, match=f"give its path, or set {VARIABLE}"):
        tasks.load(name)
    with pytest.raises(InputError, match=r"must hold one file emnist_letters\*.npz, but holds 0"):
        tasks.load(name, path=str(tmp_path))


def test_files_that_are_not_what_they_should_be_are_refused(folder: Path) -> None:
    write_images(folder / "mnist_small.npz", 10, 1000, 40)
    with pytest.raises(InputError, match="leave none after 1000"):
        tasks.load("mnist")
    write_images(folder / "mnist_small.npz", 12, 1300, 40)
    with pytest.raises(InputError, match="labels must be in"):
        tasks.load("mnist")
    write_images(folder / "mnist_more.npz", 10, 1300, 40)
    with pytest.raises(InputError, match="holds 2"):
        tasks.load("mnist")


def test_labels_from_1_are_refused(tmp_path: Path) -> None:
    """EMNIST's own files count the letters from 1."""
    write_images(tmp_path / "emnist_letters.npz", 26, 260, 52, first=1)
    with pytest.raises(InputError, match="26"):
        tasks.load("emnist-letters", path=str(tmp_path))


@pytest.mark.skipif(not REAL, reason=f"{VARIABLE} names no folder of real images")
def test_the_real_files() -> None:
    task = tasks.load("mnist", path=REAL)
    assert task.source is not None
    assert len(task.source.classes) == 26
    assert task.sizes["train"] == 100
    assert sorted(set(task.test.targets.tolist())) == list(range(10))
