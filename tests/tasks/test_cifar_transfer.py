"""CIFAR-10 as a target, from small files of JPEGs, and from the real files if available."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from landscape import tasks
from landscape.errors import InputError
from landscape.tasks import cifar_transfer
from landscape.tasks.data_folder import VARIABLE

REAL = os.environ.get(VARIABLE, "")
TARGETS = ("cifar10-jpeg", "cifar10-few-shot")


def picture(number: int, size: int) -> bytes:
    """A JPEG file whose halves have shades that encode its number."""
    pixels = np.full((size, size), number % 50 * 5, dtype=np.uint8)
    pixels[:, size // 2 :] = number // 50 * 5
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "jpeg", quality=95)
    return stream.getvalue()


def numbers(task: tasks.Task, data: tasks.Data) -> torch.Tensor:
    """Numbers of the images, shape (N,)."""
    assert task.scaling is not None
    shades = (task.scaling.invert(data.inputs) * 255 / 5).round()[:, 0, 16]
    return (shades[:, 4] + 50 * shades[:, 27]).long()


def jpegs(first: int, count: int, classes: int, size: int, ending: str = "") -> dict[str, Any]:
    """Arrays of pictures numbered from ``first``. The number also determines the class."""
    files = [np.frombuffer(picture(first + index, size), np.uint8) for index in range(count)]
    return {
        f"jpeg{ending}": np.concatenate(files),
        f"length{ending}": np.array([len(file) for file in files], np.int32),
        f"y{ending}": ((first + np.arange(count)) % classes).astype(np.uint8),
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cifar_transfer, "_POOL", 60)
    monkeypatch.setattr(cifar_transfer, "_VALIDATION", 20)
    monkeypatch.setattr(cifar_transfer, "_TESTS", 30)
    monkeypatch.setattr(cifar_transfer, "_HELD_OUT", 24)
    monkeypatch.setattr(cifar_transfer, "_MOST_VALIDATION", 12)
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (80, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "cifar10_lossless_train80.npz", x=images, y=np.arange(80) % 10)
    np.savez(tmp_path / "cifar10_jpg_train90.npz", **jpegs(0, 90, 10, 32))
    np.savez(tmp_path / "cifar10_jpg_test120.npz", **jpegs(90, 120, 10, 32))
    parts = jpegs(0, 40, 4, 64, "_train") | jpegs(40, 8, 4, 64, "_val")
    names = np.array([f"n{index}" for index in range(4)])
    np.savez(tmp_path / "tinyimagenet_jpeg_small.npz", wnids=names, **parts)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "sizes", "sources"),
    [
        ("cifar10-jpeg", (20, 20, 30), (54, 6, 20)),
        ("cifar10-few-shot", (20, 20, 120), (38, 2, 8)),
    ],
)
def test_the_splits(
    name: str, sizes: tuple[int, ...], sources: tuple[int, ...], folder: Path
) -> None:
    task = tasks.load(name, shots=2)
    found = task.sizes
    splits = ("train", "validation", "test")
    assert tuple(found[split] for split in splits) == sizes
    assert tuple(found[f"source/{split}"] for split in splits) == sources
    assert torch.bincount(task.train.targets).tolist() == [2] * 10
    assert task.classes[3] == "cat"
    assert task.train.inputs.shape[1:] == (3, 32, 32)
    other = tasks.load(name, shots=2, seed=1)
    assert not torch.equal(task.train.inputs, other.train.inputs)
    assert torch.equal(task.validation.inputs, other.validation.inputs)
    assert torch.equal(task.test.inputs, other.test.inputs)
    assert tasks.load(task.name, **task.settings).fingerprint() == task.fingerprint()


@pytest.mark.parametrize("name", TARGETS)
def test_every_image_has_its_own_label_and_is_in_one_split(name: str, folder: Path) -> None:
    task = tasks.load(name, shots=2)
    splits = (task.train, task.validation, task.test)
    found = [numbers(task, data) for data in splits]
    for data, those in zip(splits, found, strict=True):
        assert torch.equal(those % 10, data.targets)
    together = torch.cat(found)
    assert len(together.unique()) == len(together) == sum(map(len, splits))
    if name == "cifar10-few-shot":
        assert torch.equal(found[2], torch.arange(90, 210))


def test_tiny_imagenet_is_halved_and_keeps_its_labels(folder: Path) -> None:
    task = tasks.load("tiny-imagenet")
    assert task.classes == ("n0", "n1", "n2", "n3")
    for data in (task.train, task.validation, task.test):
        assert torch.equal(numbers(task, data) % 4, data.targets)
    assert torch.equal(numbers(task, task.test), torch.arange(40, 48))
    assert abs(float(task.train.inputs.mean())) < 1e-4
    assert task.augment == tasks.CropAndFlip()
    assert tasks.load("tiny-imagenet", augment=False).augment is None


def test_a_target_is_standardised_by_its_source(folder: Path) -> None:
    task = tasks.load("cifar10-jpeg", shots=2)
    assert task.source is not None
    assert task.scaling == task.source.scaling
    assert abs(float(task.source.train.inputs.mean())) < 1e-4


def test_files_that_are_not_what_they_should_be_are_refused(folder: Path) -> None:
    file = folder / "cifar10_jpg_test120.npz"
    good = jpegs(90, 120, 10, 32)
    cases = [
        ({"jpeg": good["jpeg"], "length": good["length"]}, "has no array 'y'; it holds jpeg"),
        (good | {"jpeg": good["jpeg"][:-1]}, "must hold the bytes of all files"),
        (good | {"y": good["y"][:-1]}, "must hold the bytes of all files"),
        (good | {"y": good["y"] + 1}, r"labels must be in \[0, 10\), not in \[1, 10\]"),
        (good | {"jpeg": np.zeros_like(good["jpeg"])}, r"cannot read the image \d+ of .*test120"),
        (jpegs(0, 100, 10, 32), "holds 100 images, but 110 are needed"),
    ]
    for arrays, message in cases:
        np.savez(file, **arrays)
        with pytest.raises(InputError, match=message):
            tasks.load("cifar10-jpeg", shots=2)
    (folder / "cifar10_lossless_train80.npz").unlink()
    with pytest.raises(InputError, match=r"must hold one file cifar10_lossless\*.npz, but holds 0"):
        tasks.load("cifar10-jpeg")
    np.savez(folder / "cifar10_lossless.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="has no array 'y'; it holds x"):
        tasks.load("cifar10-lossless")


def test_ten_shots_have_their_own_images_for_each_split(folder: Path) -> None:
    settings: dict[str, Any] = {"shots": 2, "validation": 12, "tests": 20}
    task = tasks.load("cifar10-10-shot", **settings)
    assert task.sizes == {"train": 20, "validation": 12, "test": 20}
    assert task.source is None
    assert task.classes[3] == "cat"
    other = tasks.load("cifar10-10-shot", seed=1, **settings)
    scaled = [one.scaling for one in (task, other)]
    assert scaled[0] is not None
    assert scaled[1] is not None
    pixels = [
        (scale.invert(data.inputs) * 255).round().byte()
        for one, scale in zip((task, other), scaled, strict=True)
        for data in (one.train, one.validation, one.test)
    ]
    assert not torch.equal(pixels[0], pixels[3])
    assert torch.equal(pixels[1], pixels[4])
    assert torch.equal(pixels[2], pixels[5])
    stored = np.load(folder / "cifar10_lossless_train80.npz")
    numbered = {image.tobytes(): label for image, label in zip(*stored.values(), strict=True)}
    seen: list[bytes] = []
    for images, data in zip(pixels[:3], (task.train, task.validation, task.test), strict=True):
        rows = [image.tobytes() for image in images.permute(0, 2, 3, 1).contiguous().numpy()]
        assert [numbered[row] for row in rows] == data.targets.tolist()
        seen += rows
    assert len(set(seen)) == len(seen) == 52
    again = tasks.load(task.name, **task.settings)
    assert again.fingerprint() == task.fingerprint()
    for name, most in (("validation", 12), ("tests", 24)):
        with pytest.raises(InputError, match=f"{name} must be from 1 to {most}, not {most + 1}"):
            tasks.load("cifar10-10-shot", **{**settings, name: most + 1})


@pytest.mark.parametrize("name", [*TARGETS, "cifar10-lossless", "cifar10-10-shot", "tiny-imagenet"])
def test_without_a_folder_one_line_says_what_is_missing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(InputError, match=f"give its path, or set {VARIABLE}"):
        tasks.load(name)


@pytest.mark.skipif(not REAL, reason=f"{VARIABLE} names no folder of real images")
@pytest.mark.parametrize("name", [*TARGETS, "cifar10-10-shot"])
def test_the_real_files(name: str) -> None:
    task = tasks.load(name, path=REAL)
    assert task.sizes["train"] == 100
    assert task.sizes["test"] >= (1000 if name == "cifar10-10-shot" else 3000)
    assert 0.3 < float(task.test.inputs.std()) < 2
