"""Lanczos on spectra that others get wrong, against a dense eigensolver."""

from collections.abc import Callable

import pytest
import torch
from cases import generator, operator_of, symmetric
from torch import Tensor

from landscape.curvature import lanczos
from landscape.errors import InputError, LandscapeError

BULK = torch.linspace(0.001, 1.0, 195)
SPECTRA = {
    "ghosts": torch.cat([torch.tensor([100.0, 60.0, 40.0, 25.0, 15.0]), BULK]),
    "repeated": torch.cat([torch.tensor([5.0, 5.0, 5.0, 3.0, 3.0, 2.0]), BULK]),
    "clustered": torch.cat([5 + 1e-4 * torch.arange(6.0), BULK]),
    "negative": torch.cat([torch.tensor([-100.0, -60.0, 9.0, 8.0]), BULK]),
    "all negative": -torch.linspace(1.0, 50.0, 60),
    "zero": torch.zeros(50),
    "identity": torch.ones(40),
    "low rank": torch.cat([torch.tensor([3.0, 2.0, 1.0]), torch.zeros(97)]),
}
KEYS: dict[str, Callable[[Tensor], Tensor]] = {
    "largest": lambda values: -values,
    "smallest": lambda values: values,
    "magnitude": lambda values: -values.abs(),
}


@pytest.mark.parametrize("which", KEYS)
@pytest.mark.parametrize("name", SPECTRA)
def test_the_extreme_eigenvalues_and_no_others(name: str, which: str) -> None:
    spectrum = SPECTRA[name].double()
    matrix = symmetric(spectrum)
    found = lanczos(operator_of(matrix), k=8, which=which, tolerance=1e-8)
    truth = spectrum[KEYS[which](spectrum).argsort()[:8]]
    torch.testing.assert_close(found.values.abs(), truth.abs(), rtol=1e-7, atol=1e-7)
    if which != "magnitude":
        torch.testing.assert_close(found.values, truth, rtol=1e-7, atol=1e-7)
    assert bool(found.converged.all())
    torch.testing.assert_close(
        found.vectors @ found.vectors.T, torch.eye(8, dtype=torch.float64), atol=1e-8, rtol=0
    )


@pytest.mark.parametrize("name", SPECTRA)
def test_the_defaults_find_each_eigenvalue_as_often_as_it_is_there(name: str) -> None:
    spectrum = SPECTRA[name]
    matrix = symmetric(spectrum)
    found = lanczos(lambda v: matrix @ v, len(spectrum), 8)
    truth = spectrum.sort(descending=True).values[:8].double()
    torch.testing.assert_close(found.values, truth, rtol=1e-3, atol=1e-4)
    assert bool(found.converged.all())
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(8), atol=1e-5, rtol=0)


def test_ghosts_take_no_more_products_than_a_spectrum_of_their_size_needs() -> None:
    matrix = symmetric(SPECTRA["ghosts"])
    assert lanczos(lambda v: matrix @ v, 200, 5).matvecs <= 30
    assert lanczos(lambda v: v, 200, 5).matvecs <= 10  # an invariant subspace at every step


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_residual_is_what_it_says(name: str, dtype: torch.dtype) -> None:
    spectrum = SPECTRA[name].to(dtype)
    matrix = symmetric(spectrum)
    found = lanczos(operator_of(matrix), k=5)
    images = found.vectors @ matrix
    truth = (images - found.values.to(dtype)[:, None] * found.vectors).norm(dim=1).double()
    rounding = 30 * torch.finfo(dtype).eps * float(spectrum.abs().max())
    torch.testing.assert_close(found.residuals, truth, rtol=0.05, atol=rounding)
    distance = (found.values[:, None] - spectrum.double()).abs().min(1).values
    assert bool((distance <= found.residuals + rounding).all())


@pytest.mark.parametrize("unit", [1e-25, 1e20])
@pytest.mark.parametrize("name", SPECTRA)
def test_values_and_residuals_scale_with_the_operator_in_float32(name: str, unit: float) -> None:
    matrix = symmetric(SPECTRA[name])
    plain = lanczos(lambda v: matrix @ v, len(matrix), 5)
    found = lanczos(lambda v: unit * (matrix @ v), len(matrix), 5)
    rounding = 30 * torch.finfo(torch.float32).eps * float(matrix.norm())
    torch.testing.assert_close(found.values / unit, plain.values, rtol=1e-3, atol=rounding)
    assert bool(found.converged.all())
    images = unit * (found.vectors @ matrix)
    away = (images.double() - found.values[:, None] * found.vectors.double()).norm(dim=1)
    torch.testing.assert_close(found.residuals / unit, away / unit, rtol=0.05, atol=rounding)


def test_a_budget_that_is_spent_is_said() -> None:
    matrix = torch.diag(torch.linspace(1, 2, 200))
    found = lanczos(lambda v: matrix @ v, 200, 5, tolerance=1e-6, max_matvecs=12)
    assert found.matvecs == 12
    assert not found.converged.any()
    assert bool((found.residuals > 1e-6 * found.values).all())


@pytest.mark.parametrize("budget", range(7, 40))
def test_copies_that_the_budget_did_not_reach_are_not_said_to_have_been_looked_for(
    budget: int,
) -> None:
    spectrum = torch.cat([torch.tensor([10.0] * 5 + [5, 3, 2.5]), torch.linspace(0, 0.1, 92)])
    matrix = symmetric(spectrum.double())
    found = lanczos(operator_of(matrix), k=3, max_matvecs=budget)
    if bool(found.converged.all()):
        torch.testing.assert_close(found.values, torch.full((3,), 10.0).double(), rtol=1e-3, atol=0)
    else:
        assert not found.converged[1:].any()
    assert found.matvecs <= budget


@pytest.mark.parametrize(("size", "k"), [(1, 1), (2, 2), (7, 7), (40, 39)])
def test_all_eigenvalues_of_a_small_operator(size: int, k: int) -> None:
    spectrum = torch.randn(size, generator=generator(), dtype=torch.float64)
    matrix = symmetric(spectrum)
    found = lanczos(operator_of(matrix), k=k, tolerance=1e-8)
    torch.testing.assert_close(found.values, spectrum.sort(descending=True).values[:k])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_in_an_invariant_subspace_is_not_taken_for_a_direction(
    dtype: torch.dtype, seed: int
) -> None:
    identity = torch.eye(10, dtype=dtype)
    found = lanczos(operator_of(identity), k=9, seed=seed, tolerance=torch.finfo(dtype).eps)
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(9, dtype=dtype))
    torch.testing.assert_close(found.values, torch.ones(9, dtype=torch.float64))


def test_a_bounded_basis_restarts_and_still_converges() -> None:
    spectrum = torch.cat([torch.tensor([3.0, 2.9, 2.8]), torch.linspace(0, 2.5, 497)]).double()
    matrix = symmetric(spectrum)
    found = lanczos(operator_of(matrix), k=3, tolerance=1e-6, max_basis=12)
    torch.testing.assert_close(found.values, spectrum[:3], rtol=1e-6, atol=0)
    assert found.matvecs > 12


def test_an_operator_that_is_not_symmetric_shows_in_the_residuals() -> None:
    matrix = symmetric(SPECTRA["ghosts"].double())
    skew = torch.randn(200, 200, generator=generator(5), dtype=torch.float64)
    skewed = matrix + 0.1 * (skew - skew.T)
    clean = lanczos(operator_of(matrix), k=3)
    found = lanczos(operator_of(skewed), k=3, max_matvecs=60)
    assert bool((found.residuals > 0.1).all())
    assert not found.converged.any()
    assert bool(clean.converged.all())


def test_the_seed_governs_the_start() -> None:
    matrix = symmetric(SPECTRA["ghosts"])
    one, same, other = (
        lanczos(lambda v: matrix @ v, 200, 3, seed=seed).vectors for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_requests_that_make_no_sense_are_refused() -> None:
    for settings, message in (
        ({"k": 0}, "k must be between 1 and the 5"),
        ({"k": 6}, "k must be between"),
        ({"which": "middle"}, "which is one of"),
        ({"tolerance": 0.0}, "tolerance must be positive"),
        ({"tolerance": torch.nan}, "tolerance must be positive"),
        ({"tolerance": torch.inf}, "tolerance must be positive and finite"),
        ({"max_matvecs": 1}, "max_matvecs"),
        ({"max_basis": 2}, "max_basis"),
    ):
        with pytest.raises(InputError, match=message):
            lanczos(lambda v: v, 5, **{"k": 2, **settings})


def test_a_product_that_is_not_finite_stops_the_search_whenever_it_comes() -> None:
    diagonal, calls = torch.linspace(1, 2, 50), []

    def matvec(v: Tensor) -> Tensor:
        calls.append(v)
        return diagonal * v * (torch.inf if len(calls) == 5 else 1)

    with pytest.raises(LandscapeError, match="not finite"):
        lanczos(matvec, 50, 2, tolerance=1e-9)
    assert len(calls) == 5


SLOW_TAIL = torch.cat([35 * 0.87 ** torch.arange(40.0), torch.linspace(0.1, -0.1, 460)]).double()


def test_the_look_for_copies_takes_less_than_half_of_the_search() -> None:
    found = lanczos(operator_of(SLOW_TAIL.diag()), k=5)
    assert bool(found.converged.all())
    alone = min(
        budget
        for budget in range(5, found.matvecs)
        if bool((error_of(budget) <= 1e-3 * SLOW_TAIL[:5]).all())
    )
    assert found.matvecs < 1.5 * alone


def error_of(steps: int) -> Tensor:
    """Residuals of the five top pairs after so many steps, without a look for copies."""
    return lanczos(operator_of(SLOW_TAIL.diag()), k=5, max_matvecs=steps).residuals


@pytest.mark.parametrize("which", ["largest", "smallest"])
@pytest.mark.parametrize("gap", [0.0, 1e-12, 1e-9, 1e-7, 1e-5, 1e-4])
def test_copies_are_found_however_far_a_second_one_has_come(gap: float, which: str) -> None:
    spectrum = SLOW_TAIL.clone()
    spectrum[[1, 3]] = spectrum[[0, 2]] * (1 - gap)
    spectrum = spectrum if which == "largest" else -spectrum
    for seed in range(5):
        found = (
            lanczos(
                operator_of(spectrum.diag()), k=5, which=which, max_basis=5 + 3 * seed, seed=seed
            )
            if seed > 1
            else lanczos(operator_of(spectrum.diag()), k=5, which=which, seed=seed)
        )
        torch.testing.assert_close(found.values, spectrum[:5], rtol=1e-3, atol=0)
        assert bool(found.converged.all())


def test_the_chance_to_overlook_a_copy_is_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    spectrum = torch.cat([torch.full((2,), 4.0), torch.linspace(-1, 3, 48)]).double()
    operator = operator_of(spectrum.diag())

    def share_missed(chance: float) -> float:
        monkeypatch.setattr("landscape.curvature.estimators.lanczos._CHANCE", chance)
        seeds = range(20)
        return sum(float(lanczos(operator, k=2, seed=s).values[1]) < 3.9 for s in seeds) / 20

    assert share_missed(1e6) == 1.0  # without a look
    assert share_missed(0.2) <= 0.2
