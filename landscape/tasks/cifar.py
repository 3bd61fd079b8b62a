"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), from the folders of their unpacked archives.

Both published formats can be read: the binary one and the pickled one ("python version"). The
module ``pickles`` reads pickles without running code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.tasks.augment import CropAndFlip
from landscape.tasks.own_data import real_inputs
from landscape.tasks.pickles import read_bytes, unpickle
from landscape.tasks.splits import assemble
from landscape.tasks.task import Data, Task

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Kind:
    """File names and format of one of the two data sets. The test file is the last one."""

    name: str
    binary: str
    binary_files: tuple[str, ...]
    pickled: str
    pickled_files: tuple[str, ...]
    meta: str
    names_file: str
    names_key: str
    label_key: str
    label_bytes: int
    classes: int


_TEN = _Kind(
    "cifar10",
    "cifar-10-batches-bin",
    (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
    "cifar-10-batches-py",
    (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
    "batches.meta",
    "batches.meta.txt",
    "label_names",
    "labels",
    1,
    10,
)
_HUNDRED = _Kind(
    "cifar100",
    "cifar-100-binary",
    ("train.bin", "test.bin"),
    "cifar-100-python",
    ("train", "test"),
    "meta",
    "fine_label_names.txt",
    "fine_label_names",
    "fine_labels",
    2,  # the first byte is the coarse label
    100,
)


def cifar10(
    path: str,
    *,
    shots: int = 0,
    seed: int = 0,
    validation_share: float = 0.1,
    augment: bool = True,
) -> Task:
    """CIFAR-10 from a local folder.

    Args:
        path: Folder ``cifar-10-batches-py`` or ``cifar-10-batches-bin``, or its parent folder.
        shots: Number of training images of every class; 0 for all.
        seed: Seed that selects the validation images and the shots.
        validation_share: Fraction of the 50,000 training images used for validation. The 10,000
            test images are always the same.
        augment: Whether to crop and flip training images at random.

    Returns:
        A task with inputs (N, 3, 32, 32), standardised by channel.

    Raises:
        InputError: The files are missing or cannot be read.
    """
    return _cifar(_TEN, path, shots, seed, validation_share, augment)


def cifar100(
    path: str,
    *,
    shots: int = 0,
    seed: int = 0,
    validation_share: float = 0.1,
    augment: bool = True,
) -> Task:
    """CIFAR-100 with its 100 fine labels, from a local folder.

    Args:
        path: Folder ``cifar-100-python`` or ``cifar-100-binary``, or its parent folder.
        shots: Number of training images of every class; 0 for all.
        seed: Seed that selects the validation images and the shots.
        validation_share: Fraction of the 50,000 training images used for validation. The 10,000
            test images are always the same.
        augment: Whether to crop and flip training images at random.

    Returns:
        A task with inputs (N, 3, 32, 32), standardised by channel.

    Raises:
        InputError: The files are missing or cannot be read.
    """
    return _cifar(_HUNDRED, path, shots, seed, validation_share, augment)


def _cifar(
    kind: _Kind, path: str, shots: int, seed: int, validation_share: float, augment: bool
) -> Task:
    folder, is_binary = _find(kind, Path(path))
    names = kind.binary_files if is_binary else kind.pickled_files
    read = _read_binary if is_binary else _read_pickled
    *train, test = (read(kind, folder / name) for name in names)
    images, labels = (torch.cat(tensors) for tensors in zip(*train, strict=True))
    return assemble(
        kind.name,
        Data(images, labels),
        None,
        Data(*test),
        prepare=real_inputs,
        classes=_class_names(kind, folder, is_binary),
        validation_share=validation_share,
        shots=shots,
        seed=seed,
        augment=CropAndFlip() if augment else None,
        settings={
            "path": path,
            "shots": shots,
            "seed": seed,
            "validation_share": validation_share,
            "augment": augment,
        },
    )


def _find(kind: _Kind, path: Path) -> tuple[Path, bool]:
    for folder in (path, path / kind.binary, path / kind.pickled):
        for files, is_binary in ((kind.binary_files, True), (kind.pickled_files, False)):
            if (folder / files[-1]).is_file():
                return folder, is_binary
    raise InputError(
        f"{path} does not contain {kind.name}: unpack its archive there; this makes a folder "
        f"{kind.pickled} or {kind.binary}"
    )


def _read_binary(kind: _Kind, path: Path) -> tuple[Tensor, Tensor]:
    """Images and labels of a binary file.

    Each image is its labels followed by 3072 bytes: the red, green and blue channel, row by row.
    """
    rows = np.frombuffer(read_bytes(path), dtype=np.uint8)
    width = kind.label_bytes + _PIXELS
    if len(rows) == 0 or len(rows) % width:
        raise InputError(f"{path} is not in the binary format of {kind.name}: {len(rows)} bytes")
    rows = rows.reshape(-1, width)
    images = torch.from_numpy(rows[:, kind.label_bytes :].reshape(-1, *_SHAPE).copy())
    return images, torch.from_numpy(rows[:, kind.label_bytes - 1].astype(np.int64))


def _read_pickled(kind: _Kind, path: Path) -> tuple[Tensor, Tensor]:
    contents = unpickle(path)
    labels: Any = contents.get(kind.label_key)
    pixels: Any = contents.get("data")
    is_table = (
        isinstance(pixels, np.ndarray)
        and pixels.dtype == np.uint8
        and pixels.ndim == 2
        and pixels.shape[1] == _PIXELS
    )
    if not isinstance(labels, list) or not is_table or len(labels) != len(pixels):
        raise InputError(f"{path} is not in the python format of {kind.name}")
    if not all(type(label) is int and 0 <= label < kind.classes for label in labels):
        raise InputError(f"{path} is not in the python format of {kind.name}")
    images = torch.from_numpy(pixels.reshape(-1, *_SHAPE).copy())
    return images, torch.tensor(labels, dtype=torch.long)


def _class_names(kind: _Kind, folder: Path, is_binary: bool) -> list[str]:
    meta = folder / (kind.names_file if is_binary else kind.meta)
    numbers = [str(number) for number in range(kind.classes)]
    if not meta.is_file():
        return numbers
    if is_binary:
        names: Any = read_bytes(meta).decode("utf-8", "replace").split()
    else:
        names = unpickle(meta).get(kind.names_key)
    valid = isinstance(names, list) and all(isinstance(name, str | bytes) for name in names)
    if not valid or len(names) != kind.classes:
        return numbers
    return [name.decode("latin1") if isinstance(name, bytes) else name for name in names]
