"""The Gaussian with diagonal plus low-rank covariance, by the Woodbury identity.

Everything costs O(P K^2) in time and O(P K) in memory; no P x P matrix is ever formed. Inside,
vectors are whitened by the diagonal, and the factor's columns are rotated to be orthogonal:

    Sigma = D (I + V V^T) D,   D = diag(sigma),   V = D^-1 U R,   V^T V = diag(lambda),

so that Sigma^-1 = D^-1 (I - B B^T) D^-1 with B = V diag(1 + lambda)^(-1/2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from landscape.errors import InputError


@dataclass(frozen=True)
class Noise:
    """A draw from N(0, I) that a Gaussian turns into a sample: z1 of shape (P,), z2 of (K,)."""

    diagonal: Tensor
    factor: Tensor


@dataclass(frozen=True)
class GaussianTangent:
    """A gradient or a step in theta = (mu, log sigma, U); shapes (P,), (P,), (P, K)."""

    mean: Tensor
    log_scale: Tensor
    factor: Tensor

    def norm(self) -> Tensor:
        """Euclidean length over all three parts, a scalar."""
        parts = self.mean, self.log_scale, self.factor
        length: Tensor = torch.stack([part.norm() for part in parts]).norm()
        return length


@dataclass(frozen=True)
class Gaussian:
    """N(mean, diag(scale^2) + factor factor^T).

    Args:
        mean: Shape (P,).
        scale: Standard deviations of the diagonal part, positive, shape (P,).
        factor: The low-rank part U, shape (P, K); K = 0 (or ``None``) is the mean-field Gaussian.

    Raises:
        InputError: shapes do not fit, or ``from_moments`` gets a scale that is not positive.
    """

    mean: Tensor
    scale: Tensor
    factor: Tensor

    kind = "gaussian"

    def __post_init__(self) -> None:
        size = self.mean.shape
        if self.mean.ndim != 1 or self.scale.shape != size or self.factor.shape[:-1] != size:
            raise InputError(
                f"a Gaussian needs mean (P,), scale (P,) and factor (P, K), not "
                f"{tuple(self.mean.shape)}, {tuple(self.scale.shape)}, {tuple(self.factor.shape)}"
            )

    @classmethod
    def diagonal(cls, mean: Tensor, scale: Tensor | float) -> Gaussian:
        """The mean-field Gaussian; ``scale`` may be one number for all.

        Raises:
            InputError: a scale that is not positive.
        """
        scales = torch.as_tensor(scale, dtype=mean.dtype, device=mean.device).expand_as(mean)
        if not bool((scales > 0).all()):
            raise InputError("a Gaussian's scale must be positive")
        return cls(mean, scales.clone(), mean.new_zeros(len(mean), 0))

    @property
    def size(self) -> int:
        """P."""
        return self.mean.shape[0]

    @property
    def rank(self) -> int:
        """K."""
        return self.factor.shape[1]

    def noise(self, generator: torch.Generator) -> Noise:
        """The standard-normal numbers of one sample."""
        like = {"dtype": self.mean.dtype, "device": self.mean.device, "generator": generator}
        return Noise(_normal(self.size, **like), _normal(self.rank, **like))

    def transform(self, noise: Noise) -> Tensor:
        """The sample w = mean + scale * z1 + U z2, shape (P,)."""
        return self.mean + self.scale * noise.diagonal + self.factor @ noise.factor

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` independent samples, shape (count, P)."""
        return torch.stack([self.transform(self.noise(generator)) for _ in range(count)])

    def log_prob(self, w: Tensor) -> Tensor:
        """Log-density, in nats, of w (..., P); shape (...)."""
        white = (w - self.mean) / self.scale
        squares = (white**2).sum(-1) - ((white @ self.capacitance) ** 2).sum(-1)
        return -0.5 * (squares + self.log_determinant + self.size * math.log(2 * math.pi))

    def kl(self, prior: Gaussian) -> Tensor:
        """KL(self || prior) in nats, a scalar; closed form.

        Raises:
            InputError: the two are over spaces of different size.
        """
        self._check_same_size(prior)
        shift = (self.mean - prior.mean) / prior.scale
        factor = self.factor / prior.scale[:, None]
        trace = (prior.precision_diagonal * self.scale**2).sum() + (
            (factor**2).sum() - ((prior.capacitance.T @ factor) ** 2).sum()
        )
        distance = (shift**2).sum() - ((prior.capacitance.T @ shift) ** 2).sum()
        volume = prior.log_determinant - self.log_determinant
        return 0.5 * (trace + distance - self.size + volume)

    def kl_gradient(self, prior: Gaussian) -> GaussianTangent:
        """The gradient of KL(self || prior) by (mean, log scale, U) of ``self``; closed form."""
        self._check_same_size(prior)
        return GaussianTangent(
            mean=prior.precision_product(self.mean - prior.mean),
            log_scale=self.scale**2 * (prior.precision_diagonal - self.precision_diagonal),
            factor=prior.precision_product(self.factor) - self.precision_product(self.factor),
        )

    def moved(self, step: GaussianTangent) -> Gaussian:
        """The Gaussian at theta + step, for theta = (mean, log scale, U)."""
        return Gaussian(
            self.mean + step.mean,
            self.scale * torch.exp(step.log_scale),
            self.factor + step.factor,
        )

    def chain(self, gradient: Tensor, noise: Noise) -> GaussianTangent:
        """A gradient by w, (P,), as the gradient by theta through w = mean + scale z1 + U z2."""
        return GaussianTangent(
            mean=gradient,
            log_scale=gradient * self.scale * noise.diagonal,
            factor=gradient[:, None] * noise.factor,
        )

    def broadened(self, floor: float, multiplier: float = 1.0) -> Gaussian:
        """The covariance times ``multiplier``, then no diagonal scale below ``floor``."""
        root = math.sqrt(multiplier)
        return Gaussian(self.mean, (root * self.scale).clamp_min(floor), root * self.factor)

    def covariance_product(self, v: Tensor) -> Tensor:
        """Sigma v for v of shape (P,)."""
        return self.scale**2 * v + self.factor @ (self.factor.T @ v)

    def precision_product(self, v: Tensor) -> Tensor:
        """Sigma^-1 v for v of shape (P,) or (P, n)."""
        scale = self.scale if v.ndim == 1 else self.scale[:, None]
        white = v / scale
        return (white - self.capacitance @ (self.capacitance.T @ white)) / scale

    @cached_property
    def precision_diagonal(self) -> Tensor:
        """The diagonal of Sigma^-1, shape (P,)."""
        return (1 - (self.capacitance**2).sum(1)) / self.scale**2

    @cached_property
    def log_determinant(self) -> Tensor:
        """The logarithm of Sigma's determinant."""
        return 2 * self.scale.log().sum() + torch.log1p(self.spectrum).sum()

    @cached_property
    def white_factor(self) -> Tensor:
        """V, the factor whitened by the scale and rotated so that V^T V is diagonal; (P, K)."""
        return (self.factor / self.scale[:, None]) @ self._rotation[1]

    @property
    def rotation(self) -> Tensor:
        """R, the orthogonal (K, K) matrix with ``white_factor`` = D^-1 U R."""
        return self._rotation[1]

    @property
    def spectrum(self) -> Tensor:
        """lambda, the diagonal of V^T V, ascending, shape (K,)."""
        return self._rotation[0]

    @cached_property
    def capacitance(self) -> Tensor:
        """B with Sigma^-1 = D^-1 (I - B B^T) D^-1, shape (P, K)."""
        return self.white_factor / (1 + self.spectrum).sqrt()

    @cached_property
    def _rotation(self) -> tuple[Tensor, Tensor]:
        white = self.factor / self.scale[:, None]
        if self.rank == 0:
            empty = white.new_zeros(0)
            return empty, white.new_zeros(0, 0)
        # K x K in float64: the columns of a trajectory's deviations are nearly parallel.
        spectrum, rotation = torch.linalg.eigh((white.T @ white).double())
        return spectrum.clamp_min(0).to(white), rotation.to(white)

    def _check_same_size(self, other: Gaussian) -> None:
        if other.size != self.size:
            raise InputError(
                f"Gaussians over {self.size} and {other.size} parameters cannot be compared"
            )

    def to(self, device: torch.device | str) -> Gaussian:
        """The same distribution on another device."""
        return Gaussian(self.mean.to(device), self.scale.to(device), self.factor.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """What ``save`` writes; ``Gaussian(**tensors)`` is the inverse."""
        return {"mean": self.mean, "scale": self.scale, "factor": self.factor}


def _normal(size: int, **like: Any) -> Tensor:
    return torch.randn(size, **like)
