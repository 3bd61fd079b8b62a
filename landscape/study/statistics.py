"""Is a difference over seeds more than chance? Intervals, paired tests and their correction."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from landscape.errors import InputError
from landscape.prediction.correlation import FEWEST
from landscape.results import ANYTHING, Range, SampleMean

_ALIKE = 1e-12
"""A deviation that is rounding."""


@dataclass(frozen=True)
class Paired:
    """A comparison on the same seeds.

    Attributes:
        difference: SampleMean of the pairs' differences, with Student's 95 % interval of the mean.
        t_test: p-value of the paired t-test, two-sided.
        wilcoxon: p-value of Wilcoxon's signed-rank test, two-sided, exact up to 13 pairs. With n
            pairs it is then never below 2^(1 - n): 0.06 for 5.
    """

    difference: SampleMean
    t_test: float
    wilcoxon: float


def paired(
    values: Sequence[float], reference: Sequence[float], *, within: Range = ANYTHING
) -> Paired:
    """Compare ``values`` with ``reference``, seed by seed.

    Args:
        values: Numbers, one a seed. Pairs whose difference is NaN are left out.
        reference: Numbers of the same seeds, in the same order.
        within: Range of both.

    Returns:
        The comparison of values - reference. p-values are 1 where all pairs are equal, and NaN
        where a difference is infinite or there are fewer than two. Where all pairs differ by the
        same, the interval is a point and the t-test's p-value 0.

    Raises:
        InputError: fewer than two pairs, or not as many of each.
    """
    if len(values) != len(reference):
        raise InputError(f"{len(values)} and {len(reference)} values make no pairs")
    if len(values) < 2:
        raise InputError(f"a paired test needs at least 2 seeds, not {len(values)}")
    from scipy import stats

    with np.errstate(invalid="ignore"):
        difference = np.asarray(values, dtype=float) - np.asarray(reference, dtype=float)
    difference = difference[~np.isnan(difference)]
    low, high = within
    spread = SampleMean.of(difference, within=(low - high, high - low))
    if len(difference) < 2 or not np.isfinite(difference).all():
        return Paired(spread, math.nan, math.nan)
    if not difference.any():
        return Paired(spread, 1.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # differences without spread
        t_test = float(stats.ttest_1samp(difference, 0.0).pvalue)
        wilcoxon = float(stats.wilcoxon(difference).pvalue)
    return Paired(spread, t_test, wilcoxon)


def mean_correlation(rhos: np.ndarray, pairs: int) -> SampleMean:
    """The mean of rank correlations, one a seed, with an interval inside [-1, 1].

    Student's interval of the mean, taken to Fisher's scale (artanh) by the delta method and back.
    In simulations with 3 to 10 seeds and 6 to 18 pairs it covers 93 to 96 %; Student's own 89 to
    95 %, and up to nine in ten leave [-1, 1].

    Args:
        rhos: Correlations; NaN is left out.
        pairs: Number of pairs behind each, less one for a partial correlation. Of fewer than
            ``FEWEST`` there is no interval: their correlations have few values, which are often
            the same for all seeds by chance. Nor is there one where all are the same.
    """
    over = SampleMean.of(rhos)
    known = pairs >= FEWEST and over.deviation > _ALIKE and abs(over.mean) < 1
    low = high = math.nan
    if known:
        centre, half = math.atanh(over.mean), (over.high - over.mean) / (1 - over.mean**2)
        low, high = math.tanh(centre - half), math.tanh(centre + half)
    return replace(over, low=low, high=high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of p-values for their number; NaN stays and does not count.

    The chance that any of the corrected values is below 0.05 by accident is at most 0.05, however
    the tests depend on each other.
    """
    adjusted = [math.nan] * len(p_values)
    known = [index for index, p in enumerate(p_values) if not math.isnan(p)]
    largest = 0.0
    for rank, index in enumerate(sorted(known, key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(known) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
