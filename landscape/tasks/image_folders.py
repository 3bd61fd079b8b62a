"""Tasks from image files, with one folder for each class. This needs Pillow."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from landscape.errors import InputError
from landscape.runtime import limits
from landscape.runtime.memory import check_room
from landscape.tasks.augment import CropAndFlip
from landscape.tasks.images import decode
from landscape.tasks.own_data import real_inputs
from landscape.tasks.splits import assemble
from landscape.tasks.task import Data, Task

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
_VALIDATION = ("validation", "val", "valid")


def image_folder(
    path: str,
    *,
    size: int = 32,
    gray: bool = False,
    shots: int = 0,
    seed: int = 0,
    validation_share: float = 0.1,
    augment: bool = True,
) -> Task:
    """A task from the images in ``path/train/CLASS``, ``path/test/CLASS``.

    A folder ``path/validation`` is optional. Images are resized so that their shorter side has
    ``size`` pixels, then cropped to the central square.

    Args:
        path: Path of the folder.
        size: Height and width of the images in pixels.
        gray: Whether to convert images to one gray channel.
        shots: Number of training images of every class; 0 for all.
        seed: Seed that selects the shots, and the validation images if they have no folder.
        validation_share: Fraction of the training images used for validation in that case.
        augment: Whether to crop and flip training images at random.

    Returns:
        A task with inputs (N, channels, size, size), standardised by channel. The classes are the
        names of the folders in ``train``.

    Raises:
        InputError: Pillow or a folder is missing, or an image cannot be read.
    """
    if size < 1:
        raise InputError(f"the size of images must be at least 1 pixel, not {size}")
    if size * size > limits.MAX_PIXELS:
        raise InputError(f"{size:,} x {size:,} pixels are more than {limits.MAX_PIXELS:,}")
    folder = Path(path)
    for name in ("train", "test"):
        if not (folder / name).is_dir():
            raise InputError(f"{path} has no folder '{name}'; there must be train and test")
    classes = sorted(entry.name for entry in (folder / "train").iterdir() if entry.is_dir())
    if not classes:
        raise InputError(f"{folder / 'train'} has no folder of images for any class")
    validation = [folder / name for name in _VALIDATION if (folder / name).is_dir()]
    return assemble(
        "image-folder",
        _read(folder / "train", classes, size, gray),
        _read(validation[0], classes, size, gray) if validation else None,
        _read(folder / "test", classes, size, gray),
        prepare=real_inputs,
        classes=classes,
        shots=shots,
        seed=seed,
        validation_share=validation_share,
        augment=CropAndFlip(padding=max(1, size // 8)) if augment else None,
        settings={
            "path": path,
            "size": size,
            "gray": gray,
            "shots": shots,
            "seed": seed,
            "validation_share": validation_share,
            "augment": augment,
        },
    )


def _read(folder: Path, classes: list[str], size: int, gray: bool) -> Data:
    unknown = sorted({entry.name for entry in folder.iterdir() if entry.is_dir()} - set(classes))
    if unknown:
        raise InputError(f"{folder / unknown[0]} is a class without training images")
    files = [
        (file, label)
        for label, name in enumerate(classes)
        for file in sorted((folder / name).glob("*"))
        if file.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise InputError(f"{folder} contains no images ({', '.join(SUFFIXES)})")
    shape = (len(files), size, size, 1 if gray else 3)
    check_room(math.prod(shape), torch.device("cpu"), f"{len(files):,} images")
    pixels = np.empty(shape, dtype=np.uint8)
    for row, (file, _) in zip(pixels, files, strict=True):
        row[:] = decode(file, str(file), size, gray=gray)
    labels = torch.tensor([label for _, label in files], dtype=torch.long)
    return Data(torch.from_numpy(pixels).permute(0, 3, 1, 2), labels)
