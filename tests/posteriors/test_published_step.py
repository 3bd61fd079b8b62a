"""The published step in its three readings, in the paper's own theta, by dense matrices.

The paper samples w = mu + (s z1 + L z2) / sqrt(2) and steps in (mu, s, L). Here
sigma = s / sqrt(2), U = L / sqrt(2) and theta = (mu, log sigma, U). These tests are the factors of
docs/methods.md.
"""

import math

import pytest
import torch
from fisher_cases import gaussian, gradient_of
from torch import Tensor

from landscape.posteriors import Gaussian, GaussianTangent
from landscape.posteriors.fisher import exact, kl_ball
from landscape.posteriors.fisher.approximate import empirical_step, score_step
from landscape.posteriors.fisher.exact import CovarianceFisher, steepest_step

GAMMA = 0.3
SIZE = 4
RANKS = pytest.mark.parametrize("rank", [0, 2])


@pytest.fixture(autouse=True)
def second_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps as published: no damping, and not shortened to the ball of the divergence itself."""
    monkeypatch.setattr(CovarianceFisher.__init__, "__defaults__", (1e-13,))
    monkeypatch.setattr(exact, "_TOLERANCE", 1e-12)
    monkeypatch.setattr(kl_ball, "share", lambda *_: 1.0)


def to_paper(q: Gaussian) -> Tensor:
    return torch.cat([q.mean, math.sqrt(2) * q.scale, math.sqrt(2) * q.factor.reshape(-1)])


def covariance_of(theta: Tensor) -> Tensor:
    factor = theta[2 * SIZE :].view(SIZE, -1)
    return (torch.diag(theta[SIZE : 2 * SIZE] ** 2) + factor @ factor.T) / 2


def divergence(theta: Tensor, fixed: Tensor) -> Tensor:
    """KL(q_theta || q_fixed)."""
    after, before = covariance_of(theta), covariance_of(fixed)
    precision, apart = torch.linalg.inv(before), theta[:SIZE] - fixed[:SIZE]
    twice = (precision @ after).trace() - SIZE + apart @ precision @ apart
    return (twice - torch.logdet(after) + torch.logdet(before)) / 2


def expected_loss(theta: Tensor) -> Tensor:
    """E[w^T A w / 2 + b^T w]."""
    draws = torch.Generator().manual_seed(5)
    a = torch.randn(SIZE, SIZE, generator=draws, dtype=torch.float64)
    b = torch.randn(SIZE, generator=draws, dtype=torch.float64)
    mean, a = theta[:SIZE], a @ a.T
    return (mean @ a @ mean + (a @ covariance_of(theta)).trace()) / 2 + b @ mean


def problem(rank: int) -> tuple[Gaussian, Tensor, Tensor]:
    """A Gaussian, its theta in the paper's parameters, and the loss's gradient by them."""
    q = gaussian(SIZE, rank)
    theta = to_paper(q).requires_grad_()
    (slope,) = torch.autograd.grad(expected_loss(theta), theta)
    return q, theta.detach(), slope


def ours(q: Gaussian, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient by (mu, log sigma, U), from that by (mu, s, L)."""
    root = math.sqrt(2)
    return (
        slope[:SIZE],
        root * q.scale * slope[SIZE : 2 * SIZE],
        root * slope[2 * SIZE :].view(SIZE, -1),
    )


def score_in_paper(q: Gaussian, theta: Tensor, w: Tensor) -> Tensor:
    leaf = theta.clone().requires_grad_()
    normal = torch.distributions.MultivariateNormal(leaf[:SIZE], covariance_of(leaf))
    return torch.autograd.grad(normal.log_prob(w), leaf)[0]


def covariance_change(q: Gaussian, log_scale: Tensor, factor: Tensor) -> Tensor:
    low_rank = q.factor @ factor.T
    return torch.diag(2 * q.scale**2 * log_scale) + low_rank + low_rank.T


def in_ours(q: Gaussian, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A step of (mu, s, L) as one of (mu, log sigma, U), to first order."""
    root = math.sqrt(2)
    return (
        step[:SIZE],
        step[SIZE : 2 * SIZE] / (root * q.scale),
        step[2 * SIZE :].view(SIZE, -1) / root,
    )


@RANKS
def test_gamma_of_equation_9_is_the_radius(rank: int) -> None:
    q, theta, slope = problem(rank)
    fisher = torch.autograd.functional.hessian(lambda t: divergence(t, theta), theta)
    natural = torch.linalg.pinv(fisher, rtol=1e-9, hermitian=True) @ slope
    published = in_ours(q, GAMMA * natural / (slope @ natural).sqrt())
    step = steepest_step(q, gradient_of(*ours(q, slope)), GAMMA)
    torch.testing.assert_close(step.mean, published[0])
    torch.testing.assert_close(
        covariance_change(q, step.log_scale, step.factor),
        covariance_change(q, *published[1:]),
        rtol=1e-6,
        atol=1e-8,
    )


@RANKS
def test_gamma_of_the_ball_of_equation_7_is_the_radius_over_the_root_of_two(rank: int) -> None:
    q, theta, slope = problem(rank)
    gamma = 1e-5
    step = steepest_step(q, gradient_of(*ours(q, slope)), math.sqrt(2) * gamma)
    moved = to_paper(q.moved(step))
    assert float(divergence(moved, theta)) == pytest.approx(gamma**2, rel=0.01)


@RANKS
def test_algorithm_1_in_the_papers_theta(rank: int) -> None:
    q, theta, slope = problem(rank)
    noise = q.noise(torch.Generator().manual_seed(1))
    s = score_in_paper(q, theta, q.transform(noise))
    published = in_ours(q, GAMMA * torch.sign(s @ slope) * s / s.square().sum())
    step = empirical_step(q, gradient_of(*ours(q, slope)), GAMMA, noise)
    by_log = torch.cat([part.reshape(-1) for part in ours(q, s)])
    ratio = by_log.square().sum() / s.square().sum()  # |s|^2 in our theta over that in theirs
    # The sign of s.g depends on the parameters, too.
    slope_by_log = torch.cat([part.reshape(-1) for part in ours(q, slope)])
    ratio *= torch.sign((s @ slope) * (by_log @ slope_by_log))
    check_factors(step, published, (ratio, ratio / (2 * q.scale**2), ratio / 2))


def test_algorithm_1_moves_a_narrow_mean_field_gaussian_half_as_far_in_the_papers_theta() -> None:
    draws = torch.Generator().manual_seed(0)
    z = torch.randn(100_000, generator=draws, dtype=torch.float64)
    sigma = 0.01  # the score by mu is z / sigma, by log sigma z^2 - 1, by s that over sqrt(2) sigma
    by_mean, by_log = z / sigma, z**2 - 1
    theirs = by_mean.square().sum() + (by_log / (math.sqrt(2) * sigma)).square().sum()
    ratio = (by_mean.square().sum() + by_log.square().sum()) / theirs
    assert float(ratio) == pytest.approx(0.5, rel=0.02)


@RANKS
def test_the_codes_rule_in_the_papers_theta(rank: int) -> None:
    q, theta, slope = problem(rank)
    noise = q.noise(torch.Generator().manual_seed(1))
    s = score_in_paper(q, theta, q.transform(noise))
    blocks = s[:SIZE], s[SIZE : 2 * SIZE], s[2 * SIZE :]
    lengths = [GAMMA * block / block.norm().clamp_min(1e-300) for block in blocks]
    published = in_ours(q, torch.cat(lengths))
    step = score_step(q, gradient_of(*ours(q, slope)), GAMMA, noise)
    by_log = ours(q, s)[1]
    scales = by_log.norm() / (by_log / q.scale).norm() / (math.sqrt(2) * q.scale**2)
    check_factors(step, published, (torch.ones(()), scales, torch.tensor(math.sqrt(0.5))))


def check_factors(
    step: GaussianTangent,
    published: tuple[Tensor, Tensor, Tensor],
    factors: tuple[Tensor, Tensor, Tensor],
) -> None:
    """The published step is ours times the factors, block by block."""
    for part, other, factor in zip(
        (step.mean, step.log_scale, step.factor), published, factors, strict=True
    ):
        torch.testing.assert_close(other, factor.to(part) * part)
