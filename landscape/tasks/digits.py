"""Handwritten digits: pretrain on upright ones, transfer to rotated and noisy ones.

The 1,797 images of 8 x 8 pixels that scikit-learn ships (UCI "Optical Recognition of Handwritten
Digits", test part; Alpaydin & Kaynak 1998). No image is in two splits, and none of the source
task's is in the target task.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from landscape.errors import InputError
from landscape.tasks.few_shot import choose_shots
from landscape.tasks.task import Data, Task

# One fixed partition, so that every seed is judged on the same test images.
_PARTITION_SEED = 20240615
_SOURCE_TRAIN, _SOURCE_VALIDATION, _SOURCE_TEST = 700, 100, 100
_POOL, _VALIDATION = 300, 200
_CLASSES = tuple(str(digit) for digit in range(10))


def digits(*, shots: int = 10, seed: int = 0, rotation: float = 60.0, noise: float = 0.2) -> Task:
    """The transfer task; its ``source`` is the upright one.

    Args:
        shots: Labelled training images of every class of the target task.
        seed: Which images of the pool are the labelled ones; the other splits do not depend on it.
        rotation: Target images are rotated by an angle drawn from [0, rotation] degrees.
        noise: Standard deviation of the noise added to target images, whose range is [0, 1].

    Returns:
        A task with inputs (N, 1, 8, 8), standardised by the source training set, and 10 classes.

    Raises:
        InputError: a class of the pool has fewer than ``shots`` images, or a setting is negative.
    """
    if rotation < 0 or noise < 0:
        raise InputError("digits: rotation and noise must not be negative")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    generator = np.random.default_rng(_PARTITION_SEED)
    order = generator.permutation(len(bunch.target))
    images, labels = bunch.images[order] / 16.0, torch.from_numpy(bunch.target[order])
    source_size = _SOURCE_TRAIN + _SOURCE_VALIDATION + _SOURCE_TEST
    target_images = _rotate_and_add_noise(images[source_size:], rotation, noise, generator)
    mean, deviation = images[:_SOURCE_TRAIN].mean(), images[:_SOURCE_TRAIN].std()

    def standardised(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((array - mean) / deviation).float()[:, None]

    source = _split(
        Data(standardised(images[:source_size]), labels[:source_size]),
        _SOURCE_TRAIN,
        _SOURCE_VALIDATION,
    )
    target = _split(Data(standardised(target_images), labels[source_size:]), _POOL, _VALIDATION)
    chosen = choose_shots(target[0].targets, shots, torch.Generator().manual_seed(seed))
    settings = {"shots": shots, "seed": seed, "rotation": rotation, "noise": noise}
    return Task(
        "digits",
        train=target[0].subset(chosen),
        validation=target[1],
        test=target[2],
        classes=_CLASSES,
        source=Task("digits-upright", *source, classes=_CLASSES),
        settings=settings,
    )


def _rotate_and_add_noise(
    images: np.ndarray, rotation: float, noise: float, generator: np.random.Generator
) -> np.ndarray:
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
