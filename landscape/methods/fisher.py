"""The steepest step within a KL ball of a low-rank Gaussian, by its exact Fisher information.

For q = N(mu, Sigma) with theta = (mu, log sigma, U) the Fisher information is block diagonal
between mu, where it is Sigma^-1, and psi = (log sigma, U). In coordinates whitened by the diagonal,
Sigma = I + V V^T with V = E diag(lambda)^(1/2), E^T E = I (see ``posteriors.gaussian``), and a step
in U is D Y R^T. With Q = (I + V V^T)^-1 a step v = (s, Y) has

    F v = (diag(A), A V),   A = Q M Q,   M = diag(2 s) + Y V^T + V Y^T.

Y is eliminated in closed form. What is left for s is the operator s -> diag(N diag(2 s) N) with
N = I - E E^T: the diagonal matters only where the low-rank part does not already vary. It is solved
by conjugate gradients at O(P K^2) an iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.posteriors import Gaussian, GaussianTangent

DAMPING = 1e-4
"""Added to the Fisher information, in units of that of a mean-field log sigma, which is 2."""
_MAX_ITERATIONS = 50
_TOLERANCE = 1e-3


def steepest_step(
    q: Gaussian, gradient: GaussianTangent, radius: float, *, covariance: bool = True
) -> GaussianTangent:
    """The step delta = radius * F^-1 g / sqrt(g^T F^-1 g), with F the Fisher information of q.

    To second order it raises the loss most among the steps with KL(q_{theta + delta} || q_theta) <=
    radius^2 / 2 (arXiv 2406.15664). A gradient of zero gives a step of zero.

    Args:
        q: The Gaussian at theta.
        gradient: g, the gradient of the expected loss by theta.
        radius: rho, in standard deviations of q: sqrt(2 KL).
        covariance: Whether log sigma and U move; the mean alone otherwise.

    Returns:
        delta. Turning the columns of U does not change q, and F is singular along it: delta does
        not turn them.
    """
    mean = q.covariance_product(gradient.mean)
    log_scale, factor = torch.zeros_like(q.mean), torch.zeros_like(q.factor)
    if covariance:
        white = (q.scale[:, None] * gradient.factor) @ q.rotation
        log_scale, white = CovarianceFisher.of(q).solve(gradient.log_scale, white)
        factor = q.scale[:, None] * (white @ q.rotation.T)
    square = gradient.mean @ mean + gradient.log_scale @ log_scale
    square = square + (gradient.factor * factor).sum()
    tiny = torch.finfo(square.dtype).tiny
    times = torch.where(square > tiny, radius * square.clamp_min(tiny).rsqrt(), 0.0)
    return GaussianTangent(times * mean, times * log_scale, times * factor)


@dataclass(frozen=True)
class CovarianceFisher:
    """The Fisher information of psi = (log sigma, U) in whitened coordinates, damped.

    Attributes:
        basis: E, shape (P, K).
        spectrum: lambda, shape (K,).
        damping: Added in the units of ``DAMPING``.
    """

    basis: Tensor
    spectrum: Tensor
    damping: float

    @classmethod
    def of(cls, q: Gaussian, damping: float = DAMPING) -> CovarianceFisher:
        """That of ``q``."""
        return cls(q.basis, q.spectrum, damping)

    def solve(self, log_scale: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        """F^-1 g for g = (log_scale, factor), shapes (P,) and (P, K)."""
        reduced = log_scale - self._log_scale_by_factor(self._solve_factor(factor))
        step = self._solve_log_scale(reduced)
        return step, self._solve_factor(factor - self._factor_by_log_scale(step))

    @property
    def _slope(self) -> Tensor:
        """The diagonal nu in Q V = E diag(nu)."""
        return self.spectrum.sqrt() / (1 + self.spectrum)

    @property
    def _damped(self) -> Tensor:
        """V^T Q V, a diagonal, with the damping."""
        return self.spectrum / (1 + self.spectrum) + 2 * self.damping

    def _whiten(self, v: Tensor) -> Tensor:
        """Q v for v of shape (P, n)."""
        shrink = self.spectrum / (1 + self.spectrum)
        return v - self.basis @ (shrink[:, None] * (self.basis.T @ v))

    def _log_scale_by_factor(self, factor: Tensor) -> Tensor:
        """The block that takes Y to log sigma: diag(Q (Y V^T + V Y^T) Q)."""
        return 2 * (self._whiten(factor) * (self.basis * self._slope)).sum(1)

    def _factor_by_log_scale(self, log_scale: Tensor) -> Tensor:
        """The block that takes s to U: Q diag(2 s) Q V."""
        return self._whiten(2 * log_scale[:, None] * (self.basis * self._slope))

    def _solve_factor(self, factor: Tensor) -> Tensor:
        """Y with Q (Y V^T + V Y^T) Q V = ``factor``, less what would turn the columns of U.

        One noise sample's gradient has a part along such turns, though the expected one has none.
        """
        root = self.spectrum.sqrt()
        inside = self.basis.T @ factor
        turned = root[:, None] * inside
        mixing = (turned + turned.T) / (4 * self._damped[:, None] * self._damped)
        outside = (factor - self.basis @ inside) / self._damped
        return outside + self.basis @ (root[:, None] * mixing)

    def _solve_log_scale(self, right: Tensor) -> Tensor:
        """The s with S s = ``right``, S the Schur complement of the factor's block, damped."""
        narrow = 1 / (1 + self.spectrum)
        kept = self._slope**2 / self._damped  # is ``narrow`` where there is no damping
        gap = narrow - kept
        weights = 1 - gap[:, None] - gap + narrow[:, None] * narrow - kept[:, None] * kept
        squares = self.basis**2
        diagonal = 1 - 2 * squares @ (1 - gap) + self.damping
        jacobi = 2 * (diagonal + ((squares @ weights) * squares).sum(1)).clamp_min(self.damping)

        def product(s: Tensor) -> Tensor:
            inner = weights * (self.basis.T @ (s[:, None] * self.basis))
            return 2 * (diagonal * s + ((self.basis @ inner) * self.basis).sum(1))

        return conjugate_gradients(product, right, jacobi)


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], right: Tensor, diagonal: Tensor
) -> Tensor:
    """The x with A x = ``right``, A positive definite, preconditioned by its ``diagonal``."""
    x = torch.zeros_like(right)
    residual = right
    direction = preconditioned = residual / diagonal
    power = residual @ preconditioned
    goal = _TOLERANCE**2 * power
    for _ in range(_MAX_ITERATIONS):
        if not bool(power > goal):
            break
        image = product(direction)
        times = power / (direction @ image)
        x = x + times * direction
        residual = residual - times * image
        preconditioned = residual / diagonal
        before, power = power, residual @ preconditioned
        direction = preconditioned + (power / before) * direction
    return x
