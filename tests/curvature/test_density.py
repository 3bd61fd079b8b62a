"""The spectral density against dense eigenvalues smoothed by the same kernel."""

import math
from functools import cache

import pytest
import torch
from cases import classification, dense_hessian, generator, mlp, operator_of, symmetric
from torch import Tensor

from landscape.curvature import (
    lanczos,
    lanczos_quadrature,
    smooth,
    smooth_together,
    spectral_density,
)
from landscape.curvature.estimators.density import Density
from landscape.curvature.estimators.lanczos import Eigenvalues
from landscape.errors import InputError, LandscapeError
from landscape.objective.objective import Objective

SPECTRUM = torch.cat(
    [torch.tensor([9.0, 7.0, -3.0]), torch.rand(57, generator=generator())]
).double()
GRID = torch.linspace(-4, 10, 57, dtype=torch.float64)


MATRIX = symmetric(SPECTRUM)


def smoothed(eigenvalues: Tensor, grid: Tensor, width: float) -> Tensor:
    kernel = torch.distributions.Normal(eigenvalues, width)
    return kernel.log_prob(grid[:, None]).exp().mean(1)


TRUTH = smoothed(SPECTRUM, GRID, 0.5)
BULK = (GRID > -0.5) & (GRID < 1.5)


@cache
def outer_pairs() -> Eigenvalues:
    return lanczos(operator_of(MATRIX), k=3, which="magnitude", tolerance=1e-9)


def density(*, deflated: bool = False, probes: int = 10, steps: int = 14, seed: int = 0) -> Density:
    known = outer_pairs() if deflated else None
    found = lanczos_quadrature(
        operator_of(MATRIX), probes=probes, steps=steps, deflate=known, seed=seed
    )
    return smooth(found, GRID, 0.5)


def coverage(quantile: float, **settings: object) -> Tensor:
    """How often each point of the density is within its band, over 200 seeds."""
    curves = [density(seed=seed, **settings) for seed in range(200)]  # type: ignore[arg-type]
    away = torch.stack([(c.density - TRUTH).abs() - quantile * c.standard_error for c in curves])
    return (away <= 1e-9).double().mean(0)


def test_the_band_covers_the_truth_as_often_as_it_claims() -> None:
    # Student t at 9 degrees of freedom; 95 % of 200 give or take four standard deviations.
    known = coverage(2.262, deflated=True, steps=8)  # the rest is narrow for the kernel
    assert float(known.min()) >= 0.88
    assert float(known[BULK].mean()) == pytest.approx(0.95, abs=0.04)
    plain = coverage(2.262)
    assert float(plain[BULK].min()) >= 0.88
    assert 0.70 <= float(plain.min()) <= 0.88  # the squared normal of a single eigenvalue


def test_known_eigenpairs_have_no_error() -> None:
    plain, deflated = density(), density(deflated=True)
    outliers = GRID > 5
    assert float(plain.standard_error[outliers].max()) > 1e-3
    assert float(deflated.standard_error[outliers].max()) < 1e-9
    torch.testing.assert_close(deflated.density[outliers], TRUTH[outliers], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        deflated.quadrature.weights.sum(1), torch.ones(10, dtype=torch.float64)
    )
    everything = lanczos(operator_of(MATRIX), k=60, tolerance=1e-9)
    dense = lanczos_quadrature(operator_of(MATRIX.float()), deflate=everything)
    assert dense.matvecs == 0
    torch.testing.assert_close(smooth(dense, GRID, 0.5).density, TRUTH, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("unit", [1e-25, 1e20])
def test_nodes_scale_with_the_operator_in_float32(unit: float) -> None:
    matrix = symmetric(SPECTRUM.float())
    settings = {"probes": 3, "steps": 12}
    plain = lanczos_quadrature(lambda v: matrix @ v, 60, **settings)
    found = lanczos_quadrature(lambda v: unit * (matrix @ v), 60, **settings)
    torch.testing.assert_close(found.nodes / unit, plain.nodes, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.weights, plain.weights, rtol=1e-2, atol=1e-3)


def test_pairs_of_another_operator_are_refused() -> None:
    pairs = lanczos(operator_of(MATRIX.flip(0, 1)), k=3, which="magnitude")
    with pytest.raises(InputError, match="another matrix or another point"):
        lanczos_quadrature(operator_of(MATRIX), deflate=pairs)
    with pytest.raises(InputError, match="pairs to deflate are of 60 dimensions"):
        lanczos_quadrature(lambda v: v, 50, deflate=pairs)


def test_few_steps_are_enough_for_a_wide_kernel() -> None:
    full, few = density(steps=60), density(steps=15)
    torch.testing.assert_close(few.density, full.density, rtol=0, atol=1e-3)
    assert few.quadrature.matvecs == 150


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_whole_mass_is_on_the_default_grid(dtype: torch.dtype) -> None:
    matrix = symmetric(SPECTRUM.to(dtype))
    curve = smooth(lanczos_quadrature(operator_of(matrix), probes=4, steps=20))
    assert float(torch.trapezoid(curve.density, curve.grid)) == pytest.approx(1, abs=1e-5)
    assert float(curve.grid[0]) < -3 < 9 < float(curve.grid[-1])
    assert curve.width == pytest.approx(0.12, rel=0.01)


def test_the_nodes_have_the_moments_of_the_probes() -> None:
    found = lanczos_quadrature(operator_of(MATRIX), probes=400, steps=3)
    for power in (0, 1, 2, 5):
        moments = (found.weights * found.nodes**power).sum(1)
        error = float(moments.std()) / 20
        assert float(moments.mean()) == pytest.approx(
            float((SPECTRUM**power).mean()), abs=4 * error + 1e-9
        )


@pytest.mark.parametrize(("value", "width"), [(0.0, 0.01), (-4.0, 0.04)])
def test_an_operator_with_one_eigenvalue_ends_after_one_product(value: float, width: float) -> None:
    curve = smooth(lanczos_quadrature(lambda v: value * v, 30, probes=5))
    assert curve.quadrature.matvecs == 5
    assert curve.width == pytest.approx(width)
    assert float(curve.grid[curve.density.argmax()]) == pytest.approx(value, abs=width / 10)
    peak = 1 / (width * math.sqrt(2 * math.pi))
    assert float(curve.density.max()) == pytest.approx(peak, rel=1e-3)


def test_no_eigenvalue_is_counted_twice() -> None:
    # Without reorthogonalisation an outlier comes back as a ghost and its weight is split.
    spectrum = torch.cat([torch.tensor([100.0]), torch.linspace(0.001, 1, 199)])
    matrix = symmetric(spectrum)
    found = lanczos_quadrature(lambda v: matrix @ v, 200, probes=2, steps=80)
    assert ((found.nodes > 50).sum(1) == 1).all()


def test_a_network_s_density_is_that_of_its_dense_hessian() -> None:
    objective = Objective(mlp(), classification())
    w = objective.space.vector()
    curve = spectral_density(objective, w, probes=40, width=0.05)
    truth = smoothed(torch.linalg.eigvalsh(dense_hessian(objective, w)), curve.grid, 0.05)
    sure = curve.standard_error > 1e-6
    assert float((curve.density - truth)[sure].abs().div(curve.standard_error[sure]).max()) < 5
    one, again = (spectral_density(objective, w, probes=2, width=0.05) for _ in range(2))
    assert torch.equal(again.density, one.density)


def test_several_densities_share_a_grid_that_holds_them_all() -> None:
    low, high = (lanczos_quadrature(lambda v, a=a: a * v, 30) for a in (-2.0, 8.0))
    one, other = smooth_together([low, high])
    assert torch.equal(one.grid, other.grid)
    assert one.width == other.width == pytest.approx(0.1)
    for curve in (one, other):
        assert float(torch.trapezoid(curve.density, curve.grid)) == pytest.approx(1, abs=1e-5)


def test_requests_that_make_no_sense_are_refused() -> None:
    for settings, message in (({"probes": 1}, "2 probes"), ({"steps": 0}, "1 step")):
        with pytest.raises(InputError, match=message):
            lanczos_quadrature(lambda v: v, 5, **settings)
    found = lanczos_quadrature(lambda v: v, 5)
    for width in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="width must be positive"):
            smooth(found, width=width)
    with pytest.raises(InputError, match="grid is a vector"):
        smooth(found, torch.zeros(2, 2))
    with pytest.raises(LandscapeError, match="not finite"):
        lanczos_quadrature(lambda v: v * torch.nan, 5)
