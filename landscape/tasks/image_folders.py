"""Images in a folder for every class; Pillow, which reads them, is optional."""

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
    """A task from ``path/train/CLASS/*.png``, ``path/test/CLASS/*`` and maybe ``path/validation``.

    Images are brought to ``size`` x ``size`` pixels: scaled so that the shorter side fits, and the
    middle cut out.

    Args:
        path: The folder.
        size: Height and width.
        gray: One channel instead of three.
        shots: Training images of every class; 0 for all.
        seed: Which training images are for validation, if there is no folder for it, and which are
            the shots.
        validation_share: Of the training images, in that case.
        augment: Whether training images are cropped and flipped at random.

    Returns:
        A task with inputs (N, channels, size, size), standardised by channel; classes are the
        names of the folders below ``train``.

    Raises:
        InputError: Pillow or a folder is missing, or an image cannot be read.
    """
    if size < 1:
        raise InputError(f"the size of images must be at least 1 pixel, not {size}")
    if size * size > limits.MAX_PIXELS:
        raise InputError(f"{size:,} x {size:,} pixels are more than {limits.MAX_PIXELS:,}")
    folder = Path(path)
    splits = [name for name in ("train", "test") if not (folder / name).is_dir()]
    if splits:
        raise InputError(f"{path} has no folder '{splits[0]}'; there must be train and test")
    classes = sorted(each.name for each in (folder / "train").iterdir() if each.is_dir())
    if not classes:
        raise InputError(f"{folder / 'train'} has no folder of images for any class")
    given = [folder / name for name in _VALIDATION if (folder / name).is_dir()]
    return assemble(
        "image-folder",
        _read(folder / "train", classes, size, gray),
        _read(given[0], classes, size, gray) if given else None,
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
    unknown = sorted({each.name for each in folder.iterdir() if each.is_dir()} - set(classes))
    if unknown:
        raise InputError(f"{folder / unknown[0]} is of a class that has no training images")
    files = [
        (file, label)
        for label, name in enumerate(classes)
        for file in sorted((folder / name).glob("*"))
        if file.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise InputError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    shape = (len(files), size, size, 1 if gray else 3)
    check_room(math.prod(shape), torch.device("cpu"), f"{len(files):,} images")
    pixels = np.empty(shape, dtype=np.uint8)
    for row, (file, _) in zip(pixels, files, strict=True):
        row[:] = decode(file, str(file), size, gray=gray)
    labels = torch.tensor([label for _, label in files], dtype=torch.long)
    return Data(torch.from_numpy(pixels).permute(0, 3, 1, 2), labels)
