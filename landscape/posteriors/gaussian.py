"""The Gaussian with diagonal plus low-rank covariance, by the Woodbury identity.

Everything costs O(P K^2) in time and O(P K) in memory; no P x P matrix is ever formed. Inside,
vectors are whitened by the diagonal, and the factor is taken apart by its singular values:

    Sigma = D (I + V V^T) D,   D = diag(sigma),   D^-1 U R = V = E diag(lambda)^(1/2),   E^T E = I,

so that Sigma^-1 = D^-1 (I - E E^T + E diag(1 + lambda)^-1 E^T) D^-1. The part outside the span of
E is subtracted before it is squared: a factor may be 1,000 times as long as the scale is wide.
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
        squares = self._distance((w - self.mean) / self.scale)
        return -0.5 * (squares + self.log_determinant + self.size * math.log(2 * math.pi))

    def kl(self, prior: Gaussian) -> Tensor:
        """KL(self || prior) in nats, a scalar; closed form.

        Raises:
            InputError: the two are over spaces of different size.
        """
        self._check_same_size(prior)
        factor = (self.factor / prior.scale[:, None]).T
        trace = (prior.precision_diagonal * self.scale**2).sum() + prior._distance(factor).sum()
        distance = prior._distance((self.mean - prior.mean) / prior.scale)
        volume = prior.log_determinant - self.log_determinant
        return 0.5 * (trace + distance - self.size + volume)

    def kl_gradient(self, prior: Gaussian) -> GaussianTangent:
        """The gradient of KL(self || prior) by (mean, log scale, U) of ``self``; closed form."""
        self._check_same_size(prior)
        rows = self.factor.T
        return GaussianTangent(
            mean=prior.precision_product(self.mean - prior.mean),
            log_scale=self.scale**2 * (prior.precision_diagonal - self.precision_diagonal),
            factor=(prior.precision_product(rows) - self.precision_product(rows)).T,
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

    def broadened(self, floor: float) -> Gaussian:
        """The same with no diagonal scale below ``floor``."""
        return Gaussian(self.mean, self.scale.clamp_min(floor), self.factor)

    def covariance_product(self, v: Tensor) -> Tensor:
        """Sigma v for v of shape (P,)."""
        return self.scale**2 * v + self.factor @ (self.factor.T @ v)

    def precision_product(self, v: Tensor) -> Tensor:
        """Sigma^-1 v for v of shape (..., P)."""
        inside, outside = self._split(v / self.scale)
        return (outside + (inside / (1 + self.spectrum)) @ self.basis.T) / self.scale

    @cached_property
    def precision_diagonal(self) -> Tensor:
        """The diagonal of Sigma^-1, shape (P,)."""
        return (1 - self.basis**2 @ (self.spectrum / (1 + self.spectrum))) / self.scale**2

    @cached_property
    def log_determinant(self) -> Tensor:
        """The logarithm of Sigma's determinant."""
        return 2 * self.scale.log().sum() + torch.log1p(self.spectrum).sum()

    @property
    def basis(self) -> Tensor:
        """E, orthonormal columns that span the whitened factor's, or zero; shape (P, K)."""
        return self._singular[0]

    @property
    def spectrum(self) -> Tensor:
        """Lambda, the whitened factor's squared singular values, ascending, shape (K,)."""
        return self._singular[1]

    @property
    def rotation(self) -> Tensor:
        """R, the orthogonal (K, K) matrix with D^-1 U R = E diag(lambda)^(1/2)."""
        return self._singular[2]

    @cached_property
    def _singular(self) -> tuple[Tensor, Tensor, Tensor]:
        white = self.factor / self.scale[:, None]
        if self.rank == 0:
            return white, white.new_zeros(0), white.new_zeros(0, 0)
        # In float64, slice by slice: a trajectory's deviations are nearly parallel.
        gram = torch.zeros(self.rank, self.rank, dtype=torch.float64, device=white.device)
        for rows in torch.split(white, 1 << 20):
            gram += rows.double().T @ rows.double()
        rotation = torch.linalg.eigh(gram)[1].to(white)
        columns = white @ rotation
        lengths = columns.norm(dim=0)
        rounding = max(torch.finfo(white.dtype).eps, torch.finfo(gram.dtype).eps ** 0.5)
        lengths = torch.where(lengths > 10 * rounding * lengths[-1], lengths, 0.0)
        basis = columns * torch.where(lengths > 0, 1 / lengths, 0.0)
        return basis, lengths**2, rotation

    def _split(self, white: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened vectors (..., P) as coordinates (..., K) in the basis, and the rest (..., P)."""
        inside = white @ self.basis
        return inside, white - inside @ self.basis.T

    def _distance(self, white: Tensor) -> Tensor:
        """Squared Mahalanobis length (...) of D v for whitened vectors v (..., P)."""
        inside, outside = self._split(white)
        return (outside**2).sum(-1) + (inside**2 / (1 + self.spectrum)).sum(-1)

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
