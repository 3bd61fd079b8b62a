"""Intervals of means over samples: their coverage, and what they are of few or equal values."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from landscape.results import SampleMean, effective_count, spectrum_means


def autoregressive(
    generator: np.random.Generator, shape: tuple[int, int], phi: float
) -> np.ndarray:
    """Stationary AR(1) chains of mean 0 and variance 1, one a row."""
    chains = generator.normal(size=shape)
    for step in range(1, shape[1]):
        chains[:, step] *= math.sqrt(1 - phi**2)
        chains[:, step] += phi * chains[:, step - 1]
    return chains


def one_chain(count: int) -> np.ndarray:
    return np.stack([np.zeros(count, dtype=int), np.arange(count)], 1)


def coverage(chains: np.ndarray, places: np.ndarray | None, truth: float = 0.0) -> float:
    found = [SampleMean.of(chain, places=places) for chain in chains]
    return float(np.mean([each.low <= truth <= each.high for each in found]))


def test_the_interval_of_independent_values_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).normal(size=9)
    found = SampleMean.of(values)
    truth = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((truth.low, truth.high))
    assert (found.count, found.effective) == (9, 9)


@pytest.mark.parametrize(
    ("count", "phi", "least", "most"),
    [
        (30, 0.0, 0.96, 1.0),
        (30, 0.5, 0.93, 0.98),
        (30, 0.9, 0.86, 0.93),
        (100, 0.0, 0.95, 0.99),
        (100, 0.5, 0.93, 0.98),
        (100, 0.9, 0.91, 0.96),
    ],
)
def test_the_interval_covers_the_mean_of_a_chain(
    count: int, phi: float, least: float, most: float
) -> None:
    chains = autoregressive(np.random.default_rng(1), (1000, count), phi)
    assert least <= coverage(chains, one_chain(count)) <= most
    if phi == 0.9:  # as independent draws
        assert coverage(chains, None) == pytest.approx(0.32, abs=0.05)


def test_a_chain_is_worth_what_its_autocorrelation_leaves() -> None:
    for phi in (0.0, 0.5, 0.9):
        (chain,) = autoregressive(np.random.default_rng(2), (1, 20_000), phi)
        effective, _ = effective_count(chain, one_chain(20_000))
        assert effective == pytest.approx(20_000 * (1 - phi) / (1 + phi), rel=0.15)


def test_the_order_of_the_samples_does_not_matter_and_a_subset_is_a_chain() -> None:
    (chain,) = autoregressive(np.random.default_rng(3), (1, 60), 0.8)
    order = np.random.default_rng(4).permutation(60)
    shuffled = SampleMean.of(chain[order], places=one_chain(60)[order])
    assert astuple(shuffled) == pytest.approx(astuple(SampleMean.of(chain, places=one_chain(60))))
    chains = autoregressive(np.random.default_rng(5), (500, 200), 0.9)
    drawn = np.random.default_rng(6).permutation(200)[:40]
    assert coverage(chains[:, drawn], one_chain(200)[drawn]) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_each_of_several_chains_counts_once(shared: float) -> None:
    generator = np.random.default_rng(7)
    cycles = np.repeat(generator.normal(size=(1000, 4)), 3, axis=1)
    within = generator.normal(size=(1000, 12))
    values = math.sqrt(shared) * cycles + math.sqrt(1 - shared) * within
    places = np.stack([np.arange(12) // 3, np.arange(12)], 1)
    assert coverage(values, places) >= 0.93
    found = SampleMean.of(values[0], places=places)
    if shared == 1.0:
        sums = stats.ttest_1samp(values[0, ::3], 0.0).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((sums.low, sums.high))
        assert found.effective == pytest.approx(4 * 9 / 11)  # s^2 has n - 1 in the denominator


def test_a_chain_of_unknown_order_has_no_interval() -> None:
    found = SampleMean.of(np.arange(5.0), places=np.full((5, 2), -1))
    assert (found.mean, found.count) == (2.0, 5)
    assert all(map(math.isnan, (found.low, found.high, found.effective)))


def test_what_is_nan_is_left_out_and_not_counted_and_infinity_shows() -> None:
    values = np.array([1.0, math.nan, 3.0, 5.0])
    assert SampleMean.of(values) == SampleMean.of(np.array([1.0, 3.0, 5.0]))
    places = one_chain(4)
    assert SampleMean.of(values, places=places) == SampleMean.of(
        values[[0, 2, 3]], places=places[:3]
    )
    infinite = SampleMean.of(np.array([1.0, math.inf]))
    assert (infinite.mean, infinite.count) == (math.inf, 2)
    assert all(map(math.isnan, (infinite.deviation, infinite.low, infinite.high)))
    for none in ([], [math.nan]):
        empty = SampleMean.of(np.array(none))
        assert math.isnan(empty.mean)
        assert empty.count == 0


@pytest.mark.parametrize("places", [None, one_chain(4)])
def test_one_value_two_and_equal_ones(places: np.ndarray | None) -> None:
    lone, pair = (
        SampleMean.of(np.arange(float(n)), places=None if places is None else places[:n])
        for n in (1, 2)
    )
    assert math.isnan(lone.low)
    assert str(lone) == "0"
    assert pair.high - 0.5 == pytest.approx(12.706 * 0.5, rel=1e-3)
    equal = SampleMean.of(np.full(4, 3.0), places=places)
    assert (equal.low, equal.high, equal.deviation, equal.effective) == (3, 3, 0, 4)


def test_an_interval_is_cut_where_the_quantity_ends() -> None:
    values = np.array([0.9, 1.0])
    assert SampleMean.of(values).high > 1
    found = SampleMean.of(values, within=(0.0, 1.0))
    assert (found.low, found.high) == (pytest.approx(0.95 - 12.706 * 0.05, abs=1e-3), 1.0)


def test_the_ratio_of_means_is_not_the_mean_of_ratios() -> None:
    eigenvalues = np.array([[8.0, 0, 0, 0, 4], [2.0, 0, 0, 0, 0.1], [5.0, 0, 0, 0, 2.5]])
    found = spectrum_means(eigenvalues, np.array([1.0, 2.0, 3.0]))
    assert list(found) == ["lambda_1", "lambda_ratio", "lambda_ratio_of_means", "trace"]
    assert found["lambda_ratio"].mean == pytest.approx((2 + 20 + 2) / 3)
    assert found["lambda_ratio_of_means"].mean == pytest.approx(15 / 6.6)
    assert list(spectrum_means(eigenvalues[:, :4], np.empty(0))) == ["lambda_1"]
    lost = np.where(np.arange(3)[:, None] == 1, math.nan, eigenvalues)
    assert spectrum_means(lost, np.ones(3))["lambda_ratio_of_means"].mean == 2
    assert spectrum_means(lost, np.ones(3))["lambda_ratio_of_means"].count == 2


def test_a_ratio_to_what_may_be_zero_has_no_interval() -> None:
    x = np.array([1.0, 2.0, 3.0])
    assert not math.isnan(SampleMean.of_ratio(x, np.array([4.0, 5.0, 6.0])).low)
    for y in ([0.1, 0.5, -0.4], [-4.0, -5.0, -6.0]):
        found = SampleMean.of_ratio(x, np.array(y))
        assert found.mean == pytest.approx(x.mean() / np.mean(y))
        assert math.isnan(found.low)


@pytest.mark.parametrize(("deviation", "least"), [(0.2, 0.93), (0.5, 0.91), (0.8, 0.87)])
def test_the_interval_of_a_ratio_of_means_covers_it(deviation: float, least: float) -> None:
    draws = np.random.default_rng(8).normal(size=(1000, 2, 10))
    found = [SampleMean.of_ratio(2 * x, y) for x, y in np.exp(deviation * draws)]
    assert least <= np.mean([each.low <= 2 <= each.high for each in found]) <= 0.97
