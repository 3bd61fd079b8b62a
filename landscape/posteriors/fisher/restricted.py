"""The steepest step that moves only some of a Gaussian's parameters.

The Gaussian is over all weights, but only some rows of (mu, log sigma, U) may move. The other rows
stay; their rows of U tie them to the same z2. The Fisher information is then the block of ``rows``
of the joint one. With E_T, V_T the rows of E, V (see ``exact``), S = diag(lambda / (1 + lambda))
and v = (s, Y) on the rows T,

    F_mu  = D_T^-1 (I - E_T S E_T^T) D_T^-1,
    F v   = (diag(A)_T, (A V)_T),   A = Q (diag(2 s) + Y V^T + V Y^T) Q,   Q = I - E S E^T.

Every product needs only the rows T and K x K matrices, so conjugate gradients are cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from landscape.posteriors.fisher.exact import DAMPING, conjugate_gradients
from landscape.posteriors.fisher.kl_ball import lengthened, shortened
from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.theta import GaussianGradient, GaussianTangent


def restricted_step(
    q: Gaussian,
    gradient: GaussianGradient,
    radius: float,
    rows: Tensor,
    *,
    covariance: bool = True,
) -> GaussianTangent:
    """``exact.steepest_step`` among the steps that move only the parameters ``rows``.

    Args:
        q: The Gaussian at theta, over all parameters.
        gradient: The gradient of the expected loss by theta; only its ``rows`` are used.
        radius: rho, in standard deviations of q: sqrt(2 KL).
        rows: Indices of the parameters that move.
        covariance: Whether their log sigma and U move; otherwise only their mean does.

    Returns:
        The step; zero in all other rows.
    """
    fisher = RestrictedFisher(q, rows)
    step = GaussianTangent.of_mean(torch.zeros_like(q.mean), q.rank)
    step.mean[rows] = fisher.solve_mean(gradient.mean[rows])
    if covariance:
        solution = fisher.solve_covariance(gradient.log_scale[rows], gradient.factor[rows])
        step.log_scale[rows], step.factor[rows] = solution
    return shortened(q, lengthened(step, radius, gradient.dot(step)), radius, rows)


@dataclass(frozen=True)
class RestrictedFisher:
    """The block of ``rows``; its covariance part has the damping of ``exact.DAMPING``."""

    q: Gaussian
    rows: Tensor
    damping: float = DAMPING

    def solve_mean(self, gradient: Tensor) -> Tensor:
        """F_mu^-1 g, shape (P_T,)."""
        root = self.q.shrinkage.sqrt()
        basis = (root[:, None] * self._basis).double()
        inner = torch.eye(len(root)).to(basis) - basis @ basis.T
        white = self._scale * gradient
        inside = torch.linalg.solve(inner, basis @ white.double())
        solution: Tensor = self._scale * (white + (basis.T @ inside).to(white))
        return solution

    def solve_covariance(self, log_scale: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        """F^-1 g for g of shapes (P_T,) and (P_T, K)."""
        white = self.q.rotation.T @ (factor.T * self._scale)
        right = torch.cat([log_scale[None], white])
        flat = conjugate_gradients(
            lambda v: self._product(v.view_as(right)).reshape(-1),
            right.reshape(-1),
            self._diagonal().reshape(-1),
        )
        solution = flat.view_as(right)
        return solution[0], (self.q.rotation @ solution[1:] * self._scale).T

    @property
    def _basis(self) -> Tensor:
        """E_T^T, shape (K, P_T)."""
        return self.q.basis[self.rows].T

    @property
    def _scale(self) -> Tensor:
        return self.q.scale[self.rows]

    @cached_property
    def _damped(self) -> Tensor:
        """The damping: a diagonal added to F, shape (1 + K, P_T)."""
        carried = self.q.shrinkage @ self._basis**2
        narrow = ((1 + self.q.spectrum) ** -2)[:, None].expand(-1, len(self.rows))
        return 2 * self.damping * torch.cat([carried[None], narrow])

    def _product(self, v: Tensor) -> Tensor:
        """The damped F v for v = (s, Y^T), shape (1 + K, P_T)."""
        e, slope, shrink, root = self._basis, self.q.slope, self.q.shrinkage, self.q.spectrum.sqrt()
        s, y = v[0], v[1:]
        weighed = 2 * (e * s) @ e.T  # E_T^T diag(2 s) E_T
        inside = e @ y.T  # E_T^T Y
        # diag(A): from Q diag(2 s) Q, and twice the product of the rows of Q Y and Q V.
        shrunk = shrink[:, None] * e
        first = 2 * s - 4 * s * (shrunk * e).sum(0) + ((weighed @ shrunk) * shrunk).sum(0)
        seen = y - (shrink[:, None] * inside).T @ e
        diagonal = first + 2 * (seen * (slope[:, None] * e)).sum(0)
        # A V = Q X with X = diag(2 s) E nu + Y V^T Q V + V (Y^T E nu), X's last part on all rows.
        mixed = inside.T * slope
        x = (
            2 * s * (slope[:, None] * e)
            + (root * slope)[:, None] * y
            + (root[:, None] * mixed).T @ e
        )
        along = weighed * slope + inside * (root * slope) + root[:, None] * mixed  # E^T X
        image = x - (shrink[:, None] * along).T @ e
        return torch.cat([diagonal[None], image]) + self._damped * v

    def _diagonal(self) -> Tensor:
        """The diagonal of the matrix of ``_product``."""
        e = self._basis
        q = 1 - self.q.shrinkage @ e**2
        factor = q * self.q.shrinkage[:, None] + (self.q.slope[:, None] * e) ** 2
        return torch.cat([2 * q[None] ** 2, factor]) + self._damped
