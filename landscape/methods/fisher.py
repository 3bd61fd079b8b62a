"""The Fisher information of a low-rank Gaussian, and the steepest step within a KL ball of it.

For q = N(mu, Sigma) with theta = (mu, log sigma, U) the Fisher information is block diagonal
between mu and psi = (log sigma, U). Everything here is in coordinates whitened by the diagonal,
where Sigma = I + V V^T with V^T V = diag(lambda) (see ``posteriors.gaussian``) and a step in U is
D Y R^T. There, with Q = I - B B^T = (I + V V^T)^-1 and for a step v = (s, Y),

    F v = (diag(A), A V),   A = Q M Q,   M = diag(2 s) + Y V^T + V Y^T,

at a cost of O(P K^2). F is singular along Y = V Omega with Omega skew: turning the factor's columns
does not change q.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.posteriors import Gaussian, GaussianTangent

DAMPING = 1e-4
"""Added to the Fisher information, in units of that of a mean-field log sigma."""
_MAX_ITERATIONS = 50
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class _White:
    """A step or a gradient in psi, whitened: s of shape (P,), Y of shape (P, K)."""

    log_scale: Tensor
    factor: Tensor

    def plus(self, other: _White, times: Tensor | float) -> _White:
        return _White(self.log_scale + times * other.log_scale, self.factor + times * other.factor)

    def dot(self, other: _White) -> Tensor:
        return self.log_scale @ other.log_scale + (self.factor * other.factor).sum()


def steepest_step(
    q: Gaussian, gradient: GaussianTangent, radius: float, *, covariance: bool = True
) -> GaussianTangent:
    """The step delta = radius * F^-1 g / sqrt(g^T F^-1 g), with F the Fisher information of q.

    To second order it raises the loss most among the steps with KL(q_{theta + delta} || q_theta) <=
    radius^2 / 2. The block of the mean is Sigma g in closed form; the block of the covariance is
    solved by preconditioned conjugate gradients. A gradient of zero gives a step of zero.

    Args:
        q: The Gaussian at theta.
        gradient: g, the gradient of the expected loss by theta.
        radius: rho, in standard deviations of q: sqrt(2 KL).
        covariance: Whether log sigma and U move; the mean alone otherwise.

    Returns:
        delta; its factor part is orthogonal to rotations of U, in the whitened metric.
    """
    mean = q.covariance_product(gradient.mean)
    square = gradient.mean @ mean
    log_scale, factor = torch.zeros_like(q.mean), torch.zeros_like(q.factor)
    if covariance:
        white = _White(gradient.log_scale, (q.scale[:, None] * gradient.factor) @ q.rotation)
        white = _without_rotation(q, white)
        step = solve(q, white)
        square = square + white.dot(step)
        log_scale, factor = step.log_scale, q.scale[:, None] * (step.factor @ q.rotation.T)
    tiny = torch.finfo(square.dtype).tiny
    times = torch.where(square > tiny, radius * square.clamp_min(tiny).rsqrt(), 0.0)
    return GaussianTangent(times * mean, times * log_scale, times * factor)


def product(q: Gaussian, v: _White, damping: float = 0.0) -> _White:
    """(F + 2 damping I) v for a whitened step v in psi."""
    basis, spread = q.capacitance, q.white_factor
    image = spread / (1 + q.spectrum)  # Q V
    leverage = (basis**2).sum(1)
    diagonal = 2 * v.log_scale
    # diag(Q diag(m) Q), then diag(Q (Y V^T + V Y^T) Q).
    inner = basis.T @ (diagonal[:, None] * basis)
    log_scale = diagonal * (1 - 2 * leverage) + ((basis @ inner) * basis).sum(1)
    log_scale = log_scale + 2 * (_complement(basis, v.factor) * image).sum(1)
    mixed = diagonal[:, None] * image + v.factor @ (spread.T @ image)
    factor = _complement(basis, mixed + spread @ (v.factor.T @ image))
    return _White(log_scale, factor).plus(v, 2 * damping)


def solve(q: Gaussian, g: _White, damping: float = DAMPING) -> _White:
    """(F + 2 damping I)^-1 g by conjugate gradients, preconditioned block by block."""
    solution = _White(torch.zeros_like(g.log_scale), torch.zeros_like(g.factor))
    residual = g
    direction = preconditioned = _precondition(q, g, damping)
    power = residual.dot(preconditioned)
    goal = _TOLERANCE**2 * power
    for _ in range(_MAX_ITERATIONS):
        if not bool(power > goal):
            break
        image = product(q, direction, damping)
        times = power / direction.dot(image)
        solution = solution.plus(direction, times)
        residual = residual.plus(image, -times)
        preconditioned = _precondition(q, residual, damping)
        before, power = power, residual.dot(preconditioned)
        direction = preconditioned.plus(direction, power / before)
    return solution


def _precondition(q: Gaussian, g: _White, damping: float) -> _White:
    """The inverse of F's two diagonal blocks: log sigma's diagonal, and U's exactly.

    With G = V^T Q V, U's block is Y -> Q (Y G + V Y^T Q V). For gradients orthogonal to
    rotations its inverse is R -> (Sigma R - V G^-1 V^T R / 2) G^-1; G is diagonal here.
    """
    log_scale = g.log_scale / (2 * (1 - (q.capacitance**2).sum(1)) ** 2 + 2 * damping)
    middle = q.spectrum / (1 + q.spectrum) + 2 * damping
    inner = q.white_factor.T @ g.factor
    factor = g.factor + q.white_factor @ (inner - inner / (2 * middle[:, None]))
    return _White(log_scale, factor / middle)


def _without_rotation(q: Gaussian, g: _White) -> _White:
    """``g`` less its part along Y = V Omega, Omega skew.

    One noise sample has such a part, though the expected gradient has none.
    """
    inner = q.white_factor.T @ g.factor
    sums = q.spectrum[:, None] + q.spectrum[None, :]
    omega = (inner - inner.T) / sums.clamp_min(torch.finfo(sums.dtype).tiny)
    return _White(g.log_scale, g.factor - q.white_factor @ omega)


def _complement(basis: Tensor, v: Tensor) -> Tensor:
    """(I - B B^T) v."""
    return v - basis @ (basis.T @ v)
