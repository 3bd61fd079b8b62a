"""Random changes of training images, drawn anew every time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from landscape.errors import InputError


class Augment(Protocol):
    """Makes other inputs (B, ...) of a batch; ``generator`` is on their device."""

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """The changed inputs, of the same shape."""


@dataclass(frozen=True)
class CropAndFlip:
    """Images (B, C, H, W) moved by up to ``padding`` pixels and mirrored by chance.

    He et al. (arXiv 1512.03385), section 4.2: pad by 4 zeros, crop at random, flip half of them. On
    standardised images a zero is the mean colour. All on the images' device, without a loop.

    Attributes:
        padding: Pixels on each side.
        flip: Whether half of the images are mirrored left to right.
    """

    padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise InputError(f"padding must be at least 0, not {self.padding}")

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """The changed images."""
        if inputs.ndim != 4:
            raise InputError(
                f"CropAndFlip takes images (B, C, H, W), not shape {tuple(inputs.shape)}"
            )
        count, channels, height, width = inputs.shape
        device = inputs.device
        top, left = torch.randint(
            2 * self.padding + 1, (2, count, 1), generator=generator, device=device
        )
        rows = top + torch.arange(height, device=device)
        columns = left + torch.arange(width, device=device)
        if self.flip:
            mirrored = torch.randint(2, (count, 1), generator=generator, device=device) == 1
            columns = torch.where(mirrored, columns.flip(1), columns)
        padded = torch.nn.functional.pad(inputs, (self.padding,) * 4)
        return padded[
            torch.arange(count, device=device)[:, None, None, None],
            torch.arange(channels, device=device)[:, None, None],
            rows[:, None, :, None],
            columns[:, None, None, :],
        ]
