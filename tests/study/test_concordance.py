"""Rank correlations with weights, against scipy on repeated points, and what their intervals do."""

import numpy as np
import pytest
from scipy import stats

from landscape.prediction import partial_spearman
from landscape.study.concordance import (
    Draws,
    Estimates,
    kendall_matrices,
    mean_over,
    partial,
    spearman_matrices,
)


def tied_values(points: int = 9) -> np.ndarray:
    """Three quantities with ties, shape (points, 3)."""
    return np.random.default_rng(3).integers(0, 5, (points, 3)).astype(float)


def test_a_weight_is_that_many_equal_points() -> None:
    values, weights = tied_values(), np.array([[1.0] * 9, [2, 0, 1, 3, 0, 1, 1, 0, 1]])
    matrices = spearman_matrices(values, weights)
    for matrix, weight in zip(matrices, weights, strict=True):
        repeated = np.repeat(values, weight.astype(int), 0)
        np.testing.assert_allclose(matrix, stats.spearmanr(repeated).statistic, atol=1e-12)
    constant = spearman_matrices(np.column_stack([values, np.ones(9)]), weights)
    assert np.isnan(constant[:, 3]).all()


def test_tau_over_all_pairs_is_kendalls_tau_b() -> None:
    values = tied_values()
    pairs = np.array([(i, j) for i in range(9) for j in range(i)])
    (matrix,) = kendall_matrices(values, pairs, np.zeros(len(pairs), dtype=int), np.ones((1, 1)))
    for i in range(3):
        for j in range(3):
            expected = stats.kendalltau(values[:, i], values[:, j]).statistic
            assert matrix[i, j] == pytest.approx(expected)


def test_tau_counts_each_pair_by_the_weight_of_its_key() -> None:
    # The two pairs of key 0 agree, the one of key 1 does not.
    values = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [1.5, 3.0]])
    pairs, keys = np.array([[0, 1], [1, 2], [2, 3]]), np.array([0, 0, 1])
    matrices = kendall_matrices(values, pairs, keys, np.array([[1.0, 1.0], [1.0, 4.0], [0.0, 1.0]]))
    assert matrices[:, 0, 1].tolist() == pytest.approx([1 / 3, -1 / 3, -1.0])


def test_partial_correlations_hold_a_quantity_fixed() -> None:
    values = np.random.default_rng(0).normal(size=(12, 3)) + np.arange(12)[:, None] / 6
    held = partial(spearman_matrices(values, np.ones((1, 12))), 1)
    assert held[0, 0, 2] == pytest.approx(
        partial_spearman(values[:, 0], values[:, 2], values[:, 1])
    )
    assert np.isnan(held[0, 0, 1])  # nothing of the fixed one is left


def test_the_mean_leaves_out_groups_without_a_correlation() -> None:
    parts = [np.array([0.2, 0.2]), np.array([0.8, np.nan])]
    assert mean_over(parts, np.array([[1.0, 3.0], [2.0, 1.0]])).tolist() == pytest.approx(
        [0.65, 0.2]
    )


def correlations(
    generator: np.random.Generator, methods: int, shared: float, noise: float = 0.5
) -> np.ndarray:
    """Draws of the correlation of one quantity with another, of methods and three seeds."""
    own = generator.normal(size=(methods, 2))
    own[:, 1] = shared * own[:, 0] + np.sqrt(1 - shared**2) * own[:, 1]
    draws = Draws.of(methods, 3, 200)
    parts = [
        spearman_matrices(own + noise * generator.normal(size=own.shape), draws.methods)
        for _ in range(3)
    ]
    return mean_over(parts, draws.seeds)[:, 0, 1]


@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_intervals_cover_the_mean_of_the_estimates(shared: float) -> None:
    generator = np.random.default_rng(1)
    estimates = [Estimates.of(correlations(generator, 10, shared)[:, None], 10) for _ in range(60)]
    truth = np.mean([one.value for one in estimates])
    covered = [bool(one.low[0] <= truth <= one.high[0]) for one in estimates]
    assert np.mean(covered) > 0.89  # 95 % less two standard errors
    widths = [float(one.high[0] - one.low[0]) for one in estimates]
    assert np.mean(widths) < 1.4  # and they say something


def test_one_of_many_chance_correlations_does_not_hold() -> None:
    generator = np.random.default_rng(2)
    draws = np.stack([correlations(generator, 10, 0.0) for _ in range(60)], 1)
    estimates = Estimates.of(draws, 10)
    assert ((estimates.low > 0) | (estimates.high < 0)).any()
    assert not estimates.holds.any()
    planted = np.concatenate([draws, correlations(generator, 10, 1.0, 0.05)[:, None]], 1)
    assert Estimates.of(planted, 10).holds.tolist() == [False] * 60 + [True]


def test_a_correlation_that_many_draws_do_not_have_has_no_interval() -> None:
    draws = np.linspace(0.1, 0.5, 101)[:, None].repeat(2, 1)
    draws[1:20, 1] = np.nan
    draws = np.column_stack([draws, np.full(101, -1.0)])  # a perfect order in all draws
    estimates = Estimates.of(draws, 8)
    assert np.isfinite(estimates.low).tolist() == [True, False, False]
    assert not estimates.holds[1:].any()


def test_few_methods_have_no_interval() -> None:
    estimates = Estimates.of(np.full((3, 1), 0.5), 5)
    assert estimates.value.tolist() == [0.5]
    assert np.isnan(estimates.low).all()
    assert not estimates.holds.any()
