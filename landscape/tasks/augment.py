"""Random changes of training images, drawn again for every batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from landscape.errors import InputError


class Augment(Protocol):
    """A function that changes the inputs (B, ...) of a batch at random."""

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Changed inputs of the same shape. ``generator`` is on the inputs' device."""


@dataclass(frozen=True)
class CropAndFlip:
    """Shift images (B, C, H, W) by up to ``padding`` pixels, and flip half of them.

    He et al. (arXiv 1512.03385), section 4.2, pad images with 4 zeros, crop them at random and flip
    half of them. In standardised images zero is the mean colour.

    Attributes:
        padding: Number of pixels on each side.
        flip: Whether to flip each image left to right with probability 1/2.
    """

    padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise InputError(f"padding must be at least 0, not {self.padding}")

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Changed images, computed on the images' device without a loop."""
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
            flipped = torch.randint(2, (count, 1), generator=generator, device=device) == 1
            columns = torch.where(flipped, columns.flip(1), columns)
        padded = torch.nn.functional.pad(inputs, (self.padding,) * 4)
        changed = padded[
            torch.arange(count, device=device)[:, None, None, None],
            torch.arange(channels, device=device)[:, None, None],
            rows[:, None, :, None],
            columns[:, None, None, :],
        ]
        if inputs.is_contiguous(memory_format=torch.channels_last):
            return changed.contiguous(memory_format=torch.channels_last)
        return changed
