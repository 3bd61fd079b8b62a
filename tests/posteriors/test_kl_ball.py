"""Shares of steps in a KL ball against dense matrices, and in many digits."""

import math

import mpmath
import pytest
import torch
from cases import as_type, concentrated, dense_kl, generator

from landscape.posteriors import Gaussian, GaussianTangent
from landscape.posteriors.fisher.kl_ball import Divergence, share, within

SHAPES = [(1, 0), (6, 0), (1, 1), (1, 5), (4, 6), (9, 1), (12, 5)]


def scaled(step: GaussianTangent, number: float) -> GaussianTangent:
    return GaussianTangent(number * step.mean, number * step.log_scale, number * step.factor)


def random_step(q: Gaussian, size: float, seed: int = 0) -> GaussianTangent:
    """One that changes each number by about ``size`` times the scale of the weight."""
    draw = torch.randn(2 + q.rank, q.size, generator=generator(seed), dtype=torch.float64)
    factor = (draw[2:] * q.scale).T
    return GaussianTangent(size * q.scale * draw[0], size * draw[1], size * factor)


def precise_kl(q: Gaussian, step: GaussianTangent) -> float:
    """KL(q moved by the step || q) with 60 digits."""

    def covariance(scale: list[mpmath.mpf], factor: mpmath.matrix) -> mpmath.matrix:
        return mpmath.diag([each**2 for each in scale]) + factor * factor.T

    with mpmath.workdps(60):
        scale = [mpmath.mpf(each) for each in q.scale.tolist()]
        grown = [s * mpmath.exp(x) for s, x in zip(scale, step.log_scale.tolist(), strict=True)]
        factor = mpmath.matrix(q.factor.tolist())
        before = covariance(scale, factor)
        after = covariance(grown, factor + mpmath.matrix(step.factor.tolist()))
        mean, inverse = mpmath.matrix(step.mean.tolist()), before**-1
        ratio = inverse * after
        trace = sum(ratio[i, i] for i in range(q.size)) - q.size
        volume = mpmath.log(mpmath.det(before) / mpmath.det(after))
        return float((trace + (mean.T * inverse * mean)[0] + volume) / 2)


@pytest.mark.parametrize(("size", "rank"), SHAPES)
@pytest.mark.parametrize("concentration", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("length", [0.01, 1.0, 100.0])
def test_the_divergence_along_a_step_is_that_of_dense_matrices(
    size: int, rank: int, concentration: float, length: float
) -> None:
    q = concentrated(size, rank, concentration, length)
    for extent in (0.01, 1.0, 4.0):
        step = random_step(q, extent)
        divergence = Divergence(q, step)
        for part in (0.0, 0.3, 1.0):
            truth = dense_kl(q, scaled(step, part))
            assert divergence.at(part) == pytest.approx(truth, rel=1e-5, abs=1e-11)


@pytest.mark.parametrize("length", [1e-6, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("extent", [1e-4, 1e-2, 3.0])
def test_it_keeps_its_digits_for_long_columns_and_short_steps(length: float, extent: float) -> None:
    for seed, concentration in enumerate((0.0, 0.99, 1.0)):
        q = concentrated(4, 2, concentration, length, seed)
        step = random_step(q, extent)
        found = Divergence(q, step).at(1.0)
        assert found == pytest.approx(precise_kl(q, step), rel=1e-4)


def test_rows_that_stay_count_in_the_joint_gaussian() -> None:
    q, rows = concentrated(9, 3, 0.9, 3.0), torch.tensor([7, 0, 4])
    step, kept = random_step(q, 0.7), torch.zeros(9, dtype=torch.float64)
    kept[rows] = 1
    step = GaussianTangent(kept * step.mean, kept * step.log_scale, kept[:, None] * step.factor)
    truth = dense_kl(q, step)
    assert Divergence(q, step, rows).at(1.0) == pytest.approx(truth)
    assert Divergence(q, step).at(1.0) == pytest.approx(truth)


@pytest.mark.parametrize(("size", "rank"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_is_shortened_to_the_border_or_left_alone(
    size: int, rank: int, dtype: torch.dtype
) -> None:
    for seed, radius in enumerate((1e-3, 0.1, 1.0, 6.0)):
        for extent in (1e-5, 0.1, 1.0, 30.0):
            q = Gaussian(*as_type(concentrated(size, rank, 0.9, 2.0, seed), dtype))
            step = GaussianTangent(*as_type(random_step(q, extent, seed), dtype))
            found = within(q, step, radius)
            if dense_kl(q, step) <= radius**2 / 2:
                assert found is step
            else:
                assert 2 * dense_kl(q, found) / radius**2 == pytest.approx(1 - 5e-5, abs=6e-5)


@pytest.mark.parametrize("radius", [1e-150, 1e-30, 1e-12, 1e-6])
def test_a_tiny_ball_is_one_of_the_fisher_information(radius: float) -> None:
    q = concentrated(5, 2, 0.9)
    step = random_step(q, 1.0)
    unit = 1e-4 / math.sqrt(2 * Divergence(q, step).at(1e-4))
    inside, outside = (scaled(step, number * unit * radius) for number in (0.99, 2.0))
    assert within(q, inside, radius) is inside
    assert share(q, outside, radius) == pytest.approx(0.5, rel=1e-3)


def test_steps_that_overflow_and_balls_without_inside() -> None:
    q = concentrated(6, 2, 0.5)
    for extent in (1e2, 1e4, 1e8):
        step = within(q, random_step(q, extent), 0.5)
        assert 2 * dense_kl(q, step) == pytest.approx(0.25, rel=2e-4)
    assert share(q, random_step(q, 1.0), 0.0) == 0
    still = scaled(random_step(q, 1.0), 0.0)
    assert within(q, still, 0.5) is still


def test_most_steps_cost_few_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = Divergence.at

    def counted(self: Divergence, t: float) -> float:
        calls.append(t)
        return original(self, t)

    monkeypatch.setattr(Divergence, "at", counted)
    q = concentrated(200, 5, 0.5)
    for extent, most in ((0.02, 3), (0.2, 5), (2.0, 10)):
        calls.clear()
        share(q, random_step(q, extent), 0.2)
        assert len(calls) <= most, extent


def test_the_ball_is_as_large_as_it_says_for_many_parameters_in_float32() -> None:
    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator(len(shape)))

    q = Gaussian(normal(200_000), torch.full((200_000,), 0.1), 0.01 * normal(200_000, 3))
    step = GaussianTangent(normal(200_000), normal(200_000), normal(200_000, 3))
    double = Gaussian(*as_type(q, torch.float64))
    near = double.moved(within(q, step, 0.1))
    assert 2 * float(near.kl(double)) == pytest.approx(0.01, rel=2e-4)
    small = GaussianTangent(0 * step.mean, 1e-6 * step.log_scale, 0 * step.factor)
    assert within(q, small, 0.1) is small
