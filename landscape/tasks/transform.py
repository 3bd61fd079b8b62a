"""The form of images that a pretrained network expects: their size, mean and deviation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.errors import InputError, printable

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LARGEST = 4096
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Transform:
    """The map from images in [0, 1] to the inputs of a pretrained network.

    Images are resized as Pillow does (bicubic) and then standardised per channel. A network
    from ``models.build`` with trained weights has its own transform as the attribute
    ``transform``; ``Task.transformed`` applies it to all images of a task, once.

    Attributes:
        size: Height and width in pixels.
        mean: Mean of each channel. The default is ImageNet's.
        deviation: Standard deviation of each channel. The default is ImageNet's.

    Raises:
        InputError: A value is out of range.

    Examples:
        >>> Transform(4).apply(torch.full((2, 3, 2, 2), 0.485)).shape
        torch.Size([2, 3, 4, 4])
    """

    size: int
    mean: tuple[float, ...] = _MEAN
    deviation: tuple[float, ...] = _DEVIATION

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int):
            raise InputError(f"a transform's size is a whole number, not {self.size!r}")
        if not 1 <= self.size <= _LARGEST:
            raise InputError(f"a transform's size is from 1 to {_LARGEST} pixels, not {self.size}")
        for name in ("mean", "deviation"):
            values = getattr(self, name)
            least = 0 if name == "deviation" else -math.inf
            if not isinstance(values, tuple) or not all(
                isinstance(value, int | float) and least < value < math.inf for value in values
            ):
                raise InputError(
                    f"a transform's {name} is a tuple of numbers, one for each channel, not "
                    f"{printable(repr(values))}"
                )
        if len(self.mean) != len(self.deviation) or not self.mean:
            raise InputError("a transform has a mean and a deviation for each channel")

    @staticmethod
    def read(record: Any) -> Transform:
        """The transform of a ``record``, which may come from a run file.

        Raises:
            InputError: It does not describe a transform.
        """
        names = ("size", "mean", "deviation")
        if isinstance(record, Transform):
            return record
        if not isinstance(record, Mapping) or set(record) != set(names):
            raise InputError(f"a transform has {', '.join(names)}, not {printable(repr(record))}")
        mean, deviation = (
            tuple(values) if isinstance(values, list) else values
            for values in (record["mean"], record["deviation"])
        )
        return Transform(record["size"], mean, deviation)

    @property
    def record(self) -> dict[str, Any]:
        """The transform as plain JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def apply(self, images: Tensor) -> Tensor:
        """Inputs (N, C, size, size) of a network for images (N, C, height, width) in [0, 1].

        Gray images (N, 1, height, width) get equal channels. The result has its channels last in
        memory, the layout in which convolutions on a CPU are fastest.

        Raises:
            InputError: The images have another shape, or values outside of [0, 1].
        """
        channels = len(self.mean)
        if images.ndim != 4 or images.shape[1] not in (1, channels):
            raise InputError(
                f"the network takes images with {channels} channels, (N, {channels}, height, "
                f"width), not inputs of shape {tuple(images.shape)}"
            )
        if len(images):
            low, high = float(images.min()), float(images.max())
            if not -_ROUNDING <= low <= high <= 1 + _ROUNDING:
                raise InputError(
                    f"the network takes images in [0, 1], not in [{low:.3g}, {high:.3g}]"
                )
        shape = (self.size, self.size)
        if not len(images):
            return images.new_zeros(0, channels, *shape)
        resized = images
        if tuple(images.shape[2:]) != shape:
            resized = torch.nn.functional.interpolate(
                images, shape, mode="bicubic", antialias=True
            ).clamp(0, 1)
        mean, deviation = (
            images.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.deviation)
        )
        return ((resized - mean) / deviation).contiguous(memory_format=torch.channels_last)
