"""CIFAR-10-C and CIFAR-100-C: test images with common corruptions, from their .npy files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from landscape.errors import InputError, refused
from landscape.runtime.files import check_regular
from landscape.tasks.own_data import real_inputs
from landscape.tasks.task import Data, Task


def cifar_c(
    task: Task,
    path: str,
    kinds: Sequence[str] = ("gaussian_noise", "motion_blur", "fog", "jpeg_compression"),
    severities: Sequence[int] = (1, 3, 5),
) -> Task:
    """Add the test sets of a CIFAR-10-C or CIFAR-100-C folder to a task.

    The folder (Hendrycks & Dietterich 2019, arXiv 1903.12261) has one ``.npy`` file for each kind
    of corruption. A file holds 10,000 images for each of the five severities, in this order. The
    file ``labels.npy`` holds the labels.

    Args:
        task: Task made by ``cifar10`` or ``cifar100``. Its scaling is applied.
        path: Path of the folder.
        kinds: Names of the files to read, without ``.npy``.
        severities: Severities to read, from 1 to 5.

    Returns:
        The task with ``shifted["fog-3"]`` and so on.

    Raises:
        InputError: A file is missing or has another format.
    """
    if task.scaling is None:
        raise InputError(f"task '{task.name}' has no scaling to apply to corrupted images")
    if not set(severities) <= {1, 2, 3, 4, 5}:
        raise InputError(f"severities are 1 to 5, not {list(severities)}")
    labels = _npy(Path(path) / "labels.npy", 1)
    shifted = dict(task.shifted)
    for kind in kinds:
        images = _npy(Path(path) / f"{kind}.npy", 4)
        if (
            len(images) != len(labels)
            or len(labels) % 5
            or images.dtype != np.uint8
            or labels.dtype.kind not in "iu"
        ):
            raise InputError(f"{path}: {kind}.npy and labels.npy do not hold five sets of images")
        size = len(labels) // 5
        for severity in severities:
            rows = slice((severity - 1) * size, severity * size)
            inputs = real_inputs(torch.from_numpy(np.array(images[rows])))
            targets = torch.from_numpy(labels[rows].astype(np.int64))
            shifted[f"{kind}-{severity}"] = Data(task.scaling.apply(inputs), targets)
    return replace(task, shifted=shifted)


def _npy(path: Path, ndim: int) -> np.ndarray:
    check_regular(path)
    with refused(f"cannot read {path}"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.ndim != ndim:
        raise InputError(f"{path} is not an array of {ndim} axes")
    return array
