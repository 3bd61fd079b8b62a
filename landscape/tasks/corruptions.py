"""Corrupted test sets: noise, blur, rotation and lower contrast in five severities.

The corruptions are computed here, so no download is needed. The severities of noise, blur and
contrast are the ones of CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv 1903.12261) for 32 x 32
images. The images differ from those of CIFAR-10-C, which are rounded to 8 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.tasks.scaling import Scaling
from landscape.tasks.task import Data, Task

_NOISE = (0.04, 0.06, 0.08, 0.09, 0.10)
_BLUR = (0.4, 0.6, 0.7, 0.8, 1.0)
_CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)
_DEGREES = (10.0, 20.0, 30.0, 45.0, 60.0)


def shift(
    task: Task,
    kinds: Sequence[str] = ("noise", "blur", "rotation", "contrast"),
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    *,
    seed: int = 0,
    scaling: Scaling | None = None,
) -> Task:
    """Add corrupted copies of the test set to a task, as ``shifted["noise-1"]`` and so on.

    Args:
        task: Task with images (C, H, W).
        kinds: Kinds of corruption, from ``CORRUPTIONS``.
        severities: Severities from 1 to 5.
        seed: Seed of the noise and of the directions of rotation.
        scaling: Scaling that standardised the images; the task's own by default.

    Raises:
        InputError: A kind or severity is unknown, the inputs are not images, or their scaling is
            not known.
    """
    scaling = scaling or task.scaling
    if scaling is None:
        raise InputError(
            f"task '{task.name}' has no scaling: give the mean and deviation that standardised its "
            "images from [0, 1] (scaling=Scaling(mean, deviation))"
        )
    images = scaling.invert(task.test.inputs)
    shifted = dict(task.shifted)
    for kind in kinds:
        for severity in severities:
            generator = torch.Generator(images.device).manual_seed(seed)
            changed = scaling.apply(corrupt(images, kind, severity, generator))
            shifted[f"{kind}-{severity}"] = Data(changed, task.test.targets, task.test.batch_size)
    return replace(task, shifted=shifted)


def corrupt(images: Tensor, kind: str, severity: int, generator: torch.Generator) -> Tensor:
    """Corrupt images and clip them to [0, 1].

    Args:
        images: Real images in [0, 1], shape (N, C, H, W).
        kind: Kind of corruption, one of ``CORRUPTIONS``.
        severity: Severity from 1 to 5.
        generator: Random generator on the images' device.

    Raises:
        InputError: The kind or severity is unknown, or the inputs are not images.
    """
    if kind not in CORRUPTIONS:
        raise InputError(f"unknown corruption '{kind}'; known: {', '.join(CORRUPTIONS)}")
    if severity not in (1, 2, 3, 4, 5):
        raise InputError(f"severities are 1 to 5, not {severity}")
    if images.ndim != 4 or not images.is_floating_point():
        raise InputError(
            f"corruptions need real images (N, C, H, W), not {images.dtype} of shape "
            f"{tuple(images.shape)}"
        )
    return CORRUPTIONS[kind](images, severity - 1, generator).clamp(0, 1)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate images (N, C, H, W) counter-clockwise by angles (N,). Empty corners are zero."""
    angle = degrees.to(images) * (math.pi / 180)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    ratio = images.shape[3] / images.shape[2]  # the grid's units are half sides, not pixels
    rows = (
        torch.stack([cosine, -sine / ratio, zero], 1),
        torch.stack([sine * ratio, cosine, zero], 1),
    )
    grid = torch.nn.functional.affine_grid(
        torch.stack(rows, 1), list(images.shape), align_corners=False
    )
    return torch.nn.functional.grid_sample(images, grid, align_corners=False)


def blur(images: Tensor, deviation: float) -> Tensor:
    """Blur images (N, C, H, W) by a Gaussian filter, truncated at four standard deviations.

    Args:
        images: Images to blur.
        deviation: Standard deviation of the filter in pixels.
    """
    radius = int(4 * deviation + 0.5)
    offset = torch.arange(-radius, radius + 1).to(images)
    kernel = torch.exp(-0.5 * (offset / deviation) ** 2)
    kernel = kernel / kernel.sum()
    channels = images.shape[1]
    padded = torch.nn.functional.pad(images, (radius,) * 4, mode="replicate")
    for shape in ((1, -1), (-1, 1)):
        weight = kernel.view(1, 1, *shape).expand(channels, -1, -1, -1)
        padded = torch.nn.functional.conv2d(padded, weight, groups=channels)
    return padded


def _noise(images: Tensor, level: int, generator: torch.Generator) -> Tensor:
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return images + _NOISE[level] * noise


def _blur(images: Tensor, level: int, generator: torch.Generator) -> Tensor:
    return blur(images, _BLUR[level])


def _rotation(images: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """Rotate by the severity's angle, in a random direction."""
    side = torch.randint(2, (len(images),), generator=generator, device=images.device) * 2 - 1
    return rotate(images, side * _DEGREES[level])


def _contrast(images: Tensor, level: int, generator: torch.Generator) -> Tensor:
    mean = images.mean((2, 3), keepdim=True)
    return mean + _CONTRAST[level] * (images - mean)


CORRUPTIONS: Mapping[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "rotation": _rotation,
    "contrast": _contrast,
}
