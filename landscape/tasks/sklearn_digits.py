"""Handwritten digits: pretraining on upright digits, transfer to rotated and noisy digits.

The data are the 1,797 images of 8 x 8 pixels in scikit-learn (UCI "Optical Recognition of
Handwritten Digits", test part; Alpaydin & Kaynak 1998). The splits and the two tasks share no
image.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.tasks.few_shot import choose_shots
from landscape.tasks.scaling import Scaling
from landscape.tasks.task import Data, Task

# All seeds use the same splits, so that they are tested on the same images.
_PARTITION_SEED = 20240615
_SOURCE, _SOURCE_SIZES, _TARGET_SIZES = 900, (700, 100), (300, 200)
_CLASSES = tuple(str(digit) for digit in range(10))


def digits_upright() -> Task:
    """The source task: 700 training, 100 validation and 100 test images, unchanged.

    Returns:
        A task with inputs (N, 1, 8, 8), standardised by its training set, and 10 classes.
    """
    images, labels = _shuffled_images()
    scaling = _scaling(images)
    source = Data(_standardised(images, scaling)[:_SOURCE], labels[:_SOURCE])
    splits = _split(source, *_SOURCE_SIZES)
    return Task("digits-upright", *splits, classes=_CLASSES, scaling=scaling)


def digits(*, shots: int = 10, seed: int = 0, rotation: float = 60.0, noise: float = 0.2) -> Task:
    """The target task: rotated, noisy digits. Its ``source`` is the task of upright digits.

    Args:
        shots: Number of labelled training images of every class.
        seed: Seed that selects the labelled images. The other splits do not depend on it.
        rotation: Largest angle in degrees. Each image is rotated by a random angle up to it.
        noise: Standard deviation of the noise that is added to the images in [0, 1].

    Returns:
        A task with inputs (N, 1, 8, 8), standardised by the source training set, 10 classes, 200
        validation images and 397 test images.

    Raises:
        InputError: A class has fewer than ``shots`` images, or a setting is negative.
    """
    if rotation < 0 or noise < 0:
        raise InputError("digits: rotation and noise must not be negative")
    images, labels = _shuffled_images()
    scaling = _scaling(images)
    changed = _standardised(_rotated_and_noisy(rotation, noise), scaling)
    pool, validation, test = _split(Data(changed, labels[_SOURCE:]), *_TARGET_SIZES)
    indices = choose_shots(pool.targets, shots, torch.Generator().manual_seed(seed))
    return Task(
        "digits",
        train=pool.subset(indices),
        validation=validation,
        test=test,
        classes=_CLASSES,
        source=digits_upright(),
        settings={"shots": shots, "seed": seed, "rotation": rotation, "noise": noise},
        scaling=scaling,
    )


@cache  # a study loads the task for each of its runs
def _shuffled_images() -> tuple[np.ndarray, Tensor]:
    """Images (1797, 8, 8) in [0, 1] and labels, always in the same order."""
    images, labels = _images_and_labels()
    order = np.random.default_rng(_PARTITION_SEED).permutation(len(labels))
    return images[order] / 16.0, torch.from_numpy(labels[order])


def _images_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """What ``sklearn.datasets.load_digits`` reads, from its file: that import takes two seconds."""
    package = find_spec("sklearn")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.exists():
            rows = np.loadtxt(file, delimiter=",")
            return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target


def _scaling(images: np.ndarray) -> Scaling:
    """Scaling by the mean and deviation of the source task's training images."""
    reference = images[: _SOURCE_SIZES[0]]
    return Scaling(torch.tensor(reference.mean()), torch.tensor(reference.std()))


def _standardised(images: np.ndarray, scaling: Scaling) -> Tensor:
    return scaling.apply(torch.from_numpy(images)).float()[:, None]


@lru_cache(maxsize=8)
def _rotated_and_noisy(rotation: float, noise: float) -> np.ndarray:
    """Images of the target task, (897, 8, 8)."""
    from scipy import ndimage  # imported here: it would make `import landscape.tasks` slower

    images = _shuffled_images()[0][_SOURCE:]
    generator = np.random.default_rng(_PARTITION_SEED)
    angles = generator.uniform(0, rotation, len(images))
    rotated = [
        ndimage.rotate(image, angle, reshape=False, order=1)
        for image, angle in zip(images, angles, strict=True)
    ]
    return np.stack(rotated) + generator.normal(0, noise, images.shape)


def _split(data: Data, first: int, second: int) -> tuple[Data, Data, Data]:
    index = torch.arange(len(data))
    return (
        data.subset(index[:first]),
        data.subset(index[first : first + second]),
        data.subset(index[first + second :]),
    )
