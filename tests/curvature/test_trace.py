"""The trace and the honesty of its standard error."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import generator, operator_of, symmetric
from torch import Tensor

from landscape.curvature import (
    Eigenvalues,
    Estimate,
    FunctionOperator,
    estimate_diagonal,
    estimate_squared_frobenius,
    hutch_pp,
    hutchinson,
    krylov_aware,
    lanczos,
    lanczos_quadrature,
)
from landscape.errors import InputError, LandscapeError

SPECTRUM = torch.cat([torch.tensor([50.0, 20.0, -5.0]), torch.rand(97, generator=generator())])
MATRIX = symmetric(SPECTRUM.double())
# As a network's: few large ones, some below zero, and no gap.
DECAYING = 50 * torch.arange(1.0, 301.0).double() ** -1.2
DECAYING[5::7] *= -0.3
NETWORK = symmetric(DECAYING)
TRACE, SQUARES = float(SPECTRUM.double().sum()), float((SPECTRUM.double() ** 2).sum())
Estimator = Callable[..., Any]


def known(products: int = 1000, *, keep_space: bool = False) -> Eigenvalues:
    return lanczos(
        operator_of(MATRIX),
        k=3,
        which="magnitude",
        max_matvecs=products,
        keep_space=keep_space,
    )


def estimate(estimator: Estimator = hutchinson, seed: int = 0, **settings: object) -> Estimate:
    return estimator(operator_of(MATRIX), seed=seed, **settings)


CASES: dict[str, tuple[Estimator, float, dict[str, object], float]] = {
    # The estimator, the truth, the settings, and the quantile of an interval of 95 %: a trace's
    # error comes from the spread of its n terms, so that two probes are as good as many.
    "hutchinson": (hutchinson, TRACE, {"matvecs": 20}, 1.96),
    "hutchinson, deflated": (hutchinson, TRACE, {"matvecs": 20, "deflate": known()}, 1.96),
    "hutchinson, two probes": (hutchinson, TRACE, {"matvecs": 2, "deflate": known()}, 1.96),
    "hutchinson, a space known": (
        hutchinson,
        TRACE,
        {"matvecs": 3, "deflate": known(20, keep_space=True)},
        1.96,
    ),
    "hutchinson to 20 %": (hutchinson, TRACE, {"tolerance": 0.2, "matvecs": 90}, 1.96),
    "hutch++": (hutch_pp, TRACE, {"matvecs": 60}, 1.96),
    "hutch++, deflated": (hutch_pp, TRACE, {"matvecs": 60, "deflate": known(4)}, 1.96),
    "hutch++ to 0.4 %": (hutch_pp, TRACE, {"tolerance": 4e-3, "matvecs": 90}, 1.96),
    "krylov": (krylov_aware, TRACE, {"matvecs": 24}, 1.96),
    "krylov, deflated": (krylov_aware, TRACE, {"matvecs": 9, "deflate": known(4)}, 1.96),
    "krylov to 1 %": (krylov_aware, TRACE, {"tolerance": 0.01, "matvecs": 90}, 1.96),
    "squared norm": (estimate_squared_frobenius, SQUARES, {"matvecs": 30}, 2.045),
    "squared norm, deflated": (
        estimate_squared_frobenius,
        SQUARES,
        {"matvecs": 30, "deflate": known(12)},
        2.045,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_standard_error_covers_the_truth_as_often_as_it_claims(name: str) -> None:
    estimator, truth, settings, quantile = CASES[name]
    found = [estimate(estimator, seed, **settings) for seed in range(200)]
    values = torch.tensor([one.value for one in found], dtype=torch.float64)
    errors = torch.tensor([one.standard_error for one in found], dtype=torch.float64)
    covered = ((values - truth).abs() <= quantile * errors).double().mean()
    # 95 % of 200 give or take four standard deviations.
    assert float(covered) == pytest.approx(0.95, abs=0.062)
    bias = (values.mean() - truth) / (values.std() / 200**0.5)
    assert abs(float(bias)) < 4


@pytest.mark.parametrize("estimator", [hutchinson, hutch_pp, krylov_aware])
def test_a_tolerance_is_met_by_no_more_products_than_it_takes(estimator: Estimator) -> None:
    rough, fine = (
        [estimate(estimator, seed, tolerance=tolerance, matvecs=98) for seed in range(50)]
        for tolerance in (0.25, 0.15)
    )
    for found, tolerance in ((rough, 0.25), (fine, 0.15)):
        met = [one.standard_error <= tolerance * one.value for one in found]
        assert met == [one.converged for one in found]
        assert sum(met) >= 40
    spent = [sum(one.matvecs for one in found) for found in (rough, fine)]
    assert spent[0] <= spent[1]
    short = estimate(estimator, tolerance=1e-6, matvecs=40)
    assert (short.matvecs, short.converged) == (40, False)


def test_the_pilot_that_decides_the_number_of_probes_is_thrown_away() -> None:
    values = []

    def matvec(v: Tensor) -> Tensor:
        image = MATRIX @ v
        values.append(float(v @ image))
        return image

    for estimator, pilot, settings in (
        (hutchinson, 5, {"tolerance": 0.2}),
        (estimate_squared_frobenius, 10, {"tolerance": 0.4}),
    ):
        values.clear()
        whole = estimator(
            FunctionOperator(matvec, 100, dtype=torch.float64), matvecs=90, **settings
        )
        assert pilot + 2 < whole.matvecs == len(values) < 90
        # The average of the rest alone, which another call with as many probes need not know.
        kept = torch.tensor(values[pilot:], dtype=torch.float64)
        if estimator is hutchinson:
            assert whole.value == pytest.approx(float(kept.mean()))


def test_the_error_is_known_from_two_probes_and_vanishes_where_signs_are_exact() -> None:
    entries = torch.randn(50, generator=generator(7), dtype=torch.float64)
    exact = hutchinson(operator_of(entries.diag()), matvecs=2)
    assert exact.value == pytest.approx(float(entries.sum()))
    assert exact.standard_error == pytest.approx(0.0, abs=1e-12)
    # Of a known variance, 2 (||A||_F^2 - sum A_ii^2), after what is known is taken out.
    errors = torch.tensor(
        [estimate(seed=seed, matvecs=2, deflate=known()).standard_error for seed in range(50)]
    )
    rest = MATRIX - (known().vectors.T * known().values) @ known().vectors
    truth = (rest.square().sum() - rest.diag().square().sum()).sqrt()
    assert float(errors.mean()) == pytest.approx(float(truth), rel=0.05)
    assert float(errors.std()) < 0.15 * float(truth)


def test_a_search_space_that_was_kept_lowers_the_error_for_nothing() -> None:
    found = known(20, keep_space=True)
    space = found.space
    assert space is not None
    assert known(20).space is None
    torch.testing.assert_close(space.vectors[:3], found.vectors)
    torch.testing.assert_close(
        space.vectors @ space.vectors.T, torch.eye(len(space.values), dtype=torch.float64)
    )
    quotients = (space.vectors @ MATRIX @ space.vectors.T).diag()
    torch.testing.assert_close(space.values, quotients)
    operator = operator_of(NETWORK)
    top = lanczos(operator, k=3, keep_space=True)
    without, by_pairs, by_space = (
        hutchinson(operator, matvecs=10, deflate=each).standard_error
        for each in (None, replace(top, space=None), top)
    )
    assert by_space < 0.8 * by_pairs < 0.8 * without


def test_a_krylov_space_takes_fewer_products_than_hutch_plus_plus() -> None:
    ours, theirs = (
        [estimator(operator_of(NETWORK), tolerance=0.01, seed=seed) for seed in range(20)]
        for estimator in (krylov_aware, hutch_pp)
    )
    assert sum(one.converged for one in ours) >= 16
    assert sum(o.matvecs for o in ours) < 0.7 * sum(t.matvecs for t in theirs)


def test_a_krylov_space_that_is_everything_or_invariant_leaves_nothing_to_estimate() -> None:
    found = krylov_aware(operator_of(MATRIX), matvecs=260)
    assert (found.value, found.standard_error) == (pytest.approx(TRACE), 0)
    everything = lanczos(operator_of(MATRIX), k=100)
    rest = estimate(krylov_aware, matvecs=40, deflate=everything)
    assert (rest.value, rest.standard_error) == (pytest.approx(TRACE), 0)
    zero = krylov_aware(lambda v: 0 * v, 100, matvecs=10)
    assert (zero.value, zero.standard_error, zero.matvecs) == (0, 0, 10)


def test_few_products_of_hutch_plus_plus_are_worth_many_of_hutchinson() -> None:
    plain = estimate(hutchinson, matvecs=60).standard_error
    assert estimate(hutch_pp, matvecs=60).standard_error < plain / 5


def test_low_rank_is_exact_for_hutch_plus_plus_whatever_is_known() -> None:
    row = torch.randn(100, generator=generator(2), dtype=torch.float64)
    operator = FunctionOperator(lambda v: row * (row @ v), 100, dtype=torch.float64)
    for deflate in (None, lanczos(operator, k=2)):
        found = hutch_pp(operator, matvecs=12, deflate=deflate)
        assert found.value == pytest.approx(float(row @ row))
        assert found.standard_error < 1e-9
        assert found.matvecs == 12


def test_known_eigenpairs_lower_the_error_even_when_they_have_not_converged() -> None:
    plain = estimate(matvecs=20).standard_error
    assert estimate(matvecs=20, deflate=known()).standard_error < plain / 5
    rough = known(4)
    assert not bool(rough.converged.all())
    values = torch.tensor(
        [estimate(seed=seed, matvecs=20, deflate=rough).value for seed in range(200)]
    )
    error = float(values.std()) / 200**0.5
    assert float(values.mean()) == pytest.approx(TRACE, abs=4 * error)


@pytest.mark.parametrize("settings", [{"matvecs": 100}, {"tolerance": 1e-9}])
def test_enough_products_multiply_the_operator_out(settings: dict[str, object]) -> None:
    for estimator, truth in (
        (hutchinson, TRACE),
        (hutch_pp, TRACE),
        (krylov_aware, TRACE),
        (estimate_squared_frobenius, SQUARES),
    ):
        found = estimate(estimator, **settings)
        assert found.value == pytest.approx(truth)
        assert found.standard_error == 0
        assert found.converged


def test_hutch_plus_plus_with_nothing_left_to_sketch() -> None:
    everything = lanczos(operator_of(MATRIX), k=100)
    found = estimate(hutch_pp, matvecs=40, deflate=everything)
    assert found.value == pytest.approx(TRACE)
    assert found.matvecs == 40


def test_the_diagonal_is_covered_as_often_as_it_claims() -> None:
    found = [estimate_diagonal(operator_of(MATRIX), matvecs=20, seed=seed) for seed in range(200)]
    values = torch.stack([one.values for one in found])
    errors = torch.stack([one.standard_errors for one in found])
    covered = ((values - MATRIX.diag()).abs() <= 2.093 * errors).double().mean(0)
    assert float(covered.mean()) == pytest.approx(0.95, abs=0.01)
    assert float(covered.min()) >= 0.88
    exact = estimate_diagonal(operator_of(MATRIX), matvecs=100)
    torch.testing.assert_close(exact.values, MATRIX.diag())
    assert (float(exact.standard_errors.max()), exact.matvecs) == (0, 100)


@pytest.mark.parametrize(
    "estimator",
    [hutchinson, hutch_pp, krylov_aware, estimate_squared_frobenius, estimate_diagonal],
)
def test_requests_that_make_no_sense_are_refused(estimator: Estimator) -> None:
    with pytest.raises(InputError, match="at least 2"):
        estimator(lambda v: v, 5, matvecs=1)
    with pytest.raises(LandscapeError, match="not finite"):
        estimator(lambda v: v * torch.inf, 50, matvecs=9)
    if estimator is not estimate_diagonal:
        for settings, message in (
            ({"tolerance": 0.0}, "tolerance must be positive"),
            ({"tolerance": torch.nan}, "tolerance must be positive"),
            ({"tolerance": 0.1, "matvecs": 11}, "at least 12"),
        ):
            with pytest.raises(InputError, match=message):
                estimator(lambda v: v, 50, **settings)


@pytest.mark.parametrize("settings", [{"matvecs": 2}, {"matvecs": 3}, {"matvecs": 5}])
def test_hutch_plus_plus_makes_do_with_little(settings: dict[str, int]) -> None:
    found = estimate(hutch_pp, **settings)
    assert found.matvecs == settings["matvecs"]
    assert found.standard_error > 0
    for products in (12, 20, 31):
        short = estimate(hutch_pp, tolerance=1e-9, matvecs=products)
        assert (short.matvecs, short.converged) == (products, False)


def test_what_is_known_of_the_squared_norm_is_taken_out_exactly() -> None:
    plain = estimate(estimate_squared_frobenius, matvecs=20).standard_error
    deflated = estimate(estimate_squared_frobenius, matvecs=20, deflate=known(12))
    assert deflated.standard_error < plain / 20
    exact = estimate(estimate_squared_frobenius, matvecs=100, deflate=known(12))
    assert exact.value == pytest.approx(SQUARES)


DEFLATING = [hutchinson, hutch_pp, krylov_aware, estimate_squared_frobenius]


@pytest.mark.parametrize("unit", [1e-25, 1e20])
@pytest.mark.parametrize("estimator", DEFLATING)
def test_estimates_scale_with_the_operator_in_float32(estimator: Estimator, unit: float) -> None:
    matrix = MATRIX.float()
    power = 2 if estimator is estimate_squared_frobenius else 1
    for settings in ({"matvecs": 20}, {"matvecs": 100}, {"tolerance": 0.3}):
        plain = estimator(lambda v: matrix @ v, 100, **settings)
        found = estimator(lambda v: unit * (matrix @ v), 100, **settings)
        assert found.value / unit**power == pytest.approx(plain.value, rel=1e-3)
        error = found.standard_error / unit**power
        assert error == pytest.approx(plain.standard_error, rel=1e-2)
        assert (found.matvecs, found.converged) == (plain.matvecs, plain.converged)


@pytest.mark.parametrize("space", [False, True])
@pytest.mark.parametrize("estimator", DEFLATING)
def test_pairs_of_another_operator_are_refused_or_not_needed(
    estimator: Estimator, space: bool
) -> None:
    pairs = known(keep_space=space)
    eye = torch.eye(100, dtype=torch.float64)
    truth = SQUARES if estimator is estimate_squared_frobenius else TRACE
    for other, times in ((MATRIX.flip(0, 1), 1.0), (MATRIX + eye, 1.0), (2 * MATRIX, 2.0)):
        for settings in ({"matvecs": 8}, {"tolerance": 0.01, "matvecs": 90}):
            with pytest.raises(InputError, match="another matrix or another point"):
                estimator(operator_of(other), deflate=pairs, **settings)
        if times == 2:
            found = estimator(operator_of(MATRIX), matvecs=100, deflate=pairs)
            assert (found.value, found.standard_error) == (pytest.approx(truth), 0)
    with pytest.raises(InputError, match="pairs to deflate are of 100 dimensions"):
        estimator(operator_of(eye[:50, :50]), deflate=pairs)


def test_pairs_of_another_operator_that_leave_nothing_to_estimate_are_refused() -> None:
    everything = lanczos(operator_of(MATRIX), k=100)
    for estimator in DEFLATING:
        with pytest.raises(InputError, match="another matrix"):
            estimator(operator_of(2 * MATRIX), matvecs=40, deflate=everything)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude"])
@pytest.mark.parametrize("estimator", [*DEFLATING, lanczos_quadrature])
def test_an_operator_s_own_pairs_are_never_refused(
    estimator: Estimator, which: Any, dtype: torch.dtype
) -> None:
    low_rank = torch.cat([torch.tensor([3.0, 2.0, 1.0]), torch.zeros(57)])
    for spectrum in (SPECTRUM, DECAYING[:80], low_rank, torch.zeros(40), torch.ones(40)):
        matrix = symmetric(spectrum.double()).to(dtype)
        few = {"steps": 5} if estimator is lanczos_quadrature else {"matvecs": 9}
        for seed, products in ((0, 3), (1, 8), (2, 400)):
            pairs = lanczos(
                operator_of(matrix),
                k=3,
                which=which,
                max_matvecs=products,
                seed=seed,
                keep_space=seed == 2,
            )
            estimator(operator_of(matrix), deflate=pairs, seed=seed, **few)
