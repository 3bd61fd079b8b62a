"""CIFAR in both of its formats, from small files that are written here byte by byte."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape import tasks
from landscape.errors import InputError

TEN = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
HUNDRED = ["train", "test"]
SIZE = 20


def contents(seed: int, classes: int) -> tuple[np.ndarray, list[int]]:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, 3072), dtype=np.uint8)
    return pixels, [(seed + 3 * index) % classes for index in range(SIZE)]


def write(folder: Path, classes: int, *, binary: bool, protocol: int = 2) -> Path:
    """All files of one format: batch i holds ``contents(i)``; the names are "class 0", ..."""
    below = {
        (10, True): "cifar-10-batches-bin",
        (10, False): "cifar-10-batches-py",
        (100, True): "cifar-100-binary",
        (100, False): "cifar-100-python",
    }[classes, binary]
    (folder / below).mkdir()
    key = b"labels" if classes == 10 else b"fine_labels"
    names = [f"class-{index}" for index in range(classes)]
    for seed, name in enumerate(TEN if classes == 10 else HUNDRED):
        pixels, labels = contents(seed, classes)
        if binary:
            coarse = [[] if classes == 10 else [7]] * SIZE
            rows = [bytes([*c, y]) + x.tobytes() for c, y, x in zip(coarse, labels, pixels)]  # noqa: B905
            (folder / below / f"{name}.bin").write_bytes(b"".join(rows))
        else:
            found = {b"data": pixels, key: labels, b"batch_label": b"batch"}
            (folder / below / name).write_bytes(pickle.dumps(found, protocol=protocol))
    if binary:
        meta = "batches.meta.txt" if classes == 10 else "fine_label_names.txt"
        (folder / below / meta).write_text("\n".join(names) + "\n\n")
    else:
        meta = "batches.meta" if classes == 10 else "meta"
        label_names = "label_names" if classes == 10 else "fine_label_names"
        found = {label_names: names}
        (folder / below / meta).write_bytes(pickle.dumps(found, protocol=protocol))
    return folder / below


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("around", [True, False])
def test_images_and_labels_are_those_of_the_files(
    classes: int, binary: bool, around: bool, tmp_path: Path
) -> None:
    folder = write(tmp_path, classes, binary=binary)
    path = str(tmp_path if around else folder)
    task = tasks.load(f"cifar{classes}", path=path, validation_share=0.1)
    count = 5 * SIZE if classes == 10 else SIZE
    assert task.sizes == {"train": count * 9 // 10, "validation": count // 10, "test": SIZE}
    pixels, labels = contents(5 if classes == 10 else 1, classes)
    assert task.test.targets.tolist() == labels
    assert task.scaling is not None
    images = task.scaling.invert(task.test.inputs) * 255
    np.testing.assert_allclose(images, pixels.reshape(-1, 3, 32, 32), atol=1e-3)
    assert task.classes == tuple(f"class-{index}" for index in range(classes))
    assert tasks.load(task.name, **task.settings).fingerprint() == task.fingerprint()


def test_both_formats_and_older_protocols_are_the_same_task(tmp_path: Path) -> None:
    prints = set()
    for number, (binary, protocol) in enumerate([(True, 0), (False, 0), (False, 2), (False, 4)]):
        (tmp_path / str(number)).mkdir()
        folder = write(tmp_path / str(number), 10, binary=binary, protocol=protocol)
        prints.add(tasks.cifar10(str(folder)).fingerprint())
    assert len(prints) == 1


def test_shots_are_chosen_by_seed_and_augmentation_can_be_left_out(tmp_path: Path) -> None:
    path = str(write(tmp_path, 10, binary=True))
    task = tasks.cifar10(path, shots=3, seed=1, augment=False)
    assert torch.bincount(task.train.targets).tolist() == [3] * 10
    assert task.augment is None
    assert tasks.cifar10(path).augment == tasks.CropAndFlip(padding=4)
    other = tasks.cifar10(path, shots=3, seed=2)
    assert other.fingerprint() != task.fingerprint()


class Harmful:
    """An object for which unpickling calls a function."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (Harmful.path,)

    path = ""


def test_a_pickled_file_can_call_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path, 10, binary=False)
    Harmful.path = str(tmp_path / "made")
    for bad in (Harmful(), {"data": np.array([Harmful()], dtype=object)}, {"data": print}):
        (folder / "data_batch_2").write_bytes(pickle.dumps(bad))
        with pytest.raises(InputError, match=r"cannot read .*data_batch_2: it calls "):
            tasks.cifar10(str(folder))
    assert not (tmp_path / "made").exists()


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not contain cifar10: unpack its archive there"):
        tasks.cifar10(str(tmp_path))
    pickled = write(tmp_path, 10, binary=False)
    for bad in (b"", b"text", pickle.dumps([1]), pickle.dumps({"data": 1})):
        (pickled / "data_batch_1").write_bytes(bad)
        with pytest.raises(InputError, match="data_batch_1"):
            tasks.cifar10(str(pickled))
    (pickled / "data_batch_1").unlink()
    with pytest.raises(InputError, match=r"cannot read .*data_batch_1: No such file"):
        tasks.cifar10(str(pickled))
    binary = write(tmp_path, 10, binary=True)
    (binary / "data_batch_1.bin").write_bytes(b"0" * 3072)
    with pytest.raises(InputError, match="not in the binary format of cifar10: 3072 bytes"):
        tasks.cifar10(str(binary))


def test_corrupted_images_become_shifted_test_sets(tmp_path: Path) -> None:
    task = tasks.cifar10(str(write(tmp_path, 10, binary=True)))
    images = np.random.default_rng(0).integers(0, 256, (5 * SIZE, 32, 32, 3), dtype=np.uint8)
    labels = np.tile(task.test.targets.numpy(), 5).astype(np.uint8)
    np.save(tmp_path / "fog.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    shifted = tasks.cifar_c(task, str(tmp_path), kinds=["fog"], severities=[1, 4])
    assert list(shifted.shifted) == ["fog-1", "fog-4"]
    assert shifted.sizes["shifted/fog-4"] == SIZE
    assert shifted.fingerprint() == task.fingerprint()
    assert task.scaling is not None
    back = task.scaling.invert(shifted.shifted["fog-4"].inputs) * 255
    part = images[3 * SIZE : 4 * SIZE]
    np.testing.assert_allclose(back, part.transpose(0, 3, 1, 2), atol=1e-3)
    assert torch.equal(shifted.shifted["fog-4"].targets, task.test.targets)
    for settings, message in (
        ({"kinds": ["frost"]}, "cannot read .*frost.npy"),
        ({"kinds": ["fog"], "severities": [6]}, "severities are 1 to 5"),
        ({"kinds": ["labels"]}, "not an array of 4 axes"),
    ):
        with pytest.raises(InputError, match=message):
            tasks.cifar_c(task, str(tmp_path), **settings)  # type: ignore[arg-type]
