"""Rank correlation over a posterior's samples, with an interval that says how little few show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from landscape.errors import InputError

_FEWEST = 3
_TOGETHER = 1 << 20
"""Pairs that are ranked at a time."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of n pairs, and its 95 % bootstrap interval.

    Attributes:
        rho: In [-1, 1]; NaN where one of the quantities is constant, or n < 2.
        low: 2.5 % quantile over resampled pairs; NaN for n < 3.
        high: 97.5 % quantile.
        count: n.
    """

    rho: float
    low: float
    high: float
    count: int


def spearman(x: np.ndarray, y: np.ndarray, *, resamples: int = 2000, seed: int = 0) -> Correlation:
    """Spearman's correlation of ``x`` and ``y`` with a percentile bootstrap over pairs.

    Pairs in which a value is not finite are left out. Resamples in which a quantity is constant
    have no correlation and are left out too.

    Args:
        x: Shape (n,).
        y: Shape (n,).
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        InputError: the shapes differ, or there is no resample.

    Example:
        >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0])).rho
        1.0
    """
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"a correlation needs two vectors of one length, not {x.shape}, {y.shape}")
    if resamples < 1:
        raise InputError(f"the number of resamples must be at least 1, not {resamples}")
    kept = np.isfinite(x) & np.isfinite(y)
    pairs = np.stack([x[kept], y[kept]]).astype(float)
    count = pairs.shape[1]
    rho = float(_rank_correlation(pairs[:, None])[0]) if count > 1 else math.nan
    if count < _FEWEST or math.isnan(rho):
        return Correlation(rho, math.nan, math.nan, count)
    generator = np.random.default_rng(seed)
    together = max(1, _TOGETHER // count)
    found = np.concatenate(
        [
            _rank_correlation(pairs[:, generator.integers(0, count, (rows, count))])
            for rows in _divided(resamples, together)
        ]
    )
    low, high = np.nanquantile(found, [0.025, 0.975])
    return Correlation(rho, float(low), float(high), count)


def partial_spearman(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float:
    """Spearman's partial correlation of ``x`` and ``y`` where ``given`` is held fixed.

    (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)) of the rank correlations r, with z for
    ``given``: what x says of y beyond what z says of both. NaN for fewer than 4 values, or where z
    alone orders x or y.

    Args:
        x: Shape (n,), finite.
        y: Shape (n,), finite.
        given: Shape (n,), finite.

    Raises:
        InputError: the shapes differ.
    """
    if len({x.shape, y.shape, given.shape}) > 1:
        raise InputError(
            f"a partial correlation needs vectors of one length, not {x.shape}, {y.shape}, "
            f"{given.shape}"
        )
    if len(x) <= _FEWEST:
        return math.nan
    left, right = np.stack([x, x, y]), np.stack([y, given, given])
    xy, xz, yz = _rank_correlation(np.stack([left, right]).astype(float))
    left_over = (1 - xz**2) * (1 - yz**2)
    return float((xy - xz * yz) / math.sqrt(left_over)) if left_over > 1e-12 else math.nan


def _divided(total: int, together: int) -> list[int]:
    """``total`` in parts of at most ``together``."""
    whole, rest = divmod(total, together)
    return [together] * whole + ([rest] if rest else [])


def _rank_correlation(pairs: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the ranks of each row: (2, R, n) -> (R,); NaN if one is constant."""
    ranks = _ranks(pairs.reshape(-1, pairs.shape[-1])).reshape(pairs.shape)
    ranks -= ranks.mean(-1, keepdims=True)
    x, y = ranks
    scale = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    return np.asarray((x * y).sum(-1) / np.where(scale > 0, scale, np.nan))


def _ranks(rows: np.ndarray) -> np.ndarray:
    """Ranks from 0 in each row of (R, n); equal values share the mean of theirs."""
    # As scipy.stats.rankdata, whose import takes longer than a page may.
    order = rows.argsort(-1)
    ascending = np.take_along_axis(rows, order, -1)
    is_new = np.ones(rows.shape, dtype=bool)
    is_new[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    group = is_new.ravel().cumsum() - 1  # of equal values, counted through all rows
    sizes = np.bincount(group)
    middle = sizes.cumsum() - (sizes + 1) / 2
    within = middle[group].reshape(rows.shape) - rows.shape[1] * np.arange(len(rows))[:, None]
    ranks = np.empty(rows.shape)
    np.put_along_axis(ranks, order, within, -1)
    return ranks
