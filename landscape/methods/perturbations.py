"""Steps in theta that are not the steepest within the KL ball: approximations of F, and controls.

With F^ in place of the Fisher information F, delta = radius F^^-1 g / sqrt(g^T F^^-1 g). The steps
of the diagonal and of the empirical F^ are shortened where they leave the KL ball; the radius of
the two controls, ``euclidean_step`` and ``score_step``, is a length and no ball.
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.methods.fisher import lengthened, shortened
from landscape.posteriors import Gaussian, GaussianGradient, GaussianTangent, Noise


def diagonal_step(
    q: Gaussian, gradient: GaussianGradient, radius: float, *, covariance: bool = True
) -> GaussianTangent:
    """With only the diagonal of the Fisher information of q.

    That is Sigma^-1_ii for mu_i, 2 sigma_i^4 (Sigma^-1_ii)^2 for log sigma_i, and
    Sigma^-1_ii (u_k^T Sigma^-1 u_k) + (Sigma^-1 u_k)_i^2 for U_ik.
    """
    precision = q.precision_diagonal
    step = GaussianTangent(
        gradient.mean / precision,
        gradient.log_scale / (2 * (q.scale**2 * precision) ** 2),
        _diagonal_factor(q, gradient),
    )
    step = _held(step, covariance)
    return shortened(q, lengthened(step, radius, gradient.dot(step)), radius)


def _diagonal_factor(q: Gaussian, gradient: GaussianGradient) -> Tensor:
    pulled = q.precision_product(q.factor.T).T
    information = q.precision_diagonal[:, None] * (q.factor * pulled).sum(0) + pulled**2
    empty = information <= torch.finfo(information.dtype).tiny  # a column of zeros says nothing
    return torch.where(empty, 0.0, gradient.factor / information.masked_fill(empty, 1.0))


def euclidean_step(
    q: Gaussian, gradient: GaussianGradient, radius: float, *, covariance: bool = True
) -> GaussianTangent:
    """With F^ = I: sharpness-aware minimisation on theta itself, a ball in (mu, log sigma, U)."""
    factor = gradient.factor.contiguous()
    step = GaussianTangent(gradient.mean.clone(), gradient.log_scale.clone(), factor)
    step = _held(step, covariance)
    return lengthened(step, radius, gradient.dot(step))


def empirical_step(
    q: Gaussian,
    gradient: GaussianGradient,
    radius: float,
    noise: Noise,
    *,
    covariance: bool = True,
) -> GaussianTangent:
    """With F^ = s s^T, s the score of the one sample drawn: radius sign(s^T g) s / |s|^2."""
    step = _held(score(q, q.transform(noise)), covariance)
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
    """The score of the sample drawn, each of its three parts at length ``radius``.

    The code published with arXiv 2406.15664 moves by this rule, in which the loss has no say. Its
    step is another one: its score is that of a Gaussian from which no sample is drawn (the
    exponential of its log sigma stands for the variance, the covariance lacks SWAG's factors, and
    the low-rank part is in other units).
    """
    step = _held(score(q, q.transform(noise)), covariance)
    return GaussianTangent(
        *(
            radius * part / part.norm().clamp_min(torch.finfo(part.dtype).tiny)
            for part in (step.mean, step.log_scale, step.factor)
        )
    )


def score(q: Gaussian, w: Tensor) -> GaussianTangent:
    """The gradient of log q(w) by theta, w held; shape of w (P,)."""
    pulled = q.precision_product(w - q.mean)
    return GaussianTangent(
        mean=pulled,
        log_scale=q.scale**2 * (pulled**2 - q.precision_diagonal),
        factor=torch.outer(pulled, pulled @ q.factor) - q.precision_product(q.factor.T).T,
    )


def _held(step: GaussianTangent, covariance: bool) -> GaussianTangent:
    """``step``, or its part in the mean alone where the covariance is not trained."""
    if covariance:
        return step
    return GaussianTangent(
        step.mean, torch.zeros_like(step.log_scale), torch.zeros_like(step.factor)
    )
