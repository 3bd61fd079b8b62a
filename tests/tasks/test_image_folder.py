"""Tasks from image files, with one folder for each class."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landscape import tasks
from landscape.errors import InputError


def write(file: Path, shade: int, size: tuple[int, int] = (8, 8)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), shade, dtype=np.uint8)).save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten training and two test images for each of two classes, each of one shade."""
    for label, name in enumerate(["cat", "ant"]):
        for index in range(10):
            write(tmp_path / "train" / name / f"{index}.png", 100 * label + index)
        for index in range(2):
            write(tmp_path / "test" / name / f"{index}.PNG", 100 * label + 50 + index)
        (tmp_path / "train" / name / "notes.txt").write_text("no image")
    return tmp_path


def test_classes_are_the_names_of_folders_in_alphabetical_order(folder: Path) -> None:
    task = tasks.load("image-folder", path=str(folder), size=8, validation_share=0.2)
    assert task.classes == ("ant", "cat")
    assert task.sizes == {"train": 16, "validation": 4, "test": 4}
    assert task.scaling is not None
    shades = task.scaling.invert(task.test.inputs)[:, 0, 0, 0] * 255
    np.testing.assert_allclose(shades, [150, 151, 50, 51], atol=1e-3)
    assert task.test.targets.tolist() == [0, 0, 1, 1]
    assert task.augment == tasks.CropAndFlip(padding=1)
    assert tasks.load(task.name, **task.settings).fingerprint() == task.fingerprint()


def test_the_middle_of_an_image_is_scaled_to_the_size(folder: Path) -> None:
    stripes = np.zeros((4, 12, 3), dtype=np.uint8)
    stripes[:, 4:8] = 200  # the middle square
    Image.fromarray(stripes).save(folder / "test" / "ant" / "0.PNG")
    for gray, channels in ((False, 3), (True, 1)):
        task = tasks.image_folder(str(folder), size=4, gray=gray, shots=2)
        assert task.test.inputs.shape == (4, channels, 4, 4)
        assert task.sizes["train"] == 4
        assert task.scaling is not None
        middle = task.scaling.invert(task.test.inputs[0]) * 255
        np.testing.assert_allclose(middle, 200, atol=1e-3)


@pytest.mark.parametrize("name", ["validation", "val", "valid"])
def test_a_folder_for_validation_is_taken(name: str, folder: Path) -> None:
    write(folder / name / "cat" / "0.jpg", 5, (10, 6))
    task = tasks.image_folder(str(folder), size=8)
    assert task.sizes == {"train": 20, "validation": 1, "test": 4}
    assert task.validation.targets.tolist() == [1]


def test_bad_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    path = str(folder)
    with pytest.raises(InputError, match="size of images must be at least 1"):
        tasks.image_folder(path, size=0)
    with pytest.raises(InputError, match="has no folder 'train'"):
        tasks.image_folder(str(folder / "train"))
    (folder / "test" / "dog").mkdir()
    with pytest.raises(InputError, match="dog is a class without training images"):
        tasks.image_folder(path)
    (folder / "test" / "dog").rmdir()
    (folder / "test" / "cat" / "broken.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"cannot read the image .*broken\.png"):
        tasks.image_folder(path)


def test_without_pillow_it_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)  # as if it were not installed
    with pytest.raises(InputError, match="pip install pillow"):
        tasks.image_folder(str(folder))
