"""A small convolutional network for small images."""

from __future__ import annotations

import math

from torch import Tensor, nn

from landscape.errors import InputError

_NORMALISATION = ("none", "batch", "group")


class ConvNet(nn.Module):
    """Two 3 x 3 convolutions with ReLU, a 2 x 2 maximum pool, and a linear head.

    Args:
        input_shape: (channels, height, width) of an image.
        classes: Number of outputs.
        width: Channels of the first convolution; the second has twice as many.
        normalisation: ``"none"``, ``"batch"`` or ``"group"`` after each convolution.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        classes: int,
        width: int = 16,
        normalisation: str = "none",
    ) -> None:
        super().__init__()
        if normalisation not in _NORMALISATION:
            raise InputError(
                f"convnet: normalisation is one of {', '.join(_NORMALISATION)}, not "
                f"'{normalisation}'"
            )
        channels, height, breadth = input_shape
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            _normalisation(normalisation, width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            _normalisation(normalisation, 2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(2 * width * (height // 2) * (breadth // 2), classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, channels, height, width)."""
        outputs: Tensor = self.head(self.features(inputs))
        return outputs


def _normalisation(kind: str, width: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(width)
    if kind == "group":
        return nn.GroupNorm(math.gcd(8, width), width)
    return nn.Identity()
