"""CIFAR-10 with few labels as a target: after its own clean images, or after Tiny ImageNet.

The images of CIFAR-10 (Krizhevsky 2009) and Tiny ImageNet (Le & Yang 2015) are read from ``.npz``
files in one folder, JPEG files in the arrays that ``Jpegs`` reads.
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
from landscape.tasks.own_data import as_data, class_names, read_npz, real_inputs
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
_PARTITION_SEED = 20240615
"""Every seed is judged on the same images."""


def cifar10_lossless(*, path: str = "", augment: bool = True) -> Task:
    """A source task: CIFAR-10's training images as they were published, or some of them.

    Args:
        path: Folder with a file ``cifar10_lossless*.npz`` of ``x`` (N, 32, 32, 3), 8 bits, and
            ``y``; that of the environment variable ``LANDSCAPE_DATA`` if empty.
        augment: Whether training images are cropped and flipped at random.

    Returns:
        A task with inputs (N, 3, 32, 32), standardised by its training set. A quarter of the
        images is its test set: a network that was trained on CIFAR-10 has seen them.

    Raises:
        InputError: there is no such file, or it does not hold what it should.
    """
    folder = data_folder(path, _WHAT)
    file = only_file(folder, _LOSSLESS)
    found = read_npz(file)
    for name in ("x", "y"):
        if name not in found:
            raise InputError(f"{file} has no array '{name}'; it holds {', '.join(found)}")
    images = as_data((found["x"], found["y"]))
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


def cifar10_jpeg(*, path: str = "", shots: int = 10, seed: int = 0, augment: bool = True) -> Task:
    """CIFAR-10 compressed to lossy JPEG, after the same images without loss.

    The target for networks that were trained on all of CIFAR-10's training images, for which
    compression is a shift: labelled, validation and test images all come from CIFAR-10's test set,
    which such networks have not seen. The ``source`` is ``cifar10_lossless``.

    Args:
        path: Folder with files ``cifar10_lossless*.npz`` and ``cifar10_jpg_test*.npz``; that of the
            environment variable ``LANDSCAPE_DATA`` if empty.
        shots: Labelled training images of every class.
        seed: Which images of a pool of 2,000 are the labelled ones; the other splits do not depend
            on it.
        augment: Whether training images are cropped and flipped at random.

    Returns:
        A task with inputs (N, 3, 32, 32), standardised by the source's training set, and 10
        classes; 1,000 validation and 3,000 test images.

    Raises:
        InputError: a file is missing or does not hold what it should, Pillow is missing, or a
            class has fewer images.
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
    """A source task: Tiny ImageNet, 200 classes, brought to 32 x 32 pixels.

    Args:
        path: Folder with a file ``tinyimagenet_jpeg*.npz`` of ``jpeg_train``, ``length_train``,
            ``y_train``, ``jpeg_val``, ``length_val``, ``y_val`` and maybe ``wnids``, the classes'
            names; that of the environment variable ``LANDSCAPE_DATA`` if empty.
        augment: Whether training images are cropped and flipped at random.

    Returns:
        A task with inputs (N, 3, 32, 32), standardised by its training set, whose test set are the
        file's validation images.

    Raises:
        InputError: there is no such file, it does not hold what it should, or Pillow is missing.
    """
    folder = data_folder(path, _WHAT)
    file = only_file(folder, _TINY)
    train, test = (Jpegs.read(file, _SIZE, f"_{part}") for part in ("train", "val"))
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
    """CIFAR-10 with few labels after Tiny ImageNet, its ``source``.

    Args:
        path: Folder with files ``tinyimagenet_jpeg*.npz``, ``cifar10_jpg_train*.npz`` and
            ``cifar10_jpg_test*.npz``, the last two of ``jpeg``, ``length`` and ``y``; that of the
            environment variable ``LANDSCAPE_DATA`` if empty.
        shots: Labelled training images of every class.
        seed: Which training images are the labelled ones; the other splits do not depend on it.
        augment: Whether training images are cropped and flipped at random.

    Returns:
        A task with inputs (N, 3, 32, 32), standardised by the source's training set, and 10
        classes; 1,000 validation images are cut off the training set.

    Raises:
        InputError: a file is missing or does not hold what it should, Pillow is missing, or a
            class has fewer images.
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
    """The task of the images at the positions of pool, validation and test set."""
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
    """Positions in the order of every seed."""
    if count < at_least:
        raise InputError(f"{name} holds {count} images, and {at_least} are needed")
    return torch.randperm(count, generator=torch.Generator().manual_seed(_PARTITION_SEED))
