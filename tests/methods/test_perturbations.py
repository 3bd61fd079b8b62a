"""FP-BMA's other steps in theta, against dense matrices, formulas by hand and each other."""

import pytest
import torch
from problems import blobs, network
from test_fisher import dense_fisher, expected_gradient, flat, gaussian

from landscape.errors import InputError
from landscape.methods import FPBMA, Problem, fisher
from landscape.methods.fisher import steepest_step
from landscape.methods.fp_bma import FISHERS
from landscape.methods.perturbations import (
    diagonal_step,
    empirical_step,
    euclidean_step,
    score,
    score_step,
)
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Gaussian, GaussianGradient, GaussianTangent, Posterior


def check_int(tangent: GaussianGradient | GaussianTangent) -> torch.Tensor:
    return torch.cat([tangent.mean, flat(tangent)])


def log_density_gradient(q: Gaussian, w: torch.Tensor) -> torch.Tensor:
    leaves = [q.mean.clone(), q.scale.log(), q.factor.clone()]
    for leaf in leaves:
        leaf.requires_grad_()
    mean, log_scale, factor = leaves
    covariance = torch.diag((2 * log_scale).exp()) + factor @ factor.T
    density = torch.distributions.MultivariateNormal(mean, covariance).log_prob(w)
    gradients = torch.autograd.grad(density, leaves, materialize_grads=True)
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


def test_the_diagonal_is_that_of_the_dense_fisher_information(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fisher, "share", lambda *_: 1.0)
    q = gaussian(7, 3)
    gradient = expected_gradient(q)
    precision = torch.linalg.inv(torch.diag(q.scale**2) + q.factor @ q.factor.T)
    information = torch.cat([precision.diagonal(), dense_fisher(q).diagonal()])
    g = check_int(gradient)
    truth = 0.2 * (g / information) / (g @ (g / information)).sqrt()
    torch.testing.assert_close(check_int(diagonal_step(q, gradient, 0.2)), truth)


def test_the_diagonal_is_exact_for_a_mean_field_gaussian() -> None:
    q = gaussian(7, 0)
    gradient = expected_gradient(q)
    exact, found = steepest_step(q, gradient, 0.2), diagonal_step(q, gradient, 0.2)
    torch.testing.assert_close(check_int(found), check_int(exact), rtol=1e-3, atol=1e-6)


def test_an_empty_column_does_not_move() -> None:
    base = gaussian(5, 2)
    q = Gaussian(base.mean, base.scale, base.factor * torch.tensor([0.0, 1.0]).double())
    step = diagonal_step(q, expected_gradient(base), 0.2)
    assert bool(step.norm().isfinite())
    assert float(step.factor[:, 0].norm()) == 0 < float(step.factor[:, 1].norm())


@pytest.mark.parametrize("rank", [0, 2])
def test_the_score_is_that_of_automatic_differentiation(rank: int) -> None:
    q = gaussian(6, rank)
    w = q.transform(q.noise(torch.Generator().manual_seed(1)))
    torch.testing.assert_close(check_int(score(q, w)), log_density_gradient(q, w))


@pytest.mark.parametrize("rank", [0, 2])
def test_steps_along_the_score(rank: int) -> None:
    q = gaussian(6, rank)
    noise = q.noise(torch.Generator().manual_seed(1))
    gradient, s = expected_gradient(q), log_density_gradient(q, q.transform(noise))
    slope = gradient.dot(score(q, q.transform(noise)))
    truth = 0.3 * torch.sign(slope) * s / s.norm() ** 2
    torch.testing.assert_close(check_int(empirical_step(q, gradient, 0.3, noise)), truth)
    step = score_step(q, gradient, 0.3, noise)
    for part, start, end in (
        (step.mean, 0, 6),
        (step.log_scale, 6, 12),
        (step.factor, 12, 12 + 6 * rank),
    ):
        block = s[start:end].reshape(part.shape)
        torch.testing.assert_close(part, 0.3 * block / block.norm())


def test_sam_on_theta_goes_along_the_gradient() -> None:
    q = gaussian(6, 2)
    gradient = expected_gradient(q)
    step = euclidean_step(q, gradient, 0.3)
    assert float(step.norm()) == pytest.approx(0.3)
    torch.testing.assert_close(
        check_int(step) / 0.3, check_int(gradient) / check_int(gradient).norm()
    )
    held = euclidean_step(q, gradient, 0.3, covariance=False)
    torch.testing.assert_close(held.mean, 0.3 * gradient.mean / gradient.mean.norm())


@pytest.mark.parametrize("fisher", FISHERS)
def test_every_choice_trains_and_at_radius_zero_is_the_same(fisher: str) -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    space = ParameterSpace(model)
    factor = 0.1 * torch.randn(space.size, 2, generator=torch.Generator().manual_seed(0)).double()
    scale = torch.full((space.size,), 0.2, dtype=torch.float64)
    prior = Posterior(space, Gaussian(space.vector(), scale, factor))
    batch = (task.train.inputs, task.train.targets)
    problem = Problem(space, task.loss, len(task.train), 10)
    ends = {}
    for name, radius in ((fisher, 0.0), ("exact", 0.0), (fisher, 0.3)):
        method = FPBMA(fisher=name, radius=radius)
        state = method.step(method.init(problem, prior=prior, seed=1), batch)
        ends[name, radius] = state.factor.clone()
        assert bool(state.last["perturbation_norm"] > 0) == (radius > 0)
    torch.testing.assert_close(ends[fisher, 0.0], ends["exact", 0.0], rtol=0, atol=0)
    assert float((ends[fisher, 0.3] - ends["exact", 0.0]).norm()) > 0


def test_a_random_perturbation_is_as_long_as_the_steepest_in_kl(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    space, radius, reached = ParameterSpace(model), 1e-2, {}
    factor = 0.1 * torch.randn(space.size, 2, generator=torch.Generator().manual_seed(0)).double()
    scale = torch.full((space.size,), 0.2, dtype=torch.float64)
    prior = Posterior(space, Gaussian(space.vector(), scale, factor))
    moved = Gaussian.moved
    for direction in ("steepest", "random"):
        found = []

        def watch(q: Gaussian, step: GaussianTangent, found: list[Gaussian] = found) -> Gaussian:
            found.append(moved(q, step))
            return found[-1]

        monkeypatch.setattr(Gaussian, "moved", watch)
        method = FPBMA(direction=direction, radius=radius, noise_samples=3)
        state = method.init(Problem(space, task.loss, len(task.train), 10), prior=prior)
        method.step(state, (task.train.inputs, task.train.targets))
        assert float(found[0].kl(prior.gaussian)) == pytest.approx(radius**2 / 2, rel=0.05)
        reached[direction] = found[0].mean
    assert float((reached["steepest"] - reached["random"]).norm()) > 0


def test_what_cannot_be_combined_is_refused() -> None:
    for settings, message in (
        ({"fisher": "full"}, "fisher must be one of exact, diagonal, identity, empirical, score"),
        ({"direction": "down"}, "direction must be one of steepest, random"),
        ({"fisher": "score", "noise_samples": 2}, "one noise sample"),
        ({"fisher": "empirical", "direction": "random"}, "one noise sample"),
        ({"noise_samples": 0}, "noise_samples must be at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            FPBMA(**settings)


def test_several_noise_samples_average_the_gradient() -> None:
    """At radius 0 and a fixed seed, one step is the mean of the steps of its noise samples."""
    task, model = blobs(dtype=torch.float64), network().double()
    space = ParameterSpace(model)
    scale = torch.full((space.size,), 0.2, dtype=torch.float64)
    prior = Posterior(space, Gaussian.diagonal(space.vector(), scale))
    batch, settings = (task.train.inputs, task.train.targets), {"radius": 0.0, "beta": 0.0}
    problem = Problem(space, task.loss, len(task.train), 10)
    one, many = FPBMA(**settings), FPBMA(**settings, noise_samples=3)
    singles, generator = [], None
    for _ in range(3):
        state = one.init(problem, prior=prior, seed=1)
        if generator is not None:
            state.generator = generator
        generator = state.generator
        singles.append(one.step(state, batch).mean)
    found = many.step(many.init(problem, prior=prior, seed=1), batch).mean
    torch.testing.assert_close(found, torch.stack(singles).mean(0))
