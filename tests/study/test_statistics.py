"""Paired tests and intervals against scipy and against tables."""

import math

import numpy as np
import pytest
from scipy import stats

from landscape.errors import InputError
from landscape.results import SampleMean
from landscape.study.statistics import holm, mean_correlation, paired

VALUES, REFERENCE = (np.random.default_rng(s).normal(s, 1, 8).tolist() for s in (0, 1))


def test_paired_tests_are_scipys() -> None:
    found = paired(VALUES, REFERENCE)
    truth = stats.ttest_rel(VALUES, REFERENCE)
    assert found.t_test == pytest.approx(truth.pvalue)
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(VALUES, REFERENCE).pvalue)
    interval = truth.confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(interval))
    assert found.difference.count == 8


def test_five_seeds_cannot_get_below_a_sixteenth_by_wilcoxon() -> None:
    assert paired([1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5).wilcoxon == pytest.approx(2**-4)


def test_pairs_without_a_difference_or_without_a_spread() -> None:
    same = paired([1.0, 2.0], [1.0, 2.0])
    assert (same.t_test, same.wilcoxon, same.difference.mean) == (1.0, 1.0, 0.0)
    assert paired([2.0, 3.0, 4.0], [1.0, 2.0, 3.0]).t_test == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(paired([math.inf, 1.0], [0.0, 0.0]).t_test)


def test_pairs_with_nan_are_left_out_and_not_counted() -> None:
    found = paired([1.0, math.nan, 2.5, 4.0], [0.0, 1.0, 1.0, 1.0])
    assert found == paired([1.0, 2.5, 4.0], [0.0, 1.0, 1.0])
    assert found.difference.count == 3
    alone = paired([1.0, math.nan], [0.0, 0.0])
    assert alone.difference.count == 1
    assert math.isnan(alone.t_test)
    assert math.isnan(alone.wilcoxon)


def test_a_paired_test_needs_pairs() -> None:
    with pytest.raises(InputError, match="at least 2 seeds, not 1"):
        paired([1.0], [2.0])
    with pytest.raises(InputError, match="3 and 2 values make no pairs"):
        paired([1.0, 2.0, 3.0], [2.0, 1.0])


def test_an_interval_of_a_mean_correlation_stays_within_1() -> None:
    rhos = np.array([0.99, 0.95, 0.6])
    plain, found = SampleMean.of(rhos), mean_correlation(rhos, 10)
    assert plain.high > 1
    assert (found.mean, found.count) == (plain.mean, 3)
    assert -1 < found.low < found.mean < found.high < 1
    narrow = np.array([0.30, 0.31, 0.29])  # where Fisher's scale is straight
    assert mean_correlation(narrow, 10).low == pytest.approx(SampleMean.of(narrow).low, abs=1e-3)


@pytest.mark.parametrize("pairs", [4, 5])
def test_few_pairs_or_equal_correlations_have_no_interval(pairs: int) -> None:
    assert math.isnan(mean_correlation(np.array([0.5, 0.7, 0.9]), pairs).low)
    for rhos in ([0.8, 0.8, 0.8], [1.0, 1.0], [0.4], [], [math.nan, 0.3]):
        assert math.isnan(mean_correlation(np.array(rhos), 20).low)


@pytest.mark.parametrize(("seeds", "strength"), [(3, 0.0), (3, 0.95), (5, 0.8), (10, 0.95)])
def test_the_interval_of_a_mean_correlation_covers_it(seeds: int, strength: float) -> None:
    def rhos(rows: int, columns: int) -> np.ndarray:
        x, noise = generator.normal(size=(2, rows, columns, 10))
        y = strength * x + math.sqrt(1 - strength**2) * noise
        ranks = [each.argsort(-1).argsort(-1) - 4.5 for each in (x, y)]
        return np.asarray((ranks[0] * ranks[1]).sum(-1) / 82.5)

    generator = np.random.default_rng(0)
    truth = rhos(50_000, 1).mean()
    found = [mean_correlation(row, 10) for row in rhos(1000, seeds)]
    found = [each for each in found if not math.isnan(each.low)]
    assert len(found) > 980
    assert 0.91 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.98


def test_a_difference_of_shares_is_between_minus_1_and_1() -> None:
    found = paired([0.9, 0.1], [0.1, 0.2], within=(0.0, 1.0)).difference
    assert (found.low, found.high) == (-1, 1)


def test_holms_correction() -> None:
    # By hand: 3 x 0.01; max(0.03, 2 x 0.02); max(0.04, 1 x 0.03).
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    found = holm([0.01, math.nan, 0.5])
    assert found[0] == pytest.approx(0.02)
    assert math.isnan(found[1])


def test_holm_keeps_the_chance_of_a_false_alarm() -> None:
    p_values = np.random.default_rng(0).uniform(size=(2000, 4))
    alarms = [min(holm(row.tolist())) < 0.05 for row in p_values]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.015)
