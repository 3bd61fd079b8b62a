"""The natural gradient by which the covariance of a Gaussian is learnt.

At the optimum of E_q[L] + weight KL(q || p) the precision of q is that of p plus E_q[H] / weight,
H the Hessian of L. The natural gradient of psi = (log sigma, U) is F^-1 times the gradient over
``weight``, with F the Fisher information of q. It has no units: for K = 0 and the optimum sigma_*
it is (sigma^2 / sigma_*^2 - 1) / 2 in log sigma, whatever the loss and the scale of the weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.posteriors.fisher.exact import CovarianceFisher
from landscape.posteriors.fisher.restricted import RestrictedFisher
from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.theta import GaussianGradient, GaussianTangent

_DECAY = 0.9
_LEAST_WEIGHT = 1e-12
"""A smaller weight of the KL term counts as this one; ``shorten`` is then all that decides."""
_LONGEST = 5.0
"""Most length of a part after ``shorten``.

The gradient by U of one noise sample is g z2^T, with all of g, and its expectation is H U. Without
a bound U performs a random walk in P dimensions.
"""


def natural_gradient(
    q: Gaussian,
    gradient: GaussianGradient,
    pull: GaussianTangent,
    weight: float,
    rows: Tensor | None = None,
) -> GaussianTangent:
    """F^-1 (gradient / weight + pull) in log sigma and U; zero in the mean and outside ``rows``.

    Args:
        q: The Gaussian at theta.
        gradient: The gradient of the expected loss by theta.
        pull: The gradient of KL(q || p) by theta.
        weight: Weight of the KL term in the objective.
        rows: Indices of the parameters that move; ``None`` for all.
    """
    weight = max(weight, _LEAST_WEIGHT)
    log_scale = gradient.log_scale / weight + pull.log_scale
    left = torch.cat([gradient.left / weight, pull.factor.T])
    right = torch.cat([gradient.right, torch.eye(q.rank).to(gradient.right)])
    objective = GaussianGradient(gradient.mean, log_scale, left, right)
    step = GaussianTangent.of_mean(torch.zeros_like(q.mean), q.rank)
    if q.rank == 0:  # F is 2
        chosen = slice(None) if rows is None else rows
        step.log_scale[chosen] = log_scale[chosen] / 2
        return step
    if rows is None:
        return GaussianTangent(step.mean, *CovarianceFisher(q).solve(objective))
    part = RestrictedFisher(q, rows).solve_covariance(log_scale[rows], objective.factor[rows])
    step.log_scale[rows], step.factor[rows] = part
    return step


def shorten(q: Gaussian, step: GaussianTangent, squares: Tensor, count: int) -> GaussianTangent:
    """A natural gradient, shorter where its noise is large.

    Each log sigma's part is divided by its root mean square over the earlier steps, if that is
    above 1, and is at most 5. (Adam counts the present step, too. As squares of noise are skewed,
    sigma then ends too large.) The part in U is shortened to a length of 5 standard deviations.

    Args:
        q: The Gaussian at theta.
        step: The natural gradient; it is not changed.
        squares: Running sum of the squares by log sigma, shape (P,), zero before the first step; it
            is updated in place.
        count: Number of earlier steps in ``squares``.
    """
    part = step.log_scale
    past = squares / (1 - _DECAY**count) if count else part**2
    squares.mul_(_DECAY).addcmul_(part, part, value=1 - _DECAY)
    deviations = (step.factor / q.scale[:, None]).norm()
    return GaussianTangent(
        step.mean,
        (part / past.sqrt().clamp_min(1.0)).clamp_(-_LONGEST, _LONGEST),
        step.factor * (_LONGEST / deviations.clamp_min(_LONGEST)),
    )
