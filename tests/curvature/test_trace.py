"""The trace and the honesty of its standard error."""

import pytest
import torch
from cases import generator, symmetric

from landscape.curvature import hutchinson, lanczos
from landscape.errors import InputError, LandscapeError

SPECTRUM = torch.cat([torch.tensor([50.0, 20.0, -5.0]), torch.rand(97, generator=generator())])
MATRIX = symmetric(SPECTRUM.double())


def estimate(products: int, seed: int, deflated: bool = False) -> tuple[float, float]:
    top = None
    if deflated:
        top = lanczos(lambda v: MATRIX @ v, 100, 3, which="magnitude", dtype=torch.float64)
    found = hutchinson(
        lambda v: MATRIX @ v, 100, products=products, deflate=top, seed=seed, dtype=torch.float64
    )
    assert found.products == products
    return found.value, found.standard_error


@pytest.mark.parametrize("deflated", [False, True])
def test_the_standard_error_covers_the_truth_as_often_as_it_claims(deflated: bool) -> None:
    truth = float(SPECTRUM.double().sum())
    found = torch.tensor([estimate(20, seed, deflated) for seed in range(300)])
    covered = ((found[:, 0] - truth).abs() <= 2.093 * found[:, 1]).double().mean()  # t, 19 d.o.f.
    # 95 % of 300 give or take four standard deviations.
    assert 0.90 <= float(covered) <= 0.997
    bias = (found[:, 0].mean() - truth) / (found[:, 0].std() / 300**0.5)
    assert abs(float(bias)) < 4


def test_known_eigenpairs_lower_the_error_even_when_they_have_not_converged() -> None:
    plain, deflated = estimate(20, 0)[1], estimate(20, 0, deflated=True)[1]
    assert deflated < plain / 5
    rough = lanczos(lambda v: MATRIX @ v, 100, 3, max_products=4, dtype=torch.float64)
    assert not bool(rough.converged.all())
    values = torch.tensor(
        [
            hutchinson(
                lambda v: MATRIX @ v,
                100,
                products=20,
                deflate=rough,
                seed=seed,
                dtype=torch.float64,
            ).value
            for seed in range(200)
        ]
    )
    error = float(values.std()) / 200**0.5
    assert float(values.mean()) == pytest.approx(float(SPECTRUM.sum()), abs=4 * error)


def test_enough_products_give_the_trace_exactly() -> None:
    found = hutchinson(lambda v: MATRIX @ v, 100, products=100, dtype=torch.float64)
    assert found.value == pytest.approx(float(SPECTRUM.sum()), rel=1e-6)
    assert (found.standard_error, found.products) == (0, 100)


def test_requests_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="at least 2"):
        hutchinson(lambda v: v, 5, products=1)
    with pytest.raises(LandscapeError, match="not finite"):
        hutchinson(lambda v: v * torch.inf, 5, products=2)
