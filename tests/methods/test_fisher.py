"""The steepest step against a Fisher information written out as a dense matrix."""

import pytest
import torch
from torch import Tensor

from landscape.methods import fisher
from landscape.methods.fisher import CovarianceFisher, steepest_step
from landscape.posteriors import Gaussian, GaussianGradient, GaussianTangent


def gaussian(size: int, rank: int, length: float = 1.0) -> Gaussian:
    generator = torch.Generator().manual_seed(size + rank)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return Gaussian(draw(size), draw(size).exp(), length * draw(size, rank))


def gradient_of(mean: Tensor, log_scale: Tensor, factor: Tensor) -> GaussianGradient:
    """One with any part by U."""
    return GaussianGradient(mean, log_scale, factor.T, torch.eye(factor.shape[1]).to(factor))


def expected_gradient(q: Gaussian) -> GaussianGradient:
    """Of the expectation of a quadratic, 2 A being its Hessian: no part along turns of U."""
    a = torch.randn(q.size, q.size, generator=torch.Generator().manual_seed(1)).double()
    a = a + a.T
    return gradient_of(a[0], 2 * q.scale**2 * a.diagonal(), 2 * a @ q.factor)


def dense_fisher(q: Gaussian) -> Tensor:
    """1/2 tr(Sigma^-1 dSigma Sigma^-1 dSigma) for all pairs of covariance parameters."""
    precision = torch.linalg.inv(torch.diag(q.scale**2) + q.factor @ q.factor.T)
    changes = []
    for i in range(q.size):
        change = torch.zeros(q.size, q.size, dtype=torch.float64)
        change[i, i] = 2 * q.scale[i] ** 2
        changes.append(precision @ change)
    for i in range(q.size):
        for k in range(q.rank):
            change = torch.zeros_like(precision)
            change[i] += q.factor[:, k]
            change[:, i] += q.factor[:, k]
            changes.append(precision @ change)
    stacked = torch.stack(changes)
    return 0.5 * torch.einsum("aij,bji->ab", stacked, stacked)


def flat(tangent: GaussianGradient | GaussianTangent) -> Tensor:
    return torch.cat([tangent.log_scale, tangent.factor.reshape(-1)])


@pytest.fixture(autouse=True)
def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No damping, and conjugate gradients to the end."""
    monkeypatch.setattr(CovarianceFisher.__init__, "__defaults__", (1e-13,))
    monkeypatch.setattr(fisher, "_TOLERANCE", 1e-12)


@pytest.mark.parametrize(("size", "rank"), [(1, 0), (6, 0), (8, 2), (12, 1), (10, 3), (7, 4)])
@pytest.mark.parametrize("length", [0.1, 1.0, 30.0])
def test_the_step_is_the_dense_solution(size: int, rank: int, length: float) -> None:
    q = gaussian(size, rank, length)
    gradient = expected_gradient(q)
    block = dense_fisher(q)
    inverse = torch.linalg.pinv(block, rtol=1e-9, hermitian=True)
    mean = (torch.diag(q.scale**2) + q.factor @ q.factor.T) @ gradient.mean
    square = gradient.mean @ mean + flat(gradient) @ inverse @ flat(gradient)
    step = steepest_step(q, gradient, 0.1)
    torch.testing.assert_close(step.mean, 0.1 * mean / square.sqrt())
    # F is singular along turns of U, so steps are compared by what they do to q: F delta.
    torch.testing.assert_close(
        block @ flat(step), 0.1 * flat(gradient) / square.sqrt(), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("length", [0.01, 1.0])
def test_damping_is_added_to_log_sigma_consistently_with_the_factors(length: float) -> None:
    """The damped factor's block has no dense form, but log sigma's equations must hold."""
    base, damping = gaussian(9, 3, length), 0.2
    q = Gaussian(base.mean, torch.ones_like(base.scale), base.factor)
    gradient, block = expected_gradient(q), dense_fisher(q)
    log_scale, step = CovarianceFisher(q, damping).solve(gradient)
    left = block[:9, :9] @ log_scale + 2 * damping * log_scale
    left = left + block[:9, 9:] @ step.reshape(-1)
    torch.testing.assert_close(left, gradient.log_scale)


@pytest.mark.parametrize("rank", [0, 3])
def test_the_step_lies_on_the_kl_ball(rank: int) -> None:
    q = gaussian(10, rank)
    for radius in (1e-1, 1e-2, 1e-3):
        kl = q.moved(steepest_step(q, expected_gradient(q), radius)).kl(q)
        assert float(kl) == pytest.approx(radius**2 / 2, rel=3 * radius)


def test_mean_field_fisher_is_two_for_log_sigma() -> None:
    q = gaussian(5, 0)
    gradient = gradient_of(torch.zeros_like(q.mean), torch.arange(5.0).double(), q.factor)
    step = steepest_step(q, gradient, 1.0)
    truth = gradient.log_scale / 2 / (gradient.log_scale @ gradient.log_scale / 2).sqrt()
    torch.testing.assert_close(step.log_scale, truth)


def test_one_noise_samples_part_along_turns_of_the_factor_is_dropped() -> None:
    q = gaussian(8, 3)
    gradient = expected_gradient(q)
    turn = torch.randn(3, 3, dtype=torch.float64)
    # A cotangent that is zero on all symmetric changes and not on turns.
    spurious = torch.linalg.pinv(q.factor / q.scale[:, None]).T @ (turn - turn.T) / q.scale[:, None]
    noisy = gradient_of(gradient.mean, gradient.log_scale, gradient.factor + spurious)
    clean, found = steepest_step(q, gradient, 0.1), steepest_step(q, noisy, 0.1)
    torch.testing.assert_close(found.factor, clean.factor)
    torch.testing.assert_close(found.log_scale, clean.log_scale)


def test_turning_the_factor_turns_the_step() -> None:
    q = gaussian(8, 3)
    gradient = expected_gradient(q)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    turned = Gaussian(q.mean, q.scale, q.factor @ turn)
    rotated = gradient_of(gradient.mean, gradient.log_scale, gradient.factor @ turn)
    step, same = steepest_step(q, gradient, 0.1), steepest_step(turned, rotated, 0.1)
    torch.testing.assert_close(same.factor, step.factor @ turn)
    torch.testing.assert_close(same.log_scale, step.log_scale)


@pytest.mark.parametrize("factor", [0.0, 1e-30])
def test_an_empty_factor_and_a_zero_gradient_give_finite_steps(factor: float) -> None:
    q = Gaussian(torch.zeros(4), torch.ones(4), torch.full((4, 2), factor))
    zero = gradient_of(torch.zeros(4), torch.zeros(4), torch.zeros(4, 2))
    assert float(steepest_step(q, zero, 1.0).norm()) == 0
    step = steepest_step(q, gradient_of(torch.ones(4), torch.ones(4), zero.factor), 1.0)
    assert bool(step.norm().isfinite())
    assert float(step.norm()) > 0


def test_the_mean_alone_moves_where_the_covariance_is_held() -> None:
    q = gaussian(6, 2)
    step = steepest_step(q, expected_gradient(q), 0.3, covariance=False)
    assert float(step.log_scale.norm()) == float(step.factor.norm()) == 0
    assert float(q.moved(step).kl(q)) == pytest.approx(0.3**2 / 2)
