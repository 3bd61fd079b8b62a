"""A Gaussian with a Kronecker-factored covariance for every weight matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.posteriors.gaussian import normal


@dataclass(frozen=True)
class Block:
    """The distribution of M = left (scale * Z) right^T with Z standard normal, shape (m, n).

    Attributes:
        left: Orthogonal, shape (m, m).
        right: Orthogonal, shape (n, n).
        scale: Standard deviations in their bases, shape (m, n).
    """

    left: Tensor
    right: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Kronecker:
    """N(mean, Sigma), Sigma with an independent block for each parameter tensor.

    Args:
        mean: Shape (P,).
        blocks: One for each parameter, in their order; a weight is a matrix (outputs, rest).

    Raises:
        InputError: the blocks do not cover the mean.
    """

    mean: Tensor
    blocks: tuple[Block, ...]

    kind = "kronecker"

    def __post_init__(self) -> None:
        covered = sum(block.scale.numel() for block in self.blocks)
        if self.mean.ndim != 1 or covered != self.size:
            raise InputError(f"blocks of {covered} numbers do not cover {self.size}")

    @classmethod
    def from_tensors(cls, mean: Tensor, **parts: Tensor) -> Kronecker:
        """The inverse of ``tensors``."""
        count = len(parts) // 3
        names = ("left", "right", "scale")
        return cls(
            mean,
            tuple(Block(**{name: parts[f"{name}{i}"] for name in names}) for i in range(count)),
        )

    @property
    def size(self) -> int:
        """P."""
        return self.mean.shape[0]

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` independent samples, shape (count, P)."""
        samples = []
        for _ in range(count):
            noise = normal(self.size, self.mean, generator)
            parts = [
                (block.left @ (block.scale * z.view_as(block.scale)) @ block.right.T).reshape(-1)
                for block, z in zip(self.blocks, self._split(noise), strict=True)
            ]
            samples.append(self.mean + torch.cat(parts))
        return torch.stack(samples)

    def log_prob(self, w: Tensor) -> Tensor:
        """Log-density, in nats, of w (..., P); shape (...)."""
        total = w.new_zeros(w.shape[:-1])
        for block, part in zip(self.blocks, self._split(w - self.mean), strict=True):
            matrix = part.reshape(*w.shape[:-1], *block.scale.shape)
            white = (block.left.T @ matrix @ block.right) / block.scale
            total = total - 0.5 * (white**2).sum((-2, -1)) - block.scale.log().sum()
        return total - 0.5 * self.size * math.log(2 * math.pi)

    def _split(self, w: Tensor) -> tuple[Tensor, ...]:
        return torch.split(w, [block.scale.numel() for block in self.blocks], -1)

    def marginal(self, chosen: Tensor) -> Kronecker:
        """Always refused, because the marginal is no Kronecker-factored Gaussian.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"{len(chosen)} of {self.size} parameters of a Kronecker-factored Gaussian are not one "
            "again: choose the inferred parameters when it is made"
        )

    def to(self, device: torch.device | str) -> Kronecker:
        """The same distribution on another device."""
        tensors = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return Kronecker.from_tensors(**tensors)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors in a file."""
        named = {"mean": self.mean}
        for index, block in enumerate(self.blocks):
            named |= {f"{name}{index}": getattr(block, name) for name in ("left", "right", "scale")}
        return named
