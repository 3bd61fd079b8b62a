"""Approximate steps in theta, against dense matrices, formulas by hand and each other."""

import pytest
import torch
from fisher_cases import dense_fisher, expected_gradient, flat, gaussian

from landscape.posteriors import Gaussian, GaussianGradient, GaussianTangent
from landscape.posteriors.fisher import kl_ball
from landscape.posteriors.fisher.approximate import (
    diagonal_step,
    empirical_step,
    euclidean_step,
    score,
    score_step,
)
from landscape.posteriors.fisher.exact import steepest_step


def check_int(tangent: GaussianGradient | GaussianTangent) -> torch.Tensor:
    return torch.cat([tangent.mean, flat(tangent)])


def log_density_gradient(q: Gaussian, w: torch.Tensor) -> torch.Tensor:
    leaves = [q.mean.clone(), q.scale.log(), q.factor.clone()]
    for leaf in leaves:
        leaf.requires_grad_()
    mean, log_scale, factor = leaves
    covariance = torch.diag((2 * log_scale).exp()) + factor @ factor.T
    density = torch.distributions.MultivariateNormal(mean, covariance).log_prob(w)
    gradients = torch.autograd.grad(density, leaves, materialize_grads=True)
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


def test_the_diagonal_is_that_of_the_dense_fisher_information(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kl_ball, "share", lambda *_: 1.0)
    q = gaussian(7, 3)
    gradient = expected_gradient(q)
    precision = torch.linalg.inv(torch.diag(q.scale**2) + q.factor @ q.factor.T)
    information = torch.cat([precision.diagonal(), dense_fisher(q).diagonal()])
    g = check_int(gradient)
    truth = 0.2 * (g / information) / (g @ (g / information)).sqrt()
    torch.testing.assert_close(check_int(diagonal_step(q, gradient, 0.2)), truth)


def test_the_diagonal_is_exact_for_a_mean_field_gaussian() -> None:
    q = gaussian(7, 0)
    gradient = expected_gradient(q)
    exact, found = steepest_step(q, gradient, 0.2), diagonal_step(q, gradient, 0.2)
    torch.testing.assert_close(check_int(found), check_int(exact), rtol=1e-3, atol=1e-6)


def test_an_empty_column_does_not_move() -> None:
    base = gaussian(5, 2)
    q = Gaussian(base.mean, base.scale, base.factor * torch.tensor([0.0, 1.0]).double())
    step = diagonal_step(q, expected_gradient(base), 0.2)
    assert bool(step.norm().isfinite())
    assert float(step.factor[:, 0].norm()) == 0 < float(step.factor[:, 1].norm())


@pytest.mark.parametrize("rank", [0, 2])
def test_the_score_is_that_of_automatic_differentiation(rank: int) -> None:
    q = gaussian(6, rank)
    w = q.transform(q.noise(torch.Generator().manual_seed(1)))
    torch.testing.assert_close(check_int(score(q, w)), log_density_gradient(q, w))


@pytest.mark.parametrize("rank", [0, 2])
def test_steps_along_the_score(rank: int) -> None:
    q = gaussian(6, rank)
    noise = q.noise(torch.Generator().manual_seed(1))
    gradient, s = expected_gradient(q), log_density_gradient(q, q.transform(noise))
    slope = gradient.dot(score(q, q.transform(noise)))
    truth = 0.3 * torch.sign(slope) * s / s.norm() ** 2
    torch.testing.assert_close(check_int(empirical_step(q, gradient, 0.3, noise)), truth)
    step = score_step(q, gradient, 0.3, noise)
    for part, start, end in (
        (step.mean, 0, 6),
        (step.log_scale, 6, 12),
        (step.factor, 12, 12 + 6 * rank),
    ):
        block = s[start:end].reshape(part.shape)
        torch.testing.assert_close(part, 0.3 * block / block.norm())


def test_sam_on_theta_goes_along_the_gradient() -> None:
    q = gaussian(6, 2)
    gradient = expected_gradient(q)
    step = euclidean_step(q, gradient, 0.3)
    assert float(step.norm()) == pytest.approx(0.3)
    torch.testing.assert_close(
        check_int(step) / 0.3, check_int(gradient) / check_int(gradient).norm()
    )
    held = euclidean_step(q, gradient, 0.3, covariance=False)
    torch.testing.assert_close(held.mean, 0.3 * gradient.mean / gradient.mean.norm())
