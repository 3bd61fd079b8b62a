"""Steps in theta by approximations of the Fisher information.

With F^ in place of the Fisher information F, delta = radius F^^-1 g / sqrt(g^T F^^-1 g). The steps
of the diagonal and of the empirical F^ are shortened where they leave the KL ball. The radius of
``euclidean_step`` and ``score_step`` is a length; they have no KL ball.
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.posteriors.fisher.kl_ball import lengthened, shortened
from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.theta import GaussianGradient, GaussianTangent, Noise


def diagonal_step(
    q: Gaussian, gradient: GaussianGradient, radius: float, *, covariance: bool = True
) -> GaussianTangent:
    """The step by the diagonal of the Fisher information of q.

    The diagonal is Sigma^-1_ii for mu_i, 2 sigma_i^4 (Sigma^-1_ii)^2 for log sigma_i, and
    Sigma^-1_ii (u_k^T Sigma^-1 u_k) + (Sigma^-1 u_k)_i^2 for U_ik.
    """
    precision = q.precision_diagonal
    step = GaussianTangent(
        gradient.mean / precision,
        gradient.log_scale / (2 * (q.scale**2 * precision) ** 2),
        _diagonal_factor(q, gradient),
    )
    step = _moving(step, covariance)
    return shortened(q, lengthened(step, radius, gradient.dot(step)), radius)


def _diagonal_factor(q: Gaussian, gradient: GaussianGradient) -> Tensor:
    pulled = q.precision_product(q.factor.T).T
    information = q.precision_diagonal[:, None] * (q.factor * pulled).sum(0) + pulled**2
    empty = information <= torch.finfo(information.dtype).tiny  # a column of zeros
    return torch.where(empty, 0.0, gradient.factor / information.masked_fill(empty, 1.0))


def euclidean_step(
    q: Gaussian, gradient: GaussianGradient, radius: float, *, covariance: bool = True
) -> GaussianTangent:
    """The step by F^ = I: sharpness-aware minimisation on theta = (mu, log sigma, U)."""
    factor = gradient.factor.contiguous()
    step = GaussianTangent(gradient.mean.clone(), gradient.log_scale.clone(), factor)
    step = _moving(step, covariance)
    return lengthened(step, radius, gradient.dot(step))


def empirical_step(
    q: Gaussian,
    gradient: GaussianGradient,
    radius: float,
    noise: Noise,
    *,
    covariance: bool = True,
) -> GaussianTangent:
    """The step by F^ = s s^T, s the score of one sample: radius sign(s^T g) s / |s|^2."""
    step = _moving(score(q, q.transform(noise)), covariance)
    step.times_(radius * torch.sign(gradient.dot(step)) / step.norm() ** 2)
    return shortened(q, step, radius)


def score_step(
    q: Gaussian,
    gradient: GaussianGradient,
    radius: float,
    noise: Noise,
    *,
    covariance: bool = True,
) -> GaussianTangent:
    """The score of one sample, with each of its three blocks scaled to length ``radius``.

    The code published with arXiv 2406.15664 uses this rule, in which the loss has no part. Its step
    is another one, because its score belongs to another Gaussian than the one it samples from: it
    takes exp(log sigma) for the variance, omits SWAG's factors in the covariance, and has the
    low-rank part in other units.
    """
    step = _moving(score(q, q.transform(noise)), covariance)
    return GaussianTangent(
        *(
            radius * part / part.norm().clamp_min(torch.finfo(part.dtype).tiny)
            for part in (step.mean, step.log_scale, step.factor)
        )
    )


def score(q: Gaussian, w: Tensor) -> GaussianTangent:
    """The gradient of log q(w) by theta at a fixed w, shape (P,)."""
    pulled = q.precision_product(w - q.mean)
    return GaussianTangent(
        mean=pulled,
        log_scale=q.scale**2 * (pulled**2 - q.precision_diagonal),
        factor=torch.outer(pulled, pulled @ q.factor) - q.precision_product(q.factor.T).T,
    )


def _moving(step: GaussianTangent, covariance: bool) -> GaussianTangent:
    """``step``, or only its part in the mean if the covariance does not move."""
    return step if covariance else GaussianTangent.of_mean(step.mean, step.factor.shape[1])
