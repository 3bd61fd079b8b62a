"""Sharpness of losses for which the worst case and the mean are known."""

import math

import pytest
import torch
from cases import (
    Quadratic,
    classification,
    concentrated,
    dense_kl,
    generator,
    mlp,
    quadratic,
    symmetric,
)
from torch import Tensor, nn

from landscape.curvature import expected_sharpness, m_sharpness, worst_case_sharpness
from landscape.curvature.sharpness import kl_ball
from landscape.curvature.sharpness.ascent import ascend
from landscape.errors import InputError, LandscapeError
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Gaussian, GaussianTangent, Point, Posterior, Samples, isotropic

MATRIX = symmetric(torch.tensor([5.0, 3.0, 1.0, 0.5, -1.0]).double())
DATA = [(torch.zeros(2, 1), torch.zeros(2))]


def first(outputs: Tensor, _: Tensor) -> Tensor:
    return outputs[:, 0]


def product(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss linear in the outputs, another for every example."""
    return outputs[:, 0] * targets


def linear() -> Objective:
    model = nn.Linear(4, 1, bias=False).double()
    return Objective(model, [(x, y + 1.0) for x, y in classification(batch=7)], product)


def worst_on_sphere(gradient: Tensor, radius: float) -> float:
    """max g^T e + e^T A e / 2 over |e| = radius: (nu - A) e = g with nu above all eigenvalues."""
    values, vectors = torch.linalg.eigh(MATRIX)
    low, high = float(values[-1]), 1e4
    for _ in range(200):
        nu = (low + high) / 2
        step = vectors @ ((vectors.T @ gradient) / (nu - values))
        low, high = (nu, high) if float(step.norm()) > radius else (low, nu)
    return float(gradient @ step + 0.5 * step @ MATRIX @ step)


def test_the_worst_case_of_a_quadratic_at_its_minimum_is_its_largest_eigenvalue() -> None:
    found = m_sharpness(quadratic(MATRIX), torch.zeros(5).double(), radius=0.3, steps=80)
    assert found.value == pytest.approx(0.5 * 5 * 0.09, rel=1e-4)
    assert len(found.rises) == 3


def test_the_worst_case_of_a_quadratic_elsewhere_is_that_of_its_secular_equation() -> None:
    w = torch.linspace(-1, 1, 5, dtype=torch.float64)
    found = m_sharpness(quadratic(MATRIX), w, radius=2.0, steps=80)
    assert found.value == pytest.approx(worst_on_sphere(MATRIX @ w, 2.0), rel=1e-4)


@pytest.mark.parametrize("adaptive", [False, True])
def test_of_a_linear_loss_every_batch_has_radius_times_the_length_of_its_gradient(
    adaptive: bool,
) -> None:
    objective = linear()
    w = torch.tensor([1.0, -2.0, 0.0, 0.5]).double()
    batches = [(x, y) for x, y in objective.batches]
    scale = w.abs() if adaptive else torch.ones(4)
    rises = [0.1 * float((scale * (x * y[:, None]).mean(0)).norm()) for x, y in batches]
    found = m_sharpness(objective, w, radius=0.1, adaptive=adaptive, steps=3)
    assert found.rises == pytest.approx(rises)
    sizes = [7, 7, 7, 2]
    mean = sum(n * rise for n, rise in zip(sizes, rises, strict=True)) / 23
    assert found.value == pytest.approx(mean)
    spread = sum((n / 23 * (rise - mean)) ** 2 for n, rise in zip(sizes, rises, strict=True))
    assert found.standard_error == pytest.approx(math.sqrt(spread * 4 / 3))


def test_one_step_is_sam_s_perturbation_and_more_steps_rise_higher() -> None:
    objective = Objective(mlp(), classification(batch=23))
    w = objective.space.vector()
    gradient = objective.gradient(w)
    sam = objective.loss(w + 0.5 * gradient / gradient.norm()) - objective.loss(w)
    one, many = (m_sharpness(objective, w, radius=0.5, steps=steps).value for steps in (1, 20))
    assert one == pytest.approx(float(sam))
    assert many > one


@pytest.mark.parametrize("unit", [1e-25, 1e20])
@pytest.mark.parametrize("adaptive", [False, True])
def test_a_rise_scales_with_the_loss_in_float32(unit: float, adaptive: bool) -> None:
    batches = [(x.float(), y) for x, y in classification()]

    def scaled(outputs: Tensor, targets: Tensor) -> Tensor:
        return unit * nn.functional.cross_entropy(outputs, targets, reduction="none")

    objectives = [Objective(mlp().float(), batches, loss) for loss in ("cross_entropy", scaled)]
    w = objectives[0].space.vector()
    plain, found = (m_sharpness(each, w, adaptive=adaptive).value for each in objectives)
    assert found / unit == pytest.approx(plain, rel=1e-3)


def test_a_maximum_inside_the_ball_is_found() -> None:
    hill = quadratic(-torch.eye(2).double())
    found = m_sharpness(hill, torch.tensor([0.3, 0.4]).double(), radius=2.0, steps=30)
    assert found.value == pytest.approx(0.5 * 0.25, rel=1e-3)


def test_batches_are_split_into_m_examples() -> None:
    w = torch.ones(4).double()
    found = m_sharpness(linear(), w, m=3)
    parts = [
        (x, y + 1.0)
        for inputs, targets in classification(batch=7)
        for x, y in zip(inputs.split(3), targets.split(3), strict=True)
    ]
    truth = m_sharpness(Objective(nn.Linear(4, 1, bias=False).double(), parts, product), w)
    assert found == truth
    assert found.value > m_sharpness(linear(), w).value


def test_adaptive_sharpness_does_not_see_a_rescaling_of_relu_layers() -> None:
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False))
    objective = Objective(model.double(), classification())
    w = objective.space.vector()
    parts = objective.space.unflatten(w)
    other = objective.space.flatten(
        {"0.weight": 4 * parts["0.weight"], "2.weight": parts["2.weight"] / 4}
    )
    one, same = (m_sharpness(objective, v, radius=0.2, adaptive=True) for v in (w, other))
    assert same.value == pytest.approx(one.value, rel=1e-6)
    plain, changed = (m_sharpness(objective, v, radius=0.2) for v in (w, other))
    assert changed.value > 1.5 * plain.value


def test_the_expected_rise_of_a_quadratic_is_half_its_trace_times_the_variance() -> None:
    q = isotropic(Quadratic(MATRIX), 0.3, mean=torch.ones(5).double())
    found = expected_sharpness(q, DATA, samples=2000, loss=first)
    assert found.value == pytest.approx(0.5 * 0.09 * 8.5, abs=4 * found.standard_error)
    assert found.standard_error == pytest.approx(
        float(torch.tensor(found.rises).double().std()) / 2000**0.5
    )


def test_each_sample_and_the_mean_have_their_own_running_statistics() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    batches = classification(batch=23)
    space = ParameterSpace(model)
    vectors = space.vector() + torch.randn(3, space.size, generator=generator()).double()
    q = Posterior(space, Samples(vectors), calibration=batches)
    found = expected_sharpness(q, batches)
    space.module.train()  # the whole data in one batch has the right statistics
    at = [float(Objective(space, batches, buffers=q.buffers(w)).loss(w)) for w in vectors]
    flat = float(Objective(space, batches, buffers=q.buffers(q.mean)).loss(q.mean))
    assert sorted(found.rises) == pytest.approx(sorted(value - flat for value in at))


def test_a_point_does_not_rise() -> None:
    space = ParameterSpace(Quadratic(MATRIX))
    found = expected_sharpness(Posterior(space, Point(space.vector())), DATA, loss=first)
    assert found.value == 0
    assert math.isnan(found.standard_error)


@pytest.mark.parametrize("rank", [0, 2])
def test_the_worst_mean_within_the_kl_ball_is_an_eigenvalue(rank: int) -> None:
    # The quadratic rises by e^T A e / 2 under e^T Sigma^-1 e <= rho^2.
    factor = 0.2 * torch.randn(5, rank, generator=generator(), dtype=torch.float64)
    q = Gaussian(torch.zeros(5).double(), torch.linspace(0.1, 0.3, 5).double(), factor)
    sigma = torch.diag(q.scale**2) + factor @ factor.T
    root = torch.linalg.cholesky(sigma)
    truth = 0.5 * 0.5**2 * float(torch.linalg.eigvalsh(root.T @ MATRIX @ root)[-1])
    found = worst_case_sharpness(
        Posterior(ParameterSpace(Quadratic(MATRIX)), q),
        DATA,
        radius=0.5,
        covariance=False,
        pairs=2,
        steps=30,
        loss=first,
    )
    assert found.value == pytest.approx(truth, rel=1e-3)
    assert found.standard_error < 1e-9  # mirrored draws leave nothing of what is linear in them


def test_the_worst_gaussian_of_one_dimension_is_as_wide_as_the_ball_lets_it() -> None:
    # a sigma^2 (r - 1) / 2 under (r - 1 - log r) / 2 = rho^2 / 2, r the ratio of the variances.
    q = isotropic(Quadratic(torch.tensor([[4.0]]).double()), 0.5)
    low, high = 1.0, 10.0
    for _ in range(100):
        ratio = (low + high) / 2
        low, high = (ratio, high) if ratio - 1 - math.log(ratio) < 0.4**2 else (low, ratio)
    found = worst_case_sharpness(q, DATA, radius=0.4, pairs=500, steps=10, loss=first)
    truth = 0.5 * 4 * 0.25 * (ratio - 1)
    assert found.value == pytest.approx(truth, abs=4 * found.standard_error)
    assert found.standard_error < 0.1 * truth
    alone = worst_case_sharpness(q, DATA, radius=0.4, pairs=5, covariance=False, loss=first)
    assert alone.value < 0.5 * found.value


def test_a_worst_case_is_not_judged_by_the_draws_it_was_found_on() -> None:
    # In 200 dimensions the widths that suit two pairs of draws suit others less.
    q = isotropic(Quadratic(torch.eye(200).double()), 1.0)
    low, high = 1.0, 10.0
    for _ in range(100):
        ratio = (low + high) / 2
        low, high = (ratio, high) if 200 * (ratio - 1 - math.log(ratio)) < 4 else (low, ratio)
    found = worst_case_sharpness(q, DATA, radius=2.0, pairs=2, loss=first)
    truth = 0.5 * 200 * (ratio - 1)
    assert 0.3 * truth < found.value < truth


def test_a_wider_ball_has_a_higher_rise_on_a_network() -> None:
    model = mlp()
    q = isotropic(model, 0.1, mean=ParameterSpace(model).vector())
    rises = [
        worst_case_sharpness(q, classification(), radius=r, pairs=3).value for r in (0.1, 0.5, 2.0)
    ]
    assert 0 < rises[0] < rises[1] < rises[2]
    again = worst_case_sharpness(q, classification(), radius=0.5, pairs=3).value
    assert again == rises[1]


@pytest.mark.parametrize("concentration", [0.0, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("length", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("steps", [1, 5])
def test_the_worst_gaussian_is_no_better_than_that_of_the_mean_alone(
    concentration: float, length: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a weight's variance is that of U, whose gradient's noise is then large."""
    ends = []

    def recorded(starts: list[GaussianTangent], *rest: object) -> GaussianTangent:
        ends.append((starts, rest[0], ascend(starts, *rest)))  # type: ignore[arg-type]
        return ends[-1][2]

    monkeypatch.setattr(kl_ball, "ascend", recorded)
    q = concentrated(12, 2, concentration, length)
    matrix = symmetric(torch.linspace(0.1, 5, 12).double())
    posterior = Posterior(ParameterSpace(Quadratic(matrix)), q)
    for radius in (0.2, 1.0):
        found = worst_case_sharpness(
            posterior, DATA, radius=radius, pairs=8, steps=steps, loss=first
        )
        starts, value, end = ends.pop()
        assert 2 * dense_kl(q, end) / radius**2 < 1 + 1e-9
        assert value(end) >= max(value(start) for start in starts)  # type: ignore[operator]
        assert float(starts[-1].log_scale.abs().sum()) == 0
        assert 2 * dense_kl(q, starts[-1]) == pytest.approx(radius**2)
        alone = worst_case_sharpness(
            posterior, DATA, radius=radius, pairs=8, steps=steps, loss=first, covariance=False
        )
        ends.clear()
        # The covariance that was found suits the draws of the search better than those that judge.
        assert found.value > 0.8 * alone.value


def test_requests_that_make_no_sense_are_refused() -> None:
    objective, w = linear(), torch.ones(4).double()
    for settings, message in (
        ({"radius": 0.0}, "radius must be positive"),
        ({"radius": math.inf}, "radius must be positive"),
        ({"steps": 0}, "at least 1 step"),
        ({"m": 0}, "m must be at least 1"),
        ({"m": 8}, "at most 7 examples, fewer than m = 8"),
    ):
        with pytest.raises(InputError, match=message):
            m_sharpness(objective, w, **settings)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no batch"):
        m_sharpness(Objective(mlp(), []), torch.zeros(43).double())
    with pytest.raises(InputError, match="weights are not finite"):
        m_sharpness(objective, w * math.nan)
    holes = [(x * math.nan, y) for x, y in classification()]
    with pytest.raises(LandscapeError, match="loss is nan where the search begins"):
        m_sharpness(Objective(nn.Linear(4, 1, bias=False).double(), holes, product), w)
    with pytest.raises(LandscapeError, match="overflows there; take a smaller radius"):
        m_sharpness(quadratic(MATRIX.float()), torch.ones(5), radius=1e25)
    q = isotropic(Quadratic(MATRIX), 0.1)
    for name, value, message in (
        ("radius", -1.0, "radius must be positive"),
        ("pairs", 1, "at least 2 pairs"),
    ):
        with pytest.raises(InputError, match=message):
            worst_case_sharpness(q, DATA, loss=first, **{name: value})  # type: ignore[arg-type]
    point = Posterior(q.space, Point(q.mean))
    with pytest.raises(InputError, match="needs a Gaussian posterior"):
        worst_case_sharpness(point, DATA, loss=first)


def test_batches_smaller_than_m_may_come_first_and_inputs_hold_what_is_no_tensor() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp()

        def forward(self, x: Tensor, scale: int) -> Tensor:
            outputs: Tensor = scale * self.inner(x)
            return outputs

    batches = [({"x": x, "scale": 1}, y) for x, y in classification(batch=7)]
    forwards, backwards = (Objective(Scaled(), each) for each in (batches, batches[::-1]))
    w = forwards.space.vector()
    one, other = (m_sharpness(each, w, radius=0.1, m=4) for each in (forwards, backwards))
    assert one.value == pytest.approx(other.value)
    assert len(one.rises) == len(other.rises) == 7
