"""Transfer to CIFAR-10 with few labels, from its own clean images or from Tiny ImageNet.

The images of CIFAR-10 (Krizhevsky 2009) and Tiny ImageNet (Le & Yang 2015) are read from ``.npz``
files in one folder. Most of these files hold JPEG images, which ``Jpegs`` reads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.tasks.augment import CropAndFlip
from landscape.tasks.data_folder import data_folder, only_file
from landscape.tasks.jpegs import Jpegs
from landscape.tasks.own_data import as_data, class_names, read_npz, real_inputs, require
from landscape.tasks.splits import assemble
from landscape.tasks.task import Task

_LOSSLESS, _TINY = "cifar10_lossless*.npz", "tinyimagenet_jpeg*.npz"
_TRAIN, _TEST = "cifar10_jpg_train*.npz", "cifar10_jpg_test*.npz"
_WHAT = "CIFAR-10 and Tiny ImageNet"
_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_SIZE = 32
_POOL, _VALIDATION, _TESTS = 2000, 1000, 3000
_SHARE = 0.05
_HELD_OUT, _MOST_VALIDATION = 1500, 500
_PARTITION_SEED = 20240615
"""Seed of the splits. All seeds are tested on the same images."""


def cifar10_lossless(*, path: str = "", augment: bool = True) -> Task:
    """A source task: all or some of CIFAR-10's training images as they were published.

    Args:
        path: Folder with a file ``cifar10_lossless*.npz``, which holds 8-bit ``x`` (N, 32, 32, 3)
            and ``y``. If empty, the environment variable ``LANDSCAPE_DATA`` names the folder.
        augment: Whether to crop and flip training images at random.

    Returns:
        A task with inputs (N, 3, 32, 32), standardised by its training set. A quarter of the
        images is its test set. A network that was trained on CIFAR-10 has seen these images.

    Raises:
        InputError: The file is missing, or it has another format.
    """
    folder = data_folder(path, _WHAT)
    file = only_file(folder, _LOSSLESS)
    images = as_data(require(read_npz(file), ("x", "y"), file))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(_PARTITION_SEED))
    tests = len(images) // 4
    return assemble(
        "cifar10-lossless",
        images.subset(order[tests:]),
        None,
        images.subset(order[:tests]),
        prepare=real_inputs,
        classes=_CLASSES,
        validation_share=0.1,
        seed=_PARTITION_SEED,
        augment=CropAndFlip() if augment else None,
        settings={"path": str(folder), "augment": augment},
    )


def cifar10_10_shot(
    *,
    path: str = "",
    shots: int = 10,
    seed: int = 0,
    validation: int = 100,
    tests: int = 1000,
    augment: bool = True,
) -> Task:
    """CIFAR-10 with ten labelled images of every class, for networks pretrained elsewhere.

    All splits consist of images as they were published, without loss. They are taken from the file
    of CIFAR-10's training images, because its test images are at hand as lossy JPEG only. So a
    network that was trained on CIFAR-10 has seen them, and one that was trained on ImageNet has
    not. 1,500 images are held out for tests and 500 for validation, the same for all seeds.

    Args:
        path: Folder with a file ``cifar10_lossless*.npz``, as for ``cifar10_lossless``. If empty,
            the environment variable ``LANDSCAPE_DATA`` names the folder.
        shots: Number of labelled training images of every class.
        seed: Seed that selects the labelled images. The other splits do not depend on it.
        validation: Number of validation images, at most 500.
        tests: Number of test images, at most 1,500.
        augment: Whether to crop and flip training images at random.

    Returns:
        A task with inputs (N, 3, 32, 32), standardised by its training set, and 10 classes.
        ``Task.transformed`` gives the images to a pretrained network as it expects them.

    Raises:
        InputError: The file is missing or has another format, or too few images are left.
    """
    folder = data_folder(path, _WHAT)
    file = only_file(folder, _LOSSLESS)
    images = as_data(require(read_npz(file), ("x", "y"), file))
    order = _shuffled(len(images), at_least=_HELD_OUT + _MOST_VALIDATION + 1, name=str(file))
    held_out, rest = order[:_HELD_OUT], order[_HELD_OUT:]
    for name, value, most in (
        ("validation", validation, _MOST_VALIDATION),
        ("tests", tests, _HELD_OUT),
    ):
        if not 1 <= value <= most:
            raise InputError(f"cifar10-10-shot: {name} must be from 1 to {most}, not {value}")
    return assemble(
        "cifar10-10-shot",
        images.subset(rest[_MOST_VALIDATION:]),
        images.subset(rest[:validation]),
        images.subset(held_out[:tests]),
        prepare=real_inputs,
        classes=_CLASSES,
        shots=shots,
        seed=seed,
        augment=CropAndFlip() if augment else None,
        settings={
            "path": str(folder),
            "shots": shots,
            "seed": seed,
            "validation": validation,
            "tests": tests,
            "augment": augment,
        },
    )


def cifar10_jpeg(*, path: str = "", shots: int = 10, seed: int = 0, augment: bool = True) -> Task:
    """Transfer from CIFAR-10 to its images after lossy JPEG compression.

    This target task is meant for networks that were trained on all training images of CIFAR-10.
    Compression shifts the distribution of the images. The labelled, validation and test images
    come from CIFAR-10's test set, which such networks have not seen. The ``source`` is
    ``cifar10_lossless``.

    Args:
        path: Folder with the files ``cifar10_lossless*.npz`` and ``cifar10_jpg_test*.npz``. If
            empty, the environment variable ``LANDSCAPE_DATA`` names the folder.
        shots: Number of labelled training images of every class.
        seed: Seed that selects the labelled images from a pool of 2,000. The other splits do not
            depend on it.
        augment: Whether to crop and flip training images at random.

    Returns:
        A task with inputs (N, 3, 32, 32), standardised by the source's training set, 10 classes,
        1,000 validation images and 3,000 test images.

    Raises:
        InputError: A file is missing or has another format, Pillow is missing, or a class has too
            few images.
    """
    folder = data_folder(path, _WHAT)
    source = cifar10_lossless(path=str(folder), augment=augment)
    jpegs = Jpegs.read(only_file(folder, _TEST), _SIZE)
    order = _shuffled(len(jpegs), at_least=_POOL + _VALIDATION + _TESTS, name=jpegs.name)
    validation, rest = order[:_VALIDATION], order[_VALIDATION:]
    test, pool = rest[:_TESTS], rest[_TESTS : _TESTS + _POOL]
    settings = {"path": str(folder), "shots": shots, "seed": seed, "augment": augment}
    return _target("cifar10-jpeg", source, jpegs, (pool, validation, test), settings)


def tiny_imagenet(*, path: str = "", augment: bool = True) -> Task:
    """A source task: Tiny ImageNet with 200 classes, resized to 32 x 32 pixels.

    Args:
        path: Folder with a file ``tinyimagenet_jpeg*.npz``, which holds ``jpeg_train``,
            ``length_train``, ``y_train``, ``jpeg_val``, ``length_val``, ``y_val`` and optionally
            ``wnids``, the names of the classes. If empty, the environment variable
            ``LANDSCAPE_DATA`` names the folder.
        augment: Whether to crop and flip training images at random.

    Returns:
        A task with inputs (N, 3, 32, 32), standardised by its training set. Its test set is the
        file's validation set.

    Raises:
        InputError: The file is missing or has another format, or Pillow is missing.
    """
    folder = data_folder(path, _WHAT)
    file = only_file(folder, _TINY)
    train, test = (Jpegs.read(file, _SIZE, f"_{split}") for split in ("train", "val"))
    names = class_names(read_npz(file), "wnids", str(file))
    images = train.followed_by(test)
    positions = torch.arange(len(images))
    return assemble(
        "tiny-imagenet",
        images.at(positions[: len(train)]),
        None,
        images.at(positions[len(train) :]),
        prepare=images.pixels,
        classes=names,
        validation_share=_SHARE,
        seed=_PARTITION_SEED,
        augment=CropAndFlip() if augment else None,
        settings={"path": str(folder), "augment": augment},
    )


def cifar10_few_shot(
    *, path: str = "", shots: int = 10, seed: int = 0, augment: bool = True
) -> Task:
    """Transfer from Tiny ImageNet, the ``source``, to CIFAR-10 with few labels.

    Args:
        path: Folder with the files ``tinyimagenet_jpeg*.npz``, ``cifar10_jpg_train*.npz`` and
            ``cifar10_jpg_test*.npz``. The last two hold ``jpeg``, ``length`` and ``y``. If empty,
            the environment variable ``LANDSCAPE_DATA`` names the folder.
        shots: Number of labelled training images of every class.
        seed: Seed that selects the labelled training images. The other splits do not depend on it.
        augment: Whether to crop and flip training images at random.

    Returns:
        A task with inputs (N, 3, 32, 32), standardised by the source's training set, and 10
        classes. 1,000 validation images are taken from the training set.

    Raises:
        InputError: A file is missing or has another format, Pillow is missing, or a class has too
            few images.
    """
    folder = data_folder(path, _WHAT)
    source = tiny_imagenet(path=str(folder), augment=augment)
    train, test = (Jpegs.read(only_file(folder, name), _SIZE) for name in (_TRAIN, _TEST))
    order = _shuffled(len(train), at_least=_VALIDATION + 1, name=train.name)
    tests = torch.arange(len(train), len(train) + len(test))
    splits = (order[_VALIDATION:], order[:_VALIDATION], tests)
    settings = {"path": str(folder), "shots": shots, "seed": seed, "augment": augment}
    return _target("cifar10-few-shot", source, train.followed_by(test), splits, settings)


def _target(
    name: str,
    source: Task,
    images: Jpegs,
    splits: tuple[Tensor, Tensor, Tensor],
    settings: dict[str, Any],
) -> Task:
    """A target task from the images at the positions of the pool, validation and test set."""
    scaling = source.scaling
    assert scaling is not None
    pool, validation, test = (images.at(positions) for positions in splits)
    task = assemble(
        name,
        pool,
        validation,
        test,
        prepare=lambda positions: scaling.apply(images.pixels(positions)),
        classes=_CLASSES,
        standardise=False,
        shots=settings["shots"],
        seed=settings["seed"],
        augment=CropAndFlip() if settings["augment"] else None,
        settings=settings,
    )
    return replace(task, source=source, scaling=scaling)


def _shuffled(count: int, *, at_least: int, name: str) -> Tensor:
    """Random positions of the images, the same for all seeds."""
    if count < at_least:
        raise InputError(f"{name} holds {count} images, but {at_least} are needed")
    return torch.randperm(count, generator=torch.Generator().manual_seed(_PARTITION_SEED))
