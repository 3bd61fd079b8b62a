"""CIFAR-10-C and CIFAR-100-C: test images under common corruptions, from their .npy files."""

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
    """``task`` with the test sets of a CIFAR-10-C or CIFAR-100-C folder as ``shifted``.

    Hendrycks & Dietterich 2019 (arXiv 1903.12261): one ``.npy`` file a kind, 10,000 images of each
    of five severities one after the other, and ``labels.npy``.

    Args:
        task: From ``cifar10`` or ``cifar100``, whose scaling is applied.
        path: The folder.
        kinds: Which files.
        severities: Of 1 to 5.

    Returns:
        The task with ``shifted["fog-3"]`` and so on.

    Raises:
        InputError: a file is missing or is none of these.
    """
    if task.scaling is None:
        raise InputError(f"task '{task.name}' keeps no scaling to apply to corrupted images")
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
            raise InputError(f"{path}: {kind}.npy and labels.npy are not five sets of images")
        size = len(labels) // 5
        for severity in severities:
            part = slice((severity - 1) * size, severity * size)
            inputs = real_inputs(torch.from_numpy(np.array(images[part])))
            targets = torch.from_numpy(labels[part].astype(np.int64))
            shifted[f"{kind}-{severity}"] = Data(task.scaling.apply(inputs), targets)
    return replace(task, shifted=shifted)


def _npy(path: Path, ndim: int) -> np.ndarray:
    check_regular(path)
    with refused(f"cannot read {path}"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.ndim != ndim:
        raise InputError(f"{path} is no array of {ndim} axes")
    return array
