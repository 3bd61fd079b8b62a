"""Gaussians with gradients, and their Fisher information as a dense matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.posteriors import Gaussian, GaussianGradient, GaussianTangent


def gaussian(size: int, rank: int, length: float = 1.0) -> Gaussian:
    generator = torch.Generator().manual_seed(size + rank)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return Gaussian(draw(size), draw(size).exp(), length * draw(size, rank))


def gradient_of(mean: Tensor, log_scale: Tensor, factor: Tensor) -> GaussianGradient:
    """One with any part by U."""
    return GaussianGradient(mean, log_scale, factor.T, torch.eye(factor.shape[1]).to(factor))


def expected_gradient(q: Gaussian) -> GaussianGradient:
    """Of the expectation of a quadratic, 2 A being its Hessian: no part along turns of U."""
    a = torch.randn(q.size, q.size, generator=torch.Generator().manual_seed(1)).double()
    a = a + a.T
    return gradient_of(a[0], 2 * q.scale**2 * a.diagonal(), 2 * a @ q.factor)


def dense_fisher(q: Gaussian) -> Tensor:
    """1/2 tr(Sigma^-1 dSigma Sigma^-1 dSigma) for all pairs of covariance parameters."""
    precision = torch.linalg.inv(torch.diag(q.scale**2) + q.factor @ q.factor.T)
    changes = []
    for i in range(q.size):
        change = torch.zeros(q.size, q.size, dtype=torch.float64)
        change[i, i] = 2 * q.scale[i] ** 2
        changes.append(precision @ change)
    for i in range(q.size):
        for k in range(q.rank):
            change = torch.zeros_like(precision)
            change[i] += q.factor[:, k]
            change[:, i] += q.factor[:, k]
            changes.append(precision @ change)
    stacked = torch.stack(changes)
    return 0.5 * torch.einsum("aij,bji->ab", stacked, stacked)


def flat(tangent: GaussianGradient | GaussianTangent) -> Tensor:
    return torch.cat([tangent.log_scale, tangent.factor.reshape(-1)])
