"""Is a difference over seeds more than chance? Paired tests and their correction."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.errors import InputError
from landscape.spread import Spread


@dataclass(frozen=True)
class Paired:
    """A comparison on the same seeds.

    Attributes:
        difference: Of the pairs, with Student's 95 % interval of its mean.
        t_test: p-value of the paired t-test, two-sided.
        wilcoxon: p-value of Wilcoxon's signed-rank test, two-sided, exact for so few. With n pairs
            it is never below 2^(1 - n): 0.06 for 5.
    """

    difference: Spread
    t_test: float
    wilcoxon: float


def paired(values: Sequence[float], reference: Sequence[float]) -> Paired:
    """Compare ``values`` with ``reference``, seed by seed.

    Args:
        values: One a seed.
        reference: Of the same seeds, in the same order.

    Returns:
        Of values - reference; p-values are 1 where all pairs are equal, and NaN where a difference
        is not finite.

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
    spread = Spread.of(difference)
    if not np.isfinite(difference).all():
        return Paired(spread, math.nan, math.nan)
    if not difference.any():
        return Paired(spread, 1.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # differences without spread
        t_test = float(stats.ttest_1samp(difference, 0.0).pvalue)
        wilcoxon = float(stats.wilcoxon(difference).pvalue)
    return Paired(spread, t_test, wilcoxon)


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
