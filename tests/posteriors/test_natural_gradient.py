"""The natural gradient of log sigma and U, by dense matrices and by its known optimum."""

import pytest
import torch
from fisher_cases import dense_fisher, expected_gradient, flat, gaussian

from landscape.posteriors import Gaussian, GaussianTangent
from landscape.posteriors.fisher import exact
from landscape.posteriors.fisher.exact import CovarianceFisher
from landscape.posteriors.fisher.natural import natural_gradient, shorten


@pytest.mark.parametrize("rank", [0, 2])
def test_it_is_the_dense_solution(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CovarianceFisher.__init__, "__defaults__", (1e-13,))
    monkeypatch.setattr(exact, "_TOLERANCE", 1e-12)
    q, prior, weight = gaussian(7, rank), gaussian(7, 3), 0.2
    gradient, pull = expected_gradient(q), q.kl_gradient(prior)
    step = natural_gradient(q, gradient, pull, weight)
    # F step = gradient / weight + pull; the expected gradient has no part where F is singular.
    torch.testing.assert_close(
        dense_fisher(q) @ flat(step), flat(gradient) / weight + flat(pull), rtol=1e-6, atol=1e-7
    )
    assert float(step.mean.norm()) == 0


@pytest.mark.parametrize("rank", [0, 2])
def test_only_the_chosen_rows_move(rank: int) -> None:
    q, prior, rows = gaussian(7, rank), gaussian(7, 3), torch.tensor([1, 4, 5])
    gradient, pull = expected_gradient(q), q.kl_gradient(prior)
    step = natural_gradient(q, gradient, pull, 0.2, rows)
    others = torch.tensor([0, 2, 3, 6])
    assert float(step.log_scale[others].norm()) == float(step.factor[others].norm()) == 0
    assert bool((step.log_scale[rows] != 0).all())
    everything = natural_gradient(q, gradient, pull, 0.2, torch.arange(7))
    whole = natural_gradient(q, gradient, pull, 0.2)
    torch.testing.assert_close(everything.log_scale, whole.log_scale, rtol=0.2, atol=0.05)


def test_it_is_the_relative_distance_of_the_variances() -> None:
    """(sigma^2 / sigma_*^2 - 1) / 2 for a mean-field q, 1 / sigma_*^2 = 1 / s^2 + h / weight."""
    q, h, weight, s = gaussian(6, 0), torch.linspace(0.1, 3, 6).double(), 0.3, 0.7
    gradient = q.chain([torch.zeros(6).double()], [q.noise(torch.Generator())])
    expected = type(gradient)(gradient.mean, q.scale**2 * h, gradient.left, gradient.right)
    pull = q.kl_gradient(Gaussian.diagonal(torch.zeros_like(q.mean), s))
    optimum = 1 / (1 / s**2 + h / weight)
    found = natural_gradient(q, expected, pull, weight).log_scale
    torch.testing.assert_close(found, (q.scale**2 / optimum - 1) / 2)


def test_noise_shortens_the_steps_and_small_ones_stay() -> None:
    q = Gaussian(torch.zeros(3), torch.tensor([1.0, 2.0, 0.5]), torch.zeros(3, 1))
    squares, zero = torch.zeros(3), torch.zeros(3)
    steps = torch.tensor([[0.5, 4.0, -10.0], [0.5, 1.0, 100.0], [0.5, -2.0, 1.0]])
    columns = torch.tensor([[[3.0], [8.0], [0.0]], [[30.0], [80.0], [0.0]], [[0.0], [0.0], [0.0]]])
    found = [
        shorten(q, GaussianTangent(zero, step, column), squares, count)
        for count, (step, column) in enumerate(zip(steps, columns, strict=True))
    ]
    first, second, third = (step.log_scale for step in found)
    torch.testing.assert_close(first, torch.tensor([0.5, 1.0, -1.0]))
    torch.testing.assert_close(second, torch.tensor([0.5, 0.25, 5.0]))  # 100 / 10 is cut at 5
    # The weights 0.9 and 1 of the earlier squares, over their sum.
    size = torch.tensor([0.9 * 16 + 1, 0.9 * 100 + 10_000]).div(1.9).sqrt()
    torch.testing.assert_close(third[1:], torch.tensor([-2.0, 1.0]) / size)
    torch.testing.assert_close(found[0].factor, columns[0])  # 5 standard deviations
    torch.testing.assert_close(found[1].factor, columns[0])
    assert float(found[2].factor.norm()) == 0
