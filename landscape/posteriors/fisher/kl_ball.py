"""The ball of the Kullback-Leibler divergence around a Gaussian, and steps that end in it.

Let q = N(mu, D (I + V V^T) D), D = diag(sigma), V = D^-1 U, and q_t be q moved by t times a step
(m, s, W) in theta = (mu, log sigma, U). With Y = D^-1 W, Z = V + t Y, C = I + V^T V and
h_i = (V C^-1 V^T)_ii, the share of the variance of weight i that U carries,

    2 KL(q_t || q) = t^2 (m^T Sigma^-1 m + tr(Y^T (I + V V^T)^-1 Y))
                     + t (2 tr(C^-1 V^T Y) - 2 h^T s)
                     + sum_i (1 - h_i) (e^(2 t s_i) - 1 - 2 t s_i)
                     - log det(C^-1 (I + Z^T diag(e^(-2 t s)) Z)).

The last two terms are computed anew for every t, in O(P K^2). Everything is in float64: the
divergence of two close Gaussians is a small difference of large sums. Its error is about 1e-13 nats
for columns of U up to 10^6 times as long as the scale. A scale that shrinks by e^n between such
columns multiplies this error by up to e^(2 n).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.theta import GaussianTangent

_TOLERANCE = 1e-4
_MAX_EVALUATIONS = 30
_SHRUNK = 7.0
"""The most that log sigma may fall; rounding errors show beyond it."""
_LONG = 1e8
"""Ratio of variances above which C^-1/2 multiplies every row instead of the K x K matrices.

Rounding errors would show otherwise. It takes 1.5 times as long for P = 270,000 and K = 5.
"""
_SMALLEST = 1e-4
"""A smaller ball is computed as this one and scaled: KL is quadratic there up to rounding."""


def within(q: Gaussian, step: GaussianTangent, radius: float) -> GaussianTangent:
    """``step``, or its longest multiple in the ball KL(q moved by it || q) <= radius^2 / 2.

    Args:
        q: The Gaussian at theta.
        step: A step in theta; it is not changed.
        radius: rho, not negative.
    """
    part = share(q, step, radius)
    if part == 1:
        return step
    return GaussianTangent(part * step.mean, part * step.log_scale, part * step.factor)


def shortened(
    q: Gaussian, step: GaussianTangent, radius: float, rows: Tensor | None = None
) -> GaussianTangent:
    """``step``, multiplied in place by its ``share``."""
    part = share(q, step, radius, rows)
    return step if part == 1 else step.times_(part)


def lengthened(step: GaussianTangent, radius: float, square: Tensor) -> GaussianTangent:
    """``step``, multiplied in place by radius / sqrt(square), or by zero if ``square`` is zero."""
    tiny = torch.finfo(square.dtype).tiny
    return step.times_(torch.where(square > tiny, radius * square.clamp_min(tiny).rsqrt(), 0.0))


def share(q: Gaussian, step: GaussianTangent, radius: float, rows: Tensor | None = None) -> float:
    """The t with t times ``step`` in the ball KL(q moved by it || q) <= radius^2 / 2.

    Args:
        q: The Gaussian at theta.
        step: A step in theta.
        radius: rho, not negative.
        rows: Indices of the parameters that ``step`` moves; ``None`` for all.

    Returns:
        1 if ``step`` ends in the ball. Otherwise a t < 1 for which 2 KL is radius^2, or less by at
        most one part in 10^4. It is smaller only if a scale would shrink by more than e^7, where
        rounding errors hide the rest.
    """
    if radius == 0:
        return 0.0
    divergence = Divergence(q, step, rows)
    unit = max(1.0, _SMALLEST / radius)

    def excess(part: float) -> float:
        """log(2 KL / radius^2), within +-700 or so."""
        twice = 2 * divergence.at(part * unit)
        return math.log(min(max(twice, 1e-300), 1e300)) - 2 * math.log(radius * unit)

    outer = min(1.0, divergence.longest / unit)
    above = excess(outer)
    if above <= 100 * torch.finfo(q.mean.dtype).eps:
        return outer
    if above <= _TOLERANCE and divergence.longest > _SHRUNK:
        return math.exp(-above)  # KL is nearly quadratic: this is as far inside
    # The secant rule (Illinois) on logarithms: KL is quadratic in a short step and exponential in a
    # long one. Most steps of FP-BMA take two evaluations, the longest ten.
    inner, below, last = 0.0, 0.0, 0.0
    for _ in range(_MAX_EVALUATIONS):
        if inner == 0:
            part = outer * math.exp(-min(above / 2, 3.0))
        else:
            part = outer * (inner / outer) ** (above / (above - below))
        height = excess(part) + _TOLERANCE / 2
        if abs(height) <= _TOLERANCE / 2:
            return part
        if height > 0:
            below = below / 2 if last > 0 else below
            outer, above = part, height
        else:
            above = above / 2 if last < 0 else above
            inner, below = part, height
        last = height
    return inner


class Divergence:
    """KL(q moved by t times a step || q) for many t.

    Attributes:
        longest: The t at which a scale has shrunk by e^7; rounding errors show beyond it.
    """

    def __init__(self, q: Gaussian, step: GaussianTangent, rows: Tensor | None = None) -> None:
        """Compute everything that does not depend on t.

        Args:
            q: The Gaussian at theta.
            step: The step at t = 1.
            rows: Indices of the parameters that the step moves; ``None`` for all.
        """
        if rows is not None:
            step = GaussianTangent(step.mean[rows], step.log_scale[rows], step.factor[rows])
        self._step, self._moved = step, q if rows is None else q.marginal(rows)
        spectrum, rotation = torch.linalg.eigh(q.gram)
        self._root = rotation.T / (1 + spectrum.clamp_min(0)).sqrt()[:, None]  # C^-1/2
        shrinking = max(float(-step.log_scale.min()), 0.0)
        self.longest = _SHRUNK / shrinking if shrinking else math.inf
        ratio = math.log1p(float(spectrum.sum())) + 2 * min(shrinking, _SHRUNK)
        self._long = ratio > math.log(_LONG)
        self._free = torch.empty_like(step.log_scale, dtype=torch.float64)  # 1 - h
        own, mixed = torch.zeros_like(q.gram), torch.zeros_like(q.gram)
        squares, mean, carried = q.gram.new_zeros(()), q.gram.new_zeros(q.rank), 0.0
        for part in self._moved.slices():
            u, w, m, precision = self._rows(part)
            u = self._root @ u
            weighed = u * precision
            if self._long:
                own += weighed @ u.T
            mixed += weighed @ w.T
            mean += weighed @ m
            squares += (w.square_().sum(0) + m.square_()) @ precision
            shares = weighed.mul_(u).sum(0)
            carried += shares @ step.log_scale[part].double()
            torch.sub(1, shares, out=self._free[part])
        if not self._long:
            own = self._root @ self._moved.gram @ self._root.T
        self._still = torch.eye(q.rank).to(own) - own  # C^-1/2 (C - V^T V) C^-1/2
        self._square = squares - mixed.square().sum() - mean @ mean
        self._slope = 2 * (mixed * self._root).sum() - 2 * carried

    def at(self, t: float) -> float:
        """KL(q moved by t times the step || q) in nats; infinite where it overflows."""
        twice, gram = t**2 * self._square + t * self._slope, torch.zeros_like(self._still)
        for part in self._moved.slices():
            u, w, _, precision = self._rows(part)
            exponent = (-2 * t) * self._step.log_scale[part].double()
            shrunk = exponent.exp()
            twice = twice + self._free[part] @ (1 / shrunk).sub_(1).add_(exponent)
            z = u.add_(w, alpha=t)
            if self._long:
                z = self._root @ z
            gram += (z * shrunk.mul_(precision)) @ z.T
        if not self._long:
            gram = self._root @ gram @ self._root.T
        gram = (gram + self._still).cpu()
        if not bool(gram.isfinite().all()):
            return math.inf
        value = (float(twice) - float(torch.linalg.slogdet(gram).logabsdet)) / 2
        return math.inf if math.isnan(value) else value

    def _rows(self, part: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Columns of U^T and of W^T, the mean's step and 1 / sigma^2, all copies in float64."""
        return (
            self._moved.factor[part].T.to(torch.float64, copy=True),
            self._step.factor[part].T.to(torch.float64, copy=True),
            self._step.mean[part].to(torch.float64, copy=True),
            self._moved.scale[part].double() ** -2,
        )
