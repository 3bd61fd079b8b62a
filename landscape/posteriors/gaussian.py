"""The Gaussian with diagonal plus low-rank covariance, by the Woodbury identity.

Everything costs O(P K^2) in time and O(P K) in memory; no P x P matrix is ever formed. Inside,
vectors are whitened by the diagonal, and the factor is decomposed by its singular values:

    Sigma = D (I + V V^T) D,   D = diag(sigma),   D^-1 U R = V = E diag(lambda)^(1/2),   E^T E = I,

so that Sigma^-1 = D^-1 (I - E E^T + E diag(1 + lambda)^-1 E^T) D^-1. The part outside the span of
E is subtracted before it is squared, because a factor may be 1,000 times as long as the scale.

Matrices with one row a parameter are stored column by column. On a CPU they are computed in slices
that fit its cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.posteriors.theta import GaussianGradient, GaussianTangent, Noise

_CACHED = 1 << 16


@dataclass(frozen=True)
class Gaussian:
    """N(mean, diag(scale^2) + factor factor^T).

    Args:
        mean: Shape (P,).
        scale: Standard deviations of the diagonal part, positive, shape (P,).
        factor: The low-rank part U, shape (P, K); K = 0 (or ``None``) is the mean-field Gaussian.

    Raises:
        InputError: the shapes do not fit each other.
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
        object.__setattr__(self, "factor", self.factor.T.contiguous().T)

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
        return Noise(
            normal(self.size, self.mean, generator), normal(self.rank, self.mean, generator)
        )

    def transform(self, noise: Noise) -> Tensor:
        """The sample w = mean + scale * z1 + U z2, shape (P,)."""
        deviation = torch.addcmul(self.mean, self.scale, noise.diagonal)
        return torch.addmv(deviation, self.factor, noise.factor)

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
        columns = self.factor.T
        factor = prior.precision_product(columns)
        for part, values in self._precision_products(columns):
            factor[:, part] -= values
        return GaussianTangent(
            mean=prior.precision_product(self.mean - prior.mean),
            log_scale=self.scale**2 * (prior.precision_diagonal - self.precision_diagonal),
            factor=factor.T,
        )

    def moved(self, step: GaussianTangent) -> Gaussian:
        """The Gaussian at theta + step, for theta = (mean, log scale, U)."""
        return Gaussian(
            self.mean + step.mean,
            self.scale * torch.exp(step.log_scale),
            self.factor + step.factor,
        )

    def chain(self, gradients: Sequence[Tensor], noises: Sequence[Noise]) -> GaussianGradient:
        """The gradient by theta of the mean over samples w = mean + scale z1 + U z2 of a loss.

        Args:
            gradients: The loss's gradient by each sample, (P,).
            noises: Each sample's z1 and z2.
        """
        left = torch.stack([gradient / len(gradients) for gradient in gradients])
        log_scale = sum(part * noise.diagonal for part, noise in zip(left, noises, strict=True))
        return GaussianGradient(
            mean=left.sum(0),
            log_scale=self.scale * log_scale,
            left=left,
            right=torch.stack([noise.factor for noise in noises]),
        )

    def marginal(self, chosen: Tensor) -> Gaussian:
        """The marginal of the parameters of the given indices."""
        return Gaussian(self.mean[chosen], self.scale[chosen], self.factor[chosen])

    def broadened(self, floor: float, rows: Tensor | None = None) -> Gaussian:
        """The same Gaussian with scales of at least ``floor``, in ``rows`` or everywhere."""
        scale = self.scale.clone()
        chosen = slice(None) if rows is None else rows
        scale[chosen] = scale[chosen].clamp_min(floor)
        return Gaussian(self.mean, scale, self.factor)

    def covariance_product(self, v: Tensor) -> Tensor:
        """Sigma v for v of shape (P,)."""
        return self.scale**2 * v + self.factor @ (self.factor.T @ v)

    def precision_product(self, v: Tensor) -> Tensor:
        """Sigma^-1 v for v of shape (..., P)."""
        product = torch.empty_like(v)
        for part, values in self._precision_products(v):
            product[..., part] = values
        return product

    def _precision_products(self, v: Tensor) -> Iterator[tuple[slice, Tensor]]:
        inside = v.new_zeros(*v.shape[:-1], self.rank)
        for part in self.slices():
            inside += (v[..., part] / self.scale[part]) @ self.basis[part]
        inside *= self.shrinkage
        for part in self.slices():
            white = v[..., part] / self.scale[part] - inside @ self.basis[part].T
            yield part, white / self.scale[part]

    @cached_property
    def precision_diagonal(self) -> Tensor:
        """The diagonal of Sigma^-1, shape (P,)."""
        diagonal = torch.empty_like(self.scale)
        for part in self.slices():
            taken = self.shrinkage @ self.basis[part].T ** 2
            diagonal[part] = (1 - taken) / self.scale[part] ** 2
        return diagonal

    def slices(self) -> list[slice]:
        """Slices that together cover all parameters: short ones on a CPU, a single one on a GPU."""
        length = _CACHED if self.mean.device.type == "cpu" else max(1, self.size)
        return [slice(start, start + length) for start in range(0, self.size, length)]

    @cached_property
    def log_determinant(self) -> Tensor:
        """The logarithm of Sigma's determinant."""
        return 2 * self.scale.log().sum() + torch.log1p(self.spectrum).sum()

    @property
    def basis(self) -> Tensor:
        """E, orthonormal (or zero) columns that span the whitened factor, shape (P, K)."""
        return self._singular[0]

    @property
    def spectrum(self) -> Tensor:
        """Lambda, the whitened factor's squared singular values, ascending, shape (K,)."""
        return self._singular[1]

    @property
    def rotation(self) -> Tensor:
        """R, the orthogonal (K, K) matrix with D^-1 U R = E diag(lambda)^(1/2)."""
        return self._singular[2]

    @property
    def shrinkage(self) -> Tensor:
        """The part of each coordinate in E that the precision removes: lambda / (1 + lambda)."""
        return self.spectrum / (1 + self.spectrum)

    @property
    def slope(self) -> Tensor:
        """The diagonal nu in (I + V V^T)^-1 V = E diag(nu), shape (K,)."""
        return self.spectrum.sqrt() / (1 + self.spectrum)

    @cached_property
    def gram(self) -> Tensor:
        """V^T V of the whitened factor V = D^-1 U, shape (K, K).

        In float64, because a trajectory's deviations are nearly parallel.
        """
        gram = self.factor.new_zeros(self.rank, self.rank, dtype=torch.float64)
        for part in self.slices():
            white = self.factor[part].T.double() / self.scale[part].double()
            gram += white @ white.T
        return gram

    @cached_property
    def _singular(self) -> tuple[Tensor, Tensor, Tensor]:
        basis = torch.empty_like(self.factor)
        if self.rank == 0:
            return basis, basis.new_zeros(0), basis.new_zeros(0, 0)
        squares = self.gram.new_zeros(self.rank)
        rotation = torch.linalg.eigh(self.gram)[1].to(basis)
        for part in self.slices():
            columns = rotation.T @ (self.factor[part].T / self.scale[part])
            squares += (columns**2).sum(1)
            basis[part] = columns.T
        lengths = squares.sqrt().to(basis)
        rounding = max(torch.finfo(basis.dtype).eps, torch.finfo(squares.dtype).eps ** 0.5)
        lengths = torch.where(lengths > 10 * rounding * lengths[-1], lengths, 0.0)
        basis *= torch.where(lengths > 0, 1 / lengths, 0.0)
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
        """The tensors in a file; ``Gaussian(**tensors)`` is the inverse."""
        return {"mean": self.mean, "scale": self.scale, "factor": self.factor}


def normal(size: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard-normal numbers in the type and on the device of ``like``, shape (size,)."""
    drawn = torch.randn(size, dtype=like.dtype, device=generator.device, generator=generator)
    return drawn.to(like.device)
