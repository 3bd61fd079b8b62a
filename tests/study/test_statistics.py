"""Paired tests and intervals against scipy and against tables."""

import math

import numpy as np
import pytest
from scipy import stats

from landscape.errors import InputError
from landscape.study.statistics import holm, paired

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


def test_a_paired_test_needs_pairs() -> None:
    with pytest.raises(InputError, match="at least 2 seeds, not 1"):
        paired([1.0], [2.0])
    with pytest.raises(InputError, match="3 and 2 values make no pairs"):
        paired([1.0, 2.0, 3.0], [2.0, 1.0])


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
