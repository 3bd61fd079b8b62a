"""Worst and average rises at given weights, of losses for which both are known."""

import itertools
import math

import pytest
import torch
from cases import Quadratic, classification, mlp, quadratic, symmetric
from scipy.special import stdtrit
from torch import Tensor, nn

from landscape.curvature import average_sharpness, ball_sharpness, m_sharpness, pac_bayes_sigma
from landscape.curvature.sharpness.ball import Norm
from landscape.errors import InputError, LandscapeError
from landscape.objective.objective import Objective

MATRIX = symmetric(torch.tensor([5.0, 3.0, 1.0, 0.5, 0.1]).double())
W = torch.tensor([1.0, -0.5, 0.3, 2.0, -1.0]).double()


def product(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs[:, 0] * targets


def linear() -> Objective:
    batches = [(x, y + 1.0) for x, y in classification()]
    return Objective(nn.Linear(4, 1, bias=False).double(), batches, product)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize(("norm", "dual"), [("l2", 2), ("linf", 1)])
def test_a_linear_loss_rises_by_the_radius_times_the_dual_norm_of_its_gradient(
    norm: Norm, dual: int, adaptive: bool
) -> None:
    objective, w = linear(), torch.tensor([1.0, -2.0, 0.0, 0.5]).double()
    gradient = torch.cat([x * y[:, None] for x, y in objective.batches]).mean(0)
    scale = w.abs() if adaptive else torch.ones(4)
    found = ball_sharpness(objective, w, radius=0.1, norm=norm, adaptive=adaptive)
    assert found.value == pytest.approx(0.1 * float((scale * gradient).norm(dual)))
    assert found.spread == pytest.approx(0, abs=1e-6)
    assert len(found.rises) == 3


def worst_on_sphere(matrix: Tensor, gradient: Tensor, radius: float) -> float:
    """max g^T e + e^T A e / 2 over |e| = radius, by bisection of the secular equation."""
    values, vectors = torch.linalg.eigh(matrix)
    low, high = float(values[-1]), 1e4
    for _ in range(200):
        nu = (low + high) / 2
        step = vectors @ ((vectors.T @ gradient) / (nu - values))
        low, high = (nu, high) if float(step.norm()) > radius else (low, nu)
    return float(gradient @ step + 0.5 * step @ matrix @ step)


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_worst_case_of_a_quadratic_in_a_sphere(adaptive: bool) -> None:
    scale = W.abs() if adaptive else torch.ones(5).double()
    truth = worst_on_sphere(scale[:, None] * MATRIX * scale, scale * (MATRIX @ W), 2.0)
    found = ball_sharpness(quadratic(MATRIX), W, radius=2.0, adaptive=adaptive, steps=60)
    assert found.value == pytest.approx(truth, rel=1e-4)


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_worst_case_of_a_convex_quadratic_in_a_cube_is_at_a_corner(adaptive: bool) -> None:
    scale = W.abs() if adaptive else torch.ones(5).double()
    corners = [torch.tensor(c).double() * scale for c in itertools.product([-0.7, 0.7], repeat=5)]
    truth = max(float(MATRIX @ W @ e + 0.5 * e @ MATRIX @ e) for e in corners)
    found = ball_sharpness(
        quadratic(MATRIX), W, radius=0.7, norm="linf", adaptive=adaptive, restarts=5
    )
    assert found.value == pytest.approx(truth)


class Hills(nn.Module):
    """L(w) of one weight: a low hill on the right, uphill from 0, and a high one on the left."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        w = self.w
        value = torch.exp(-20 * (w - 0.5) ** 2) + 3 * torch.exp(-20 * (w + 0.9) ** 2)
        return value.expand(len(inputs), 1)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_searches_from_several_places_find_the_higher_hill_and_say_that_they_differ(
    norm: Norm,
) -> None:
    data = [(torch.zeros(2, 1), torch.zeros(2))]
    objective = Objective(Hills(), data, lambda outputs, _: outputs[:, 0])
    low, high = (
        ball_sharpness(objective, radius=1.0, norm=norm, steps=40, restarts=n) for n in (1, 8)
    )
    base = float(objective.loss())
    assert low.value == pytest.approx(1 - base, rel=1e-3)
    assert high.value == pytest.approx(3 - base, rel=1e-3)
    assert high.spread == pytest.approx(2, rel=1e-3)


def test_the_ball_of_one_batch_is_that_of_m_sharpness() -> None:
    objective = Objective(mlp(), classification(batch=23))
    for adaptive in (False, True):
        one = ball_sharpness(objective, radius=0.3, adaptive=adaptive, steps=15, restarts=1)
        many = m_sharpness(objective, radius=0.3, adaptive=adaptive, steps=15)
        assert one.value == pytest.approx(many.value)


def test_the_worst_case_does_not_depend_on_the_batches() -> None:
    values = [
        ball_sharpness(Objective(mlp(), classification(batch=n)), norm="linf").value
        for n in (5, 23)
    ]
    assert values[0] == pytest.approx(values[1])


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_average_rise_of_a_quadratic_is_half_its_trace(adaptive: bool) -> None:
    scale = W.abs() if adaptive else torch.ones(5).double()
    truth = 0.5 * 0.1**2 * float((scale**2 * MATRIX.diag()).sum())
    found = average_sharpness(quadratic(MATRIX), W, deviation=0.1, adaptive=adaptive, pairs=100)
    assert abs(found.value - truth) < 3 * found.standard_error < 0.5 * truth


def test_its_interval_holds_the_average_rise_about_19_times_in_20() -> None:
    data = [(torch.zeros(1, 1), torch.zeros(1))]
    objective = Objective(Quadratic(MATRIX), data, lambda outputs, _: outputs[:, 0])
    truth, pairs, held = 0.5 * 0.1**2 * float(MATRIX.trace()), 4, 0
    for seed in range(200):
        found = average_sharpness(objective, W, deviation=0.1, pairs=pairs, seed=seed)
        t = abs(found.value - truth) / found.standard_error
        held += t < float(stdtrit(pairs - 1, 0.975))
    assert 0.88 < held / 200 < 0.985


def test_the_average_rise_of_a_linear_loss_is_nothing() -> None:
    found = average_sharpness(linear(), deviation=0.5, pairs=3)
    assert found.value == pytest.approx(0, abs=1e-12)
    assert len(found.rises) == 3


class OneWeightEach(nn.Module):
    """Example i is right where its own weight is positive."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(weights)

    def forward(self, numbers: Tensor) -> Tensor:
        logits = self.w[numbers.long()]
        return torch.stack([logits, torch.zeros_like(logits)], 1)


@pytest.mark.parametrize("magnitude_aware", [False, True])
def test_the_noise_that_costs_a_tenth_of_the_accuracy_is_that_of_the_normal_distribution(
    magnitude_aware: bool,
) -> None:
    """P(w (1 + sigma z) > 0) = Phi(1 / sigma) is 0.9 at sigma = 1 / 1.2816."""
    sizes = torch.logspace(-1, 2, 400) if magnitude_aware else torch.full((400,), 3.0)
    data = [(torch.arange(400.0), torch.zeros(400, dtype=torch.long))]
    objective = Objective(OneWeightEach(sizes), data)
    found = pac_bayes_sigma(objective, magnitude_aware=magnitude_aware, draws=10, floor=0.0)
    unit = 1.0 if magnitude_aware else 3.0
    # the accuracy's standard error over its slope: sqrt(0.09 / 4000) / (phi(1.2816) / sigma^2)
    error = unit * 0.00474 / (0.1755 * 1.2816**2)
    assert abs(found.value - unit / 1.2816) < 3 * error
    assert found.standard_error == pytest.approx(error, rel=0.7)
    assert found.evaluations % 10 == 0


def test_noise_of_a_fixed_size_is_added_where_it_is_aware_of_magnitudes() -> None:
    """Weights of 0.001 are lost to a floor of 0.001 already: Phi(1) = 0.84."""
    data = [(torch.arange(400.0), torch.zeros(400, dtype=torch.long))]
    objective = Objective(OneWeightEach(torch.full((400,), 1e-3)), data)
    with pytest.raises(LandscapeError, match="the least noise lets the accuracy fall by"):
        pac_bayes_sigma(objective, magnitude_aware=True, draws=4, floor=1e-3)
    assert pac_bayes_sigma(objective, magnitude_aware=True, draws=4, floor=5e-4).value > 0.3


def test_an_accuracy_that_cannot_fall_is_said_in_a_line() -> None:
    data = [(torch.arange(20.0), torch.ones(20, dtype=torch.long))]
    with pytest.raises(LandscapeError, match="the accuracy is 0: it cannot fall by"):
        pac_bayes_sigma(Objective(OneWeightEach(torch.ones(20)), data))

    class Constant(OneWeightEach):
        def forward(self, numbers: Tensor) -> Tensor:
            return super().forward(numbers).sigmoid() * torch.tensor([1.0, -1.0])

    data = [(torch.arange(20.0), torch.zeros(20, dtype=torch.long))]
    with pytest.raises(LandscapeError, match="no noise lets the accuracy of 1 fall by 0"):
        pac_bayes_sigma(Objective(Constant(torch.ones(20)), data), draws=2)
    with pytest.raises(InputError, match="needs targets that are classes"):
        pac_bayes_sigma(linear())
    for settings, message in (
        ({"drop": 0.0}, "drop must be in"),
        ({"drop": 1.0}, "drop must be in"),
        ({"tolerance": 0.0}, "tolerance must be in"),
        ({"floor": -1.0}, "floor must be finite"),
        ({"draws": 1}, "draws must be at least 2"),
    ):
        with pytest.raises(InputError, match=message):
            pac_bayes_sigma(linear(), **settings)  # type: ignore[arg-type]


def test_bad_requests_are_refused_in_a_line() -> None:
    objective = linear()
    with pytest.raises(InputError, match="unknown norm 'l1'; known: l2, linf"):
        ball_sharpness(objective, norm="l1")  # type: ignore[arg-type]
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="radius must be positive"):
            ball_sharpness(objective, radius=wrong)
        with pytest.raises(InputError, match="deviation must be positive"):
            average_sharpness(objective, deviation=wrong)
    with pytest.raises(InputError, match="number of restarts must be at least 1"):
        ball_sharpness(objective, restarts=0)
    with pytest.raises(InputError, match="at least 1 step"):
        ball_sharpness(objective, steps=0)
    with pytest.raises(InputError, match="pairs of draws must be at least 2"):
        average_sharpness(objective, pairs=1)
    for measure in (ball_sharpness, average_sharpness):
        with pytest.raises(InputError, match="the weights are not finite"):
            measure(objective, torch.full((4,), math.nan).double())


def test_a_loss_that_overflows_says_so() -> None:
    model = Quadratic(torch.eye(2))
    data = [(torch.zeros(2, 1), torch.zeros(2))]
    objective = Objective(model, data, lambda outputs, _: (80 * outputs[:, 0]).exp())
    with pytest.raises(LandscapeError, match="overflows there; take a smaller radius"):
        ball_sharpness(objective, torch.ones(2), radius=10)
    with pytest.raises(LandscapeError, match="take a smaller deviation"):
        average_sharpness(objective, torch.ones(2), deviation=10)
