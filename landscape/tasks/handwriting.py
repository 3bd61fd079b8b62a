"""Transfer from the letters of EMNIST to the digits of MNIST with few labels.

Both data sets have 28 x 28 images (LeCun et al. 1998; Cohen et al., arXiv 1702.05373). They are
read from ``.npz`` files in one folder with ``x_train``, ``y_train``, ``x_test`` and ``y_test``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from landscape.errors import InputError
from landscape.tasks.data_folder import data_folder, only_file
from landscape.tasks.own_data import as_data, pair, read_npz, real_inputs
from landscape.tasks.splits import assemble
from landscape.tasks.task import Data, Task

_LETTERS, _DIGITS = "emnist_letters*.npz", "mnist*.npz"
_BOTH = "EMNIST and MNIST"
_VALIDATION = 1000
_SHARE = 0.05
_PARTITION_SEED = 20240615
"""Seed of the splits. All seeds use the same validation images."""


def emnist_letters(*, path: str = "") -> Task:
    """The source task: upper and lower case letters in 26 classes.

    Args:
        path: Folder with a file ``emnist_letters*.npz``. If empty, the environment variable
            ``LANDSCAPE_DATA`` names the folder.

    Returns:
        A task with inputs (N, 1, 28, 28), standardised by its training set.

    Raises:
        InputError: The file is missing or has another format.
    """
    return _letters(data_folder(path, _BOTH))


def mnist(*, path: str = "", shots: int = 10, seed: int = 0) -> Task:
    """The target task: digits. Its ``source`` is ``emnist_letters``.

    Args:
        path: Folder with the files ``emnist_letters*.npz`` and ``mnist*.npz``. If empty, the
            environment variable ``LANDSCAPE_DATA`` names the folder.
        shots: Number of labelled training images of every class.
        seed: Seed that selects the labelled training images. The other splits do not depend on it.

    Returns:
        A task with inputs (N, 1, 28, 28), standardised by the source's training set, and 10
        classes. 1,000 validation images are taken from the training set.

    Raises:
        InputError: A file is missing or has another format, or a class has too few images.
    """
    folder = data_folder(path, _BOTH)
    source = _letters(folder)
    scaling = source.scaling
    assert scaling is not None
    pool, validation, test = _digits(folder)
    task = assemble(
        "mnist",
        pool,
        validation,
        test,
        prepare=lambda images: scaling.apply(real_inputs(images)),
        classes=[str(digit) for digit in range(10)],
        standardise=False,
        shots=shots,
        seed=seed,
        settings={"path": str(folder), "shots": shots, "seed": seed},
    )
    return replace(task, source=source, scaling=scaling)


def _letters(folder: Path) -> Task:
    train, test = _read(folder, _LETTERS)
    return assemble(
        "emnist-letters",
        train,
        None,
        test,
        prepare=real_inputs,
        classes=[chr(ord("a") + index) for index in range(26)],
        validation_share=_SHARE,
        seed=_PARTITION_SEED,
        settings={"path": str(folder)},
    )


def _digits(folder: Path) -> tuple[Data, Data, Data]:
    """The pool of labelled images, the validation set and the test set."""
    train, test = _read(folder, _DIGITS)
    if len(train) <= _VALIDATION:
        raise InputError(
            f"mnist: {len(train)} training images leave none after {_VALIDATION} for validation"
        )
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(_PARTITION_SEED))
    return train.subset(order[_VALIDATION:]), train.subset(order[:_VALIDATION]), test


def _read(folder: Path, pattern: str) -> tuple[Data, Data]:
    """The training and test set of a file."""
    path = only_file(folder, pattern)
    arrays = read_npz(path)
    return as_data(pair(arrays, "train", path)), as_data(pair(arrays, "test", path))
