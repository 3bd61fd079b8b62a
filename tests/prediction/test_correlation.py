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


def in_classes(values: np.ndarray, classes: int) -> np.ndarray:
    """Classes of normal values, all equally frequent; the values themselves for 0 classes."""
    if not classes:
        return values
    edges = stats.norm.ppf(np.arange(1, classes) / classes)
    return np.searchsorted(edges, values).astype(float)


def coverage(count: int, strength: float, classes: tuple[int, int]) -> float:
    """Coverage of the interval for normal pairs that are divided into classes."""

    def pairs(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        x, noise = generator.normal(size=(2, rows, columns))
        y = strength * x + math.sqrt(1 - strength**2) * noise
        return in_classes(x, classes[0]), in_classes(y, classes[1])

    generator = np.random.default_rng(0)
    (x,), (y,) = pairs(1, 200_000)
    truth = spearman(x, y).rho
    drawn = [spearman(*pair) for pair in zip(*pairs(1000, count), strict=True)]
    found = [each for each in drawn if not math.isnan(each.rho)]  # of several classes
    assert all(each.low <= each.rho <= each.high for each in found)
    assert all(-1 <= each.low <= each.high <= 1 for each in found)
    return float(np.mean([each.low <= truth <= each.high for each in found]))


@pytest.mark.parametrize("count", [6, 10, 30, 100])
@pytest.mark.parametrize(
    ("strength", "classes"),
    [(0.0, (0, 0)), (0.8, (0, 0)), (0.95, (0, 0)), (0.0, (0, 2)), (0.8, (0, 3)), (0.8, (3, 3))],
)
def test_the_interval_covers_the_truth_with_and_without_ties(
    count: int, strength: float, classes: tuple[int, int]
) -> None:
    assert coverage(count, strength, classes) >= 0.92


def test_where_many_samples_are_in_perfect_order_it_covers_less() -> None:
    assert 0.78 <= coverage(10, 0.95, (3, 3)) <= 0.9


def test_the_interval_is_fishers_with_the_variance_of_bonett_and_wright() -> None:
    x, y = drawn(3, 30, 0.7)
    found = spearman(x, y)
    half = 1.96 * math.sqrt((1 + found.rho**2 / 2) / 27)
    ends = [math.tanh(math.atanh(found.rho) + sign * half) for sign in (-1, 1)]
    assert [found.low, found.high] == pytest.approx(ends, abs=1e-4)
    perfect = spearman(np.arange(8.0), np.arange(8.0))
    assert perfect.high == perfect.rho == 1
    assert 0.9 < perfect.low < 1


def test_the_estimate_is_in_its_interval_where_most_values_are_tied() -> None:
    # A percentile bootstrap of such pairs left its own estimate out.
    x = np.array([0.0, 0, 0, 0, 0, 1, 1, 2])
    y = np.array([2.0, 2, 2, 2, 1, 2, 1, 1])
    found = spearman(x, y)
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.low < found.rho < found.high


def test_pairs_of_a_chain_are_worth_fewer() -> None:
    generator = np.random.default_rng(5)
    x, y = generator.normal(size=(2, 400, 100))
    for step in range(1, 100):
        for chain in (x, y):
            chain[:, step] = 0.9 * chain[:, step - 1] + math.sqrt(0.19) * chain[:, step]
    places = np.stack([np.zeros(100, dtype=int), np.arange(100)], 1)
    for given, low, high in ((None, 0.4, 0.65), (places, 0.91, 0.97)):
        found = [spearman(*pair, places=given) for pair in zip(x, y, strict=True)]
        known = [each for each in found if not math.isnan(each.low)]
        assert len(known) > 380
        assert low <= np.mean([each.low <= 0 <= each.high for each in known]) <= high
    unknown = spearman(x[0], y[0], places=np.full((100, 2), -1))
    assert math.isnan(unknown.low)


def test_too_few_or_constant_pairs_have_no_interval() -> None:
    one, two = np.array([1.0]), np.array([1.0, 2.0])
    assert math.isnan(spearman(one, one).rho)
    assert spearman(two, -two).rho == -1
    assert math.isnan(spearman(two, two).low)
    assert math.isnan(spearman(np.arange(5.0), np.arange(5.0)).low)
    assert not math.isnan(spearman(np.arange(6.0), np.arange(6.0)).low)
    assert math.isnan(spearman(np.arange(5.0), np.ones(5)).rho)


def test_values_that_are_not_finite_are_left_out_and_not_counted() -> None:
    x, y = drawn(1, 20, 0.5)
    more = spearman(np.append(x, [np.nan, 1.0]), np.append(y, [1.0, np.inf]))
    assert more == spearman(x, y)


def test_what_is_no_pair_of_vectors_is_refused() -> None:
    with pytest.raises(InputError, match="two vectors"):
        spearman(np.ones(3), np.ones(4))


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
    assert spearman(x, y).rho > 0.7
    # Of independent values: a standard error of 1 / sqrt(2000), and ranks are not quite linear.
    assert abs(partial_spearman(x, y, cause)) < 0.1


def test_a_partial_correlation_that_is_undefined_is_nan() -> None:
    x = np.arange(5.0)
    assert math.isnan(partial_spearman(x, x[::-1], x))
    assert math.isnan(partial_spearman(x[:3], x[:3], np.array([1.0, 3.0, 2.0])))
    assert math.isnan(partial_spearman(x, np.ones(5), x[::-1]))
    assert math.isnan(partial_spearman(x, x, np.array([1.0, math.nan, 2.0, math.inf, 0.0])))
    with pytest.raises(InputError, match="one length"):
        partial_spearman(x, x, x[:4])
