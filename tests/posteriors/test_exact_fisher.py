"""The steepest step against a Fisher information written out as a dense matrix."""

import itertools

import pytest
import torch
from cases import as_type, concentrated, dense_kl, generator
from fisher_cases import dense_fisher, expected_gradient, flat, gaussian, gradient_of

from landscape.posteriors import Gaussian, GaussianGradient, GaussianTangent
from landscape.posteriors.fisher import exact, kl_ball
from landscape.posteriors.fisher.approximate import diagonal_step, empirical_step
from landscape.posteriors.fisher.exact import DAMPING, CovarianceFisher, steepest_step
from landscape.posteriors.fisher.kl_ball import lengthened
from landscape.posteriors.fisher.restricted import restricted_step


def one_draw(q: Gaussian, seed: int) -> GaussianGradient:
    """The gradient of a random loss at one draw: noise along all that F does not see."""
    draws = generator(seed)
    slope = torch.randn(q.size, generator=draws, dtype=torch.float64).to(q.mean) / q.scale
    return q.chain([slope], [q.noise(draws)])


@pytest.fixture
def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No damping, conjugate gradients to the end, and steps of second order."""
    monkeypatch.setattr(CovarianceFisher.__init__, "__defaults__", (1e-13,))
    monkeypatch.setattr(exact, "_TOLERANCE", 1e-12)
    monkeypatch.setattr(kl_ball, "share", lambda *_: 1.0)


@pytest.mark.usefixtures("exactly")
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


@pytest.mark.usefixtures("exactly")
@pytest.mark.parametrize("length", [0.01, 1.0])
def test_damping_is_added_to_log_sigma_consistently_with_the_factors(length: float) -> None:
    """The damped factor's block has no dense form, but log sigma's equations must hold."""
    base, damping = gaussian(9, 3, length), 0.2
    q = Gaussian(base.mean, torch.ones_like(base.scale), base.factor)
    gradient, block = expected_gradient(q), dense_fisher(q)
    log_scale, step = CovarianceFisher(q, damping).solve(gradient)
    carried = 1 - torch.linalg.inv(torch.eye(9) + q.factor @ q.factor.T).diagonal()
    left = block[:9, :9] @ log_scale + 2 * damping * carried * log_scale
    left = left + block[:9, 9:] @ step.reshape(-1)
    torch.testing.assert_close(left, gradient.log_scale)


@pytest.mark.usefixtures("exactly")
@pytest.mark.parametrize("rank", [0, 3])
def test_the_step_lies_on_the_kl_ball(rank: int) -> None:
    q = gaussian(10, rank)
    for radius in (1e-1, 1e-2, 1e-3):
        kl = q.moved(steepest_step(q, expected_gradient(q), radius)).kl(q)
        assert float(kl) == pytest.approx(radius**2 / 2, rel=3 * radius)


@pytest.mark.usefixtures("exactly")
def test_mean_field_fisher_is_two_for_log_sigma() -> None:
    q = gaussian(5, 0)
    gradient = gradient_of(torch.zeros_like(q.mean), torch.arange(5.0).double(), q.factor)
    step = steepest_step(q, gradient, 1.0)
    truth = gradient.log_scale / 2 / (gradient.log_scale @ gradient.log_scale / 2).sqrt()
    torch.testing.assert_close(step.log_scale, truth)


@pytest.mark.usefixtures("exactly")
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


@pytest.mark.usefixtures("exactly")
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
    mean = q.covariance_product(expected_gradient(q).mean)
    torch.testing.assert_close(step.mean, 0.3 * mean / (expected_gradient(q).mean @ mean).sqrt())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("size", "rank"), [(1, 0), (1, 1), (1, 5), (4, 5), (20, 0), (20, 1), (20, 5)]
)
def test_every_step_ends_in_the_ball(size: int, rank: int, dtype: torch.dtype) -> None:
    rows = torch.arange(0, size, 2)
    choices = itertools.product(
        (0.0, 0.9, 0.99, 1.0), (1e-3, 0.3, 10.0, 300.0), (0.01, 0.2, 1.0, 5.0)
    )
    for seed, (concentration, length, radius) in enumerate(choices):
        q = Gaussian(*as_type(concentrated(size, rank, concentration, length, seed), dtype))
        gradient = one_draw(q, seed)
        steps = {
            "exact": steepest_step(q, gradient, radius),
            "mean": steepest_step(q, gradient, radius, covariance=False),
            "restricted": restricted_step(q, gradient, radius, rows),
            "restricted mean": restricted_step(q, gradient, radius, rows, covariance=False),
            "diagonal": diagonal_step(q, gradient, radius),
            "diagonal mean": diagonal_step(q, gradient, radius, covariance=False),
            "empirical": empirical_step(q, gradient, radius, q.noise(generator(seed + 1))),
        }
        for name, step in steps.items():
            ratio = 2 * dense_kl(q, step) / radius**2
            rounding = 3e-5 if dtype == torch.float32 else 3e-6
            assert 0 <= ratio < 1 + rounding, (name, concentration, length, radius)


def test_a_step_of_second_order_that_ends_in_the_ball_is_left_alone() -> None:
    inside = 0
    for seed, concentration in itertools.product(range(5), (0.0, 0.9, 1.0)):
        q = concentrated(20, 3, concentration, 3.0, seed)
        gradient = one_draw(q, seed)
        solution = CovarianceFisher(q, DAMPING).solve(gradient)
        plain = GaussianTangent(q.covariance_product(gradient.mean), *solution)
        lengthened(plain, 0.2, gradient.dot(plain))
        step = steepest_step(q, gradient, 0.2)
        if dense_kl(q, plain) <= 0.2**2 / 2:
            inside += 1
            assert torch.equal(step.mean, plain.mean)
            assert torch.equal(step.log_scale, plain.log_scale)
            assert torch.equal(step.factor, plain.factor)
        else:
            number = step.mean.norm() / plain.mean.norm()
            torch.testing.assert_close(step.factor, number * plain.factor)
    assert inside > 0


@pytest.mark.parametrize("concentration", [0.0, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("radius", [0.05, 0.2, 1.0])
def test_noise_that_the_fisher_information_does_not_see_leaves_the_step_its_rise(
    concentration: float, radius: float
) -> None:
    """By the gradient, no step of all parameters promises less than that of the mean alone."""
    for seed, length in itertools.product(range(5), (0.01, 0.3, 1.0, 10.0, 100.0)):
        q = concentrated(20, 3, concentration, length, seed)
        gradient = one_draw(q, seed)
        full, alone = (
            float(gradient.dot(steepest_step(q, gradient, radius, covariance=both)))
            for both in (True, False)
        )
        assert full > alone
