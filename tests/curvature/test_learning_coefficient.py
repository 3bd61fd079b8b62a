"""The local learning coefficient of losses whose tempered density is known."""

import math

import numpy as np
import pytest
import torch
from cases import Quadratic, classification, mlp, symmetric
from torch import Tensor, nn

from landscape.curvature import local_learning_coefficient
from landscape.curvature.sharpness.learning_coefficient import split_r_hat
from landscape.errors import InputError, LandscapeError
from landscape.objective.objective import Objective

SPECTRUM = torch.tensor([5.0, 3.0, 1.0, 0.5, 0.1]).double()


def quadratic(examples: int = 50, scale: float = 1.0) -> Objective:
    data = [(torch.zeros(examples, 1), torch.zeros(examples))]
    matrix = symmetric(SPECTRUM)
    return Objective(Quadratic(matrix), data, lambda outputs, _: scale * outputs[:, 0])


def test_for_a_quadratic_it_is_half_the_number_of_directions_that_the_loss_holds() -> None:
    objective, gamma, n_beta = quadratic(), 100.0, 50 / math.log(50)
    held = n_beta * SPECTRUM
    curvature = held + gamma
    found = local_learning_coefficient(
        objective,
        chains=5,
        steps=160,
        localisation=gamma,
        step_size=0.8 / float(curvature.max()),
        metropolis=False,
    )
    # Langevin steps of size s without a test make the variance larger, by 1 / (1 - s h / 4)
    excess = 1 / (1 - found.step_size * curvature / 4)
    truth = float((0.5 * held / curvature * excess).sum())
    assert abs(found.value - truth) < 3.5 * found.standard_error
    assert found.standard_error < 0.25 * truth
    assert found.inverse_temperature == pytest.approx(1 / math.log(50))
    assert found.is_settled
    assert np.mean(found.chains) == pytest.approx(found.value)
    error = np.std(found.chains, ddof=1) / math.sqrt(5)
    assert found.standard_error == pytest.approx(error)


def test_metropolis_steps_may_be_long_and_stay_exact() -> None:
    """At s h = 1.5 steps without a test have 1.6 times the variance along the steepest axis."""
    gamma = 50.0
    held = 50 / math.log(50) * SPECTRUM
    curvature = held + gamma
    step = 1.5 / float(curvature.max())
    found = local_learning_coefficient(
        quadratic(), chains=5, steps=200, localisation=gamma, step_size=step
    )
    truth = float((0.5 * held / curvature).sum())
    untested = float((0.5 * held / curvature / (1 - step * curvature / 4)).sum())
    assert abs(found.value - truth) < 3.5 * found.standard_error
    assert found.value + 3.5 * found.standard_error < untested
    assert 0.4 < found.acceptance < 0.95


def test_a_singular_loss_has_a_coefficient_below_half_of_its_dimensions() -> None:
    """L = (u v)^2 / 2 has the coefficient 1/2 and not 1; its Hessian at 0 is zero."""

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def forward(self, inputs: Tensor) -> Tensor:
            return (0.5 * (self.w[0] * self.w[1]) ** 2).expand(len(inputs), 1)

    data = [(torch.zeros(50, 1), torch.zeros(50))]
    objective = Objective(Product(), data, lambda outputs, _: outputs[:, 0])
    n_beta, gamma = 20.0, 1.0
    found = local_learning_coefficient(
        objective,
        chains=4,
        steps=200,
        inverse_temperature=n_beta / 50,
        localisation=gamma,
        step_size=0.3,
    )
    # E[n beta L] by quadrature of the density
    line = torch.linspace(-8, 8, 801, dtype=torch.float64)
    u, v = torch.meshgrid(line, line, indexing="ij")
    loss = n_beta * 0.5 * (u * v) ** 2
    density = (-loss - gamma / 2 * (u**2 + v**2)).exp()
    truth = float((loss * density).sum() / density.sum())
    assert truth < 0.5
    assert abs(found.value - truth) < 4 * found.standard_error


def test_chains_that_have_not_settled_are_known() -> None:
    """Two weak directions need 1 / (s h) steps, far more than there are."""
    found = local_learning_coefficient(
        quadratic(), torch.full((5,), 3.0).double(), localisation=1e-3, steps=40, step_size=1e-4
    )
    assert found.r_hat > 1.1
    assert not found.is_settled


def test_chains_that_reject_all_steps_have_not_settled_although_they_agree() -> None:
    found = local_learning_coefficient(
        quadratic(scale=1e4), localisation=50.0, step_size=1.0, steps=40, burn_in=0.0
    )
    assert found.acceptance < 0.1
    assert not found.is_settled


def test_split_r_hat_of_known_draws() -> None:
    draws = np.random.default_rng(0).normal(size=(4, 1000))
    assert split_r_hat(draws) == pytest.approx(1, abs=0.01)
    assert split_r_hat(draws + np.arange(4)[:, None]) > 1.4  # other places
    assert split_r_hat(draws + np.linspace(0, 3, 1000)) > 1.2  # a drift
    # by hand: halves (0, 2), (2, 4), (0, 2), (2, 4): within 2, means 1, 3, 1, 3 of variance 4/3
    by_hand = np.array([[0.0, 2.0, 2.0, 4.0], [0.0, 2.0, 2.0, 4.0]])
    assert split_r_hat(by_hand) == pytest.approx(math.sqrt(1 / 2 + 4 / 3 / 2))
    assert split_r_hat(np.ones((2, 6))) == 1
    assert split_r_hat(np.array([[0.0, 0, 1, 1], [0, 0, 1, 1]])) == math.inf


@pytest.mark.parametrize(("metropolis", "share"), [(True, 0.6), (False, 0.2)])
def test_the_step_is_a_share_of_what_the_largest_curvature_allows(
    metropolis: bool, share: float
) -> None:
    found = local_learning_coefficient(
        quadratic(), chains=2, steps=8, localisation=30.0, metropolis=metropolis
    )
    largest = 50 / math.log(50) * 5 + 30
    assert found.step_size == pytest.approx(share / largest, rel=0.05)


def test_it_does_not_depend_on_the_batches() -> None:
    values = [
        local_learning_coefficient(
            Objective(mlp(), classification(batch=n)), chains=2, steps=8
        ).value
        for n in (7, 23)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_bad_requests_are_refused_in_a_line() -> None:
    objective = quadratic()
    for settings, message in (
        ({"chains": 1}, "number of chains must be at least 2"),
        ({"steps": 3}, "number of steps must be at least 4"),
        ({"burn_in": 1.0}, "burn_in must be in"),
        ({"burn_in": 0.9, "steps": 20}, "leave 4 of 20 steps"),
        ({"localisation": 0.0}, "localisation must be positive"),
        ({"inverse_temperature": -1.0}, "inverse_temperature must be positive"),
        ({"step_size": math.inf}, "step_size must be positive and finite"),
    ):
        with pytest.raises(InputError, match=message):
            local_learning_coefficient(objective, **settings)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 3 examples, not 2"):
        local_learning_coefficient(quadratic(examples=2))
    with pytest.raises(LandscapeError, match="a chain diverges at the step size 1e"):
        local_learning_coefficient(objective, step_size=1e30, steps=50, metropolis=False)
