"""The steepest step within a KL ball of a low-rank Gaussian, by its exact Fisher information.

For q = N(mu, Sigma) with theta = (mu, log sigma, U) the Fisher information is block diagonal
between mu, where it is Sigma^-1, and psi = (log sigma, U). In coordinates whitened by the diagonal,
Sigma = I + V V^T with V = E diag(lambda)^(1/2), E^T E = I (see ``posteriors.gaussian``), and a step
in U is D Y R^T. With Q = (I + V V^T)^-1 a step v = (s, Y) has

    F v = (diag(A), A V),   A = Q M Q,   M = diag(2 s) + Y V^T + V Y^T.

Y is eliminated in closed form. The operator left for s is s -> diag(N diag(2 s) N) with
N = I - E E^T: the diagonal matters only where the low-rank part has no variance. Conjugate
gradients solve it at O(P K^2) an iteration. The step is of second order. A step that leaves the
ball of the divergence itself is shortened (``kl_ball``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.posteriors.fisher.kl_ball import lengthened, shortened
from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.theta import GaussianGradient, GaussianTangent

DAMPING = 0.1
"""Damping of the Fisher information where it is nearly singular, relative to that of a mean-field
log sigma.

If U carries the variance of weight i, log sigma_i and U_i change q in the same way. F is almost
zero along their difference, and so is an expected gradient. The gradient of a few draws has noise
there, and this noise dominates the step. At radius 0.2 and a damping of 1e-4, 2 KL is up to 10^12
times radius^2; the part of the step in the ball raises the loss over the draws by only 0.11 of the
rise of a step of the mean alone. We therefore add 2 ``DAMPING`` h_i for log sigma_i, where U
carries the share h_i of its variance, and 2 ``DAMPING`` / (1 + lambda)^2 for a column of U of
whitened squared length lambda. A mean-field q and long columns have no damping. With 0.1 the rise
is always above that of the mean alone (at least 1.004 of it); along an expected gradient it is the
same as with 0.01 (``benchmarks/kl_ball.py``).
"""
_MAX_ITERATIONS = 50
_TOLERANCE = 1e-3


def steepest_step(
    q: Gaussian, gradient: GaussianGradient, radius: float, *, covariance: bool = True
) -> GaussianTangent:
    """The step delta = radius * F^-1 g / sqrt(g^T F^-1 g), with F the Fisher information of q.

    To second order it raises the loss most among the steps with KL(q_{theta + delta} || q_theta) <=
    radius^2 / 2 (arXiv 2406.15664). A step that leaves this ball is shortened to its border. A
    gradient of zero gives a step of zero.

    Args:
        q: The Gaussian at theta.
        gradient: g, the gradient of the expected loss by theta.
        radius: rho, in standard deviations of q: sqrt(2 KL).
        covariance: Whether log sigma and U move; otherwise only the mean does.

    Returns:
        delta. F is singular along rotations of the columns of U, which do not change q; delta has
        no part there.
    """
    mean = q.covariance_product(gradient.mean)
    if not covariance:
        step = GaussianTangent.of_mean(mean, q.rank)
        return lengthened(step, radius, gradient.dot(step))  # on the border: KL is quadratic
    step = GaussianTangent(mean, *CovarianceFisher(q).solve(gradient))
    return shortened(q, lengthened(step, radius, gradient.dot(step)), radius)


@dataclass(frozen=True)
class CovarianceFisher:
    """The Fisher information of psi = (log sigma, U), damped.

    Every K x K matrix below stands between E or V and a matrix of P rows, which is computed in the
    slices of ``Gaussian.slices``.

    Attributes:
        q: The Gaussian.
        damping: The damping; see ``DAMPING``.
    """

    q: Gaussian
    damping: float = DAMPING

    def solve(self, gradient: GaussianGradient) -> tuple[Tensor, Tensor]:
        """F^-1 g for g the gradient by log sigma and U; shapes (P,) and (P, K)."""
        q, slope, damped = self.q, self.q.slope, self._damped
        right = gradient.right @ q.rotation
        inside = q.basis.T @ (gradient.left * q.scale).T @ right  # E^T G, G the whitened gradient

        # The gradient by log sigma after Y, solved for with s = 0, is eliminated.
        along = self._along(inside)
        seen = along - (inside.T / damped[:, None] + along) * self.q.shrinkage
        reduced = torch.empty_like(q.scale)
        for part in q.slices():
            rows = q.basis[part].T
            whitened = self._white(gradient.left, right, part) / damped[:, None] + seen @ rows
            reduced[part] = gradient.log_scale[part] - 2 * slope @ (rows * whitened)
        step = self._solve_log_scale(reduced)

        # Y again, from the gradient minus the part of s: Q diag(2 s) E diag(slope).
        weighed = 2 * self._gram(step)
        taken = slope[:, None] * weighed * self.q.shrinkage
        inside = inside - ((1 - self.q.shrinkage)[:, None] * weighed) * slope
        along = self._along(inside) + taken / damped[:, None]
        turned = torch.empty_like(q.factor)
        for part in q.slices():
            rows = q.basis[part].T
            left = self._white(gradient.left, right, part) - (2 * slope[:, None]) * (
                rows * step[part]
            )
            white = left / damped[:, None] + along @ rows
            turned[part] = (q.rotation @ white * q.scale[part]).T
        return step, turned

    @property
    def _damped(self) -> Tensor:
        """The diagonal of V^T Q V, damped."""
        return self.q.shrinkage + 2 * self.damping / (1 + self.q.spectrum) ** 2

    def _white(self, left: Tensor, right: Tensor, part: slice) -> Tensor:
        """Rows of (D G R)^T for the gradient G = left^T right by U; ``right`` is rotated by R."""
        return right.T @ (left[:, part] * self.q.scale[part])

    def _along(self, inside: Tensor) -> Tensor:
        """The part E (.)^T of the Y with Q (Y V^T + V Y^T) Q V = G, less G / damped; (K, K).

        Y has no part along rotations of the columns of U. The gradient of one noise sample has such
        a part, and the expected gradient has none.
        """
        root, damped = self.q.spectrum.sqrt(), self._damped
        turned = root[:, None] * inside
        mixing = (turned + turned.T) / (4 * damped[:, None] * damped)
        return (root[:, None] * mixing).T - inside.T / damped[:, None]

    def _gram(self, weights: Tensor) -> Tensor:
        """E^T diag(weights) E."""
        gram = torch.zeros_like(self.q.rotation)
        for part in self.q.slices():
            rows = self.q.basis[part].T
            gram += (rows * weights[part]) @ rows.T
        return gram

    def _solve_log_scale(self, right: Tensor) -> Tensor:
        """The s with S s = ``right``, S the Schur complement of the factor's block, damped."""
        q = self.q
        narrow = 1 / (1 + q.spectrum)
        damped = self.q.slope**2 / self._damped  # equals ``narrow`` without damping
        gap = narrow - damped
        weights = 1 - gap[:, None] - gap + narrow[:, None] * narrow - damped[:, None] * damped
        diagonal, jacobi = torch.empty_like(right), torch.empty_like(right)
        for part in q.slices():
            squares = q.basis[part].T ** 2
            diagonal[part] = 1 + (self.damping * self.q.shrinkage - 2 * (1 - gap)) @ squares
            jacobi[part] = diagonal[part] + ((weights @ squares) * squares).sum(0)
        jacobi = 2 * jacobi.clamp_min_(self.damping)

        def product(s: Tensor) -> Tensor:
            inner, image = weights * self._gram(s), torch.empty_like(s)
            for part in q.slices():
                rows = q.basis[part].T
                image[part] = 2 * (diagonal[part] * s[part] + ((inner @ rows) * rows).sum(0))
            return image

        return conjugate_gradients(product, right, jacobi)


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], right: Tensor, diagonal: Tensor
) -> Tensor:
    """The x with A x = ``right``, A positive definite, preconditioned by its ``diagonal``."""
    x, residual = torch.zeros_like(right), right.clone()
    preconditioned = residual / diagonal
    direction = preconditioned.clone()
    power = residual @ preconditioned
    goal = _TOLERANCE**2 * power
    for _ in range(_MAX_ITERATIONS):
        if not bool(power > goal):
            break
        image = product(direction)
        times = power / (direction @ image)
        x.addcmul_(direction, times)
        residual.addcmul_(image, -times)
        torch.div(residual, diagonal, out=preconditioned)
        before, power = power, residual @ preconditioned
        direction.mul_(power / before).add_(preconditioned)
    return x
