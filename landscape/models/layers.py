"""Parts shared by several networks: normalisation layers, and a check of image shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from landscape.errors import InputError

NORMALISATIONS = ("none", "batch", "group")


def normalise(kind: str, channels: int) -> nn.Module:
    """A normalisation layer.

    Args:
        kind: Kind of normalisation: ``"none"``, ``"batch"`` or ``"group"``. Group normalisation has
            8 groups, or fewer if 8 does not divide the number of channels.
        channels: Number of channels.

    Raises:
        InputError: The kind is unknown.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    if kind == "none":
        return nn.Identity()
    raise InputError(f"normalisation is one of {', '.join(NORMALISATIONS)}, not '{kind}'")


def image_shape(network: str, input_shape: Sequence[int]) -> tuple[int, int, int]:
    """``input_shape`` as (channels, height, width).

    Raises:
        InputError: The shape is not that of an image.
    """
    if len(input_shape) != 3:
        raise InputError(
            f"{network} takes images (channels, height, width), not inputs of shape "
            f"{tuple(input_shape)}; use mlp, which takes any"
        )
    channels, height, width = input_shape
    return channels, height, width
