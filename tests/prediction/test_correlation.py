"""Rank correlation and its interval, against scipy's."""

import math

import numpy as np
import pytest
from scipy import stats

from landscape.errors import InputError
from landscape.prediction import partial_spearman, spearman


def drawn(seed: int, count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=count)
    return x, np.round(np.exp(x + noise * generator.normal(size=count)), 1)  # rounded: has ties


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0.1, 1.0, 10.0])
def test_the_correlation_is_that_of_scipy(seed: int, noise: float) -> None:
    x, y = drawn(seed, 25, noise)
    found = spearman(x, y)
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.low <= found.rho <= found.high
    assert found.count == 25


def test_the_interval_is_that_of_scipy() -> None:
    x, y = drawn(3, 30, 0.7)
    found = spearman(x, y, resamples=20_000)
    expected = stats.bootstrap(
        (x, y),
        lambda x, y: stats.spearmanr(x, y).statistic,
        paired=True,
        vectorized=False,
        n_resamples=4000,
        method="percentile",
        rng=1,
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert 0.05 < found.high - found.low < 0.6


def test_the_same_seed_gives_the_same_interval() -> None:
    x, y = drawn(0, 12, 1.0)
    assert spearman(x, y) == spearman(x, y)
    assert spearman(x, y, seed=1).low != spearman(x, y).low


def test_too_few_or_constant_pairs_have_no_interval() -> None:
    one, two = np.array([1.0]), np.array([1.0, 2.0])
    assert math.isnan(spearman(one, one).rho)
    assert spearman(two, -two).rho == -1
    assert math.isnan(spearman(two, two).low)
    assert math.isnan(spearman(np.arange(5.0), np.ones(5)).rho)


def test_values_that_are_not_finite_are_left_out_and_not_counted() -> None:
    x, y = drawn(1, 20, 0.5)
    more = spearman(np.append(x, [np.nan, 1.0]), np.append(y, [1.0, np.inf]))
    assert more == spearman(x, y)


def test_what_is_no_pair_of_vectors_is_refused() -> None:
    with pytest.raises(InputError, match="two vectors"):
        spearman(np.ones(3), np.ones(4))
    with pytest.raises(InputError, match="resamples"):
        spearman(np.ones(3), np.ones(3), resamples=0)


@pytest.mark.parametrize("seed", range(5))
def test_the_partial_correlation_is_that_of_the_residuals_of_ranks(seed: int) -> None:
    generator = np.random.default_rng(seed)
    z = generator.normal(size=30)
    x, y = np.round(z + generator.normal(size=30), 1), z + generator.normal(size=30)
    ranks = [stats.rankdata(each) for each in (x, y, z)]
    design = np.stack([np.ones(30), ranks[2]], axis=1)
    left, right = (r - design @ np.linalg.lstsq(design, r, rcond=None)[0] for r in ranks[:2])
    assert partial_spearman(x, y, z) == pytest.approx(np.corrcoef(left, right)[0, 1])


def test_a_partial_correlation_sees_through_a_common_cause() -> None:
    generator = np.random.default_rng(0)
    cause = generator.normal(size=2000)
    x, y = (cause + 0.5 * generator.normal(size=2000) for _ in range(2))
    assert spearman(x, y, resamples=1).rho > 0.7
    # Of independent values: a standard error of 1 / sqrt(2000), and ranks are not quite linear.
    assert abs(partial_spearman(x, y, cause)) < 0.1


def test_a_partial_correlation_that_is_undefined_is_nan() -> None:
    x = np.arange(5.0)
    assert math.isnan(partial_spearman(x, x[::-1], x))
    assert math.isnan(partial_spearman(x[:3], x[:3], np.array([1.0, 3.0, 2.0])))
    assert math.isnan(partial_spearman(x, np.ones(5), x[::-1]))
    with pytest.raises(InputError, match="one length"):
        partial_spearman(x, x, x[:4])
