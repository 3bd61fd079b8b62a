"""Noise, gradients and steps of the low-rank Gaussian, in theta = (mu, log sigma, U)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """The standard-normal numbers of one sample of a Gaussian: z1, shape (P,), and z2, (K,)."""

    diagonal: Tensor
    factor: Tensor


@dataclass(frozen=True)
class GaussianTangent:
    """A step in theta, or the gradient of a KL divergence; shapes (P,), (P,), (P, K)."""

    mean: Tensor
    log_scale: Tensor
    factor: Tensor

    @classmethod
    def of_mean(cls, mean: Tensor, rank: int) -> GaussianTangent:
        """A step of the mean alone, for a Gaussian of K = ``rank``."""
        return cls(mean, torch.zeros_like(mean), mean.new_zeros(rank, len(mean)).T)

    def norm(self) -> Tensor:
        """Euclidean length over all three parts, a scalar."""
        parts = self.mean, self.log_scale, self.factor
        length: Tensor = torch.stack([part.norm() for part in parts]).norm()
        return length

    def times_(self, number: Tensor | float) -> GaussianTangent:
        """This, multiplied by ``number`` in place."""
        for part in (self.mean, self.log_scale, self.factor):
            part.mul_(number)
        return self


@dataclass(frozen=True)
class GaussianGradient:
    """The gradient of an expected loss by theta, from n samples.

    The part by U has rank n, and is stored as left^T right: for a large network, writing its P K
    numbers takes longer than all computations with them.

    Attributes:
        mean: Shape (P,).
        log_scale: Shape (P,).
        left: The samples' gradients over n, shape (n, P).
        right: The samples' z2, shape (n, K).
    """

    mean: Tensor
    log_scale: Tensor
    left: Tensor
    right: Tensor

    @property
    def factor(self) -> Tensor:
        """The gradient by U, shape (P, K)."""
        return (self.right.T @ self.left).T

    def dot(self, step: GaussianTangent) -> Tensor:
        """The rise of the loss by a step, to first order; a scalar."""
        factors = ((self.left @ step.factor) * self.right).sum()
        return self.mean @ step.mean + self.log_scale @ step.log_scale + factors

    def restricted(self, rows: Tensor) -> GaussianGradient:
        """The same gradient, with zeros outside ``rows``."""
        mask = torch.zeros_like(self.mean).index_fill_(0, rows, 1.0)
        return GaussianGradient(
            mask * self.mean, mask * self.log_scale, mask * self.left, self.right
        )
