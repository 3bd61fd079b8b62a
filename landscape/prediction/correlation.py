"""Rank correlation over a posterior's samples, with its confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from landscape.errors import InputError
from landscape.results import effective_count

FEWEST = 6
"""Smallest number of pairs with an interval. For 5 pairs it would be [-0.88, 0.88] around 0."""

_NORMAL = 1.959963984540054  # 97.5 % quantile


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of n pairs, and its 95 % interval.

    Attributes:
        rho: Correlation, in [-1, 1]; NaN if one of the quantities is constant, or n < 2.
        low: Lower end of the interval, in [-1, rho]; NaN if rho is NaN, or if ``count`` or
            ``effective`` is less than ``FEWEST``.
        high: Upper end of the interval, in [rho, 1]; NaN in the same cases.
        count: Number of pairs n. Pairs with a value that is not finite do not count.
        effective: Equivalent number of independent pairs, as in ``SampleMean``.
    """

    rho: float
    low: float
    high: float
    count: int
    effective: float


def spearman(x: np.ndarray, y: np.ndarray, *, places: np.ndarray | None = None) -> Correlation:
    """Spearman's correlation of ``x`` and ``y``. Ties get the mean of their ranks.

    The interval is normal on Fisher's scale, artanh rho, with the variance
    (1 + rho^2 / 2) / (n - 3) (Bonett & Wright, Psychometrika 65, 2000). Its coverage was simulated
    with 6 to 100 pairs and rho from 0 to 0.95:

    - Normal pairs: 94 to 98 %.
    - One quantity has two to five classes: 94 to 100 %.
    - Both quantities have three classes: 93 to 99 % up to rho = 0.7. At rho = 0.86 many data sets
      are in perfect order, and the coverage is 79 % (8 pairs) to 93 % (100 pairs).
    - Pairs with heavy tails, or with a variance that grows with their size: 80 to 98 %.

    A percentile bootstrap is not used: with ties it can exclude its own estimate.

    Args:
        x: First quantity, shape (n,). Pairs with a value that is not finite are left out.
        y: Second quantity, shape (n,).
        places: Positions of the pairs in Markov chains, shape (n, 2), as in ``SampleMean.of``. The
            n in the variance is then the equivalent number of independent pairs for the mean
            product of the ranks, and the interval is Student's. For two AR(1) chains of 30 or 100
            samples it covers 97 to 99 % at the coefficients 0 and 0.5, and 93 to 95 % at 0.9.

    Raises:
        InputError: The shapes differ.

    Examples:
        >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0])).rho
        1.0
    """
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"a correlation needs two vectors of one length, not {x.shape}, {y.shape}")
    finite = np.isfinite(x) & np.isfinite(y)
    pairs = np.stack([x[finite], y[finite]]).astype(float)
    count = pairs.shape[1]
    rho = float(_rank_correlation(pairs[:, None])[0]) if count > 1 else math.nan
    effective, quantile = float(count), _NORMAL
    if places is not None and not math.isnan(rho):
        from scipy.special import stdtrit  # a slow import

        effective, freedom = effective_count(_influence(pairs, rho), places[finite])
        quantile = float(stdtrit(freedom, 0.975))
    if math.isnan(rho) or not (count >= FEWEST and effective >= FEWEST):
        return Correlation(rho, math.nan, math.nan, count, effective)
    # artanh is infinite at perfect order. It is replaced by half of the smallest step away from it.
    most = 1 - 6 / (count * (count**2 - 1))
    centre = math.atanh(min(max(rho, -most), most))
    half = quantile * math.sqrt((1 + rho**2 / 2) / (effective - 3))
    low, high = min(rho, math.tanh(centre - half)), max(rho, math.tanh(centre + half))
    return Correlation(rho, low, high, count, effective)


def partial_spearman(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float:
    """Spearman's partial correlation of ``x`` and ``y`` for a fixed ``given``.

    With z for ``given`` and r for rank correlations, this is
    (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)): the relation of x and y that z does not
    explain. It is NaN for fewer than 4 values, or if z determines the order of x or y.

    Args:
        x: First quantity, shape (n,). Entries with a value that is not finite are left out.
        y: Second quantity, shape (n,).
        given: Quantity that is held fixed, shape (n,).

    Raises:
        InputError: The shapes differ.
    """
    if len({x.shape, y.shape, given.shape}) > 1:
        raise InputError(
            f"a partial correlation needs vectors of one length, not {x.shape}, {y.shape}, "
            f"{given.shape}"
        )
    finite = np.isfinite(x) & np.isfinite(y) & np.isfinite(given)
    if finite.sum() < 4:
        return math.nan
    x, y, given = x[finite], y[finite], given[finite]
    left, right = np.stack([x, x, y]), np.stack([y, given, given])
    xy, xz, yz = _rank_correlation(np.stack([left, right]).astype(float))
    unexplained = (1 - xz**2) * (1 - yz**2)
    return float((xy - xz * yz) / math.sqrt(unexplained)) if unexplained > 1e-12 else math.nan


def _influence(pairs: np.ndarray, rho: float) -> np.ndarray:
    """Contribution of each pair to n rho: z_x z_y - rho (z_x^2 + z_y^2) / 2, z the scaled ranks."""
    ranks = _ranks(pairs)
    ranks -= ranks.mean(1, keepdims=True)
    x, y = ranks / ranks.std(1, keepdims=True)
    return np.asarray(x * y - rho * (x**2 + y**2) / 2)


def _rank_correlation(pairs: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the ranks in each row, (2, R, n) -> (R,); NaN for a constant row."""
    ranks = _ranks(pairs.reshape(-1, pairs.shape[-1])).reshape(pairs.shape)
    ranks -= ranks.mean(-1, keepdims=True)
    x, y = ranks
    scale = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    return np.asarray((x * y).sum(-1) / np.where(scale > 0, scale, np.nan))


def _ranks(rows: np.ndarray) -> np.ndarray:
    """Ranks from 0 in each row of (R, n). Equal values get the mean of their ranks."""
    # scipy.stats.rankdata does the same, but its import is too slow for a page of the dashboard.
    order = rows.argsort(-1)
    ascending = np.take_along_axis(rows, order, -1)
    is_new = np.ones(rows.shape, dtype=bool)
    is_new[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    group = is_new.ravel().cumsum() - 1  # numbers the groups of equal values through all rows
    sizes = np.bincount(group)
    middle = sizes.cumsum() - (sizes + 1) / 2
    within = middle[group].reshape(rows.shape) - rows.shape[1] * np.arange(len(rows))[:, None]
    ranks = np.empty(rows.shape)
    np.put_along_axis(ranks, order, within, -1)
    return ranks
