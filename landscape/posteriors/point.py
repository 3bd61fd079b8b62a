"""All mass at one weight vector: the result of MAP and SAM."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Point:
    """The point mass at ``mean``, shape (P,)."""

    mean: Tensor

    kind = "point"

    @property
    def size(self) -> int:
        """P."""
        return self.mean.shape[0]

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """The point, ``count`` times, shape (count, P)."""
        return self.mean.expand(count, -1).clone()

    def marginal(self, chosen: Tensor) -> Point:
        """The marginal of the parameters of the given indices."""
        return Point(self.mean[chosen])

    def to(self, device: torch.device | str) -> Point:
        """The same distribution on another device."""
        return Point(self.mean.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """The tensors in a file."""
        return {"mean": self.mean}
