"""The Langevin samplers against hand-written steps and known stationary distributions."""

import math
from typing import Any

import pytest
import torch
from problems import blobs, exact_posterior, network, regression
from scipy.linalg import solve_discrete_lyapunov
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.methods import (
    SAM,
    SGHMC,
    SGLD,
    CyclicalSGLD,
    EntropyMCMC,
    PretrainYourLoss,
    Problem,
    State,
)
from landscape.methods.sgmcmc.langevin import Langevin, prior_slope
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Gaussian, Point, Posterior, isotropic

STEPS, COPIES = 400, 12
"""The chains are independent and many, so that few steps draw as many samples as one long chain."""
BURN_IN = 0.2


def chains(samples: Tensor) -> Tensor:
    """Samples (S, R P) of R copies of a problem, one copy after the other: (R S, P)."""
    return samples.view(len(samples), COPIES, -1).transpose(0, 1).flatten(0, 1)


def low_rank_prior(space: ParameterSpace) -> Posterior:
    generator = torch.Generator().manual_seed(1)
    factor = 0.3 * torch.randn(space.size, 2, generator=generator, dtype=torch.float64)
    scale = 0.2 + torch.rand(space.size, generator=generator, dtype=torch.float64)
    return Posterior(space, Gaussian(space.vector() + 0.1, scale, factor))


def log_density(q: Gaussian, w: Tensor, scale: float = 1.0) -> Tensor:
    covariance = scale * (torch.diag(q.scale**2) + q.factor @ q.factor.T)
    return torch.distributions.MultivariateNormal(q.mean, covariance).log_prob(w)


def check_stationary(samples: Tensor, mean: Tensor, precision: Tensor, h: float, t: float) -> None:
    """Compare a chain of w <- w - (h / 2) A (w - m) + sqrt(h T) z with its stationary Gaussian.

    That has the mean m and the covariance T (A - h A^2 / 4)^-1, exactly. In an eigendirection of A
    the chain has the autocorrelation rho^lag with rho = 1 - h lambda / 2: n places are worth
    n (1 - rho) / (1 + rho) draws for a mean and n (1 - rho^2) / (1 + rho^2) for a variance.
    """
    values, vectors = torch.linalg.eigh(precision)
    rho = 1 - h * values / 2
    assert 0 < float(rho.min()) < float(rho.max()) < 0.99
    white = (samples - mean) @ vectors / (t / (values - h * values**2 / 4)).sqrt()
    check_white(white, (1 + rho) / (1 - rho), (1 + rho**2) / (1 - rho**2))


def check_white(white: Tensor, time: Tensor, time_of_squares: Tensor) -> None:
    """Check that the columns of a chain (S, P) have mean 0, variance 1 and no correlation.

    Args:
        white: The chain.
        time: The sum of each column's autocorrelations over all lags, shape (P,).
        time_of_squares: The sum of their squares.
    """
    assert float((white.mean(0) * (len(white) / time).sqrt()).abs().max()) < 5
    worth = len(white) / time_of_squares
    variances = (white**2).mean(0)
    assert float(((variances - 1) * (worth / 2).sqrt()).abs().max()) < 5
    pooled = (variances * worth).sum() / worth.sum()
    assert abs(float(pooled) - 1) < 5 * math.sqrt(2 / float(worth.sum())) < 0.1
    covariance = white.T @ white / len(white)
    off_diagonal = covariance - torch.diag(covariance.diagonal())
    assert float((off_diagonal * worth.min().sqrt()).abs().max()) < 5


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_sgld_samples_the_posterior_at_its_temperature(temperature: float) -> None:
    model, task = regression(60, 8, COPIES)
    mean, covariance = exact_posterior(task, prior_variance=0.25)
    precision = torch.linalg.inv(covariance)
    h = 1.6 / float(torch.linalg.eigvalsh(precision)[-1])
    method = SGLD(
        epochs=STEPS,
        burn_in=BURN_IN,
        batch_size=60,
        learning_rate=h * 60 / 2,
        temperature=temperature,
        prior_scale=0.5,
    )
    samples = method.fit(model, task, device="cpu").distribution.tensors()["vectors"]
    assert len(samples) == (1 - BURN_IN) * STEPS
    check_stationary(chains(samples), mean, precision, h, temperature)


def transition(a: float, h: float, c: float, t: float) -> tuple[Tensor, Tensor]:
    """The matrix M and the noise's covariance Q of a step of SGHMC by (w, v), for U = a w^2 / 2."""
    one, zero = torch.eye(2).double(), torch.zeros(2, 2).double()
    kick, drift, friction, noise = one.clone(), one.clone(), one.clone(), zero.clone()
    kick[1, 0], drift[0, 1], friction[1, 1], noise[1, 1] = -h * a, h / 2, c, (1 - c**2) * t
    return drift @ friction @ drift @ kick, drift @ noise @ drift.T


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("size", [0.01, 1.0, 3.9])
def test_the_stationary_weights_of_sghmc_are_exact_for_every_step(
    momentum: float, size: float
) -> None:
    a, t = 7.0, 0.3
    step, noise = transition(a, math.sqrt(size / a), momentum, t)
    assert float(torch.linalg.eigvals(step).abs().max()) < 1
    covariance = torch.from_numpy(solve_discrete_lyapunov(step.numpy(), noise.numpy()))
    between = math.sqrt(size / a) / 2 * t  # a step ends half a kick before the two are independent
    truth = torch.tensor([[t / a, between], [between, t]], dtype=torch.float64)
    torch.testing.assert_close(covariance, truth, rtol=1e-9, atol=1e-9)


def test_a_step_of_sghmc_has_the_mean_and_the_noise_of_the_recursion() -> None:
    model, task = regression(60, 4)
    mean, covariance = exact_posterior(task, prior_variance=0.25)
    values, vectors = torch.linalg.eigh(torch.linalg.inv(covariance))
    c, t, batch = 0.8, 0.7, (task.train.inputs, task.train.targets)
    problem = Problem(ParameterSpace(model), task.loss, 60, 10)
    rate = 0.3 * 60 / float(values[-1])
    settings = {"learning_rate": rate, "momentum": c, "warmup": 0.0, "prior_scale": 0.5}
    generator = torch.Generator().manual_seed(2)
    start = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    ends = []
    for temperature in (0.0, t):
        method = SGHMC(**settings, temperature=temperature)
        state = method.init(problem, seed=3)
        assert float(state.velocity.norm()) == 0
        state.weights.copy_(start[0])
        state.velocity.copy_(start[1])
        method.step(state, batch)
        ends.append(torch.stack([(state.weights - mean) @ vectors, state.velocity @ vectors]))
    begin = torch.stack([(start[0] - mean) @ vectors, start[1] @ vectors])
    drawn = torch.randn(4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for index, a in enumerate(values.tolist()):
        step, noise = transition(a, math.sqrt(2 * rate / ((1 + c) * 60)), c, t)
        torch.testing.assert_close(ends[0][:, index], step @ begin[:, index])
        # The noise has rank one: its covariance is that of a column times one standard normal.
        column = (ends[1] - ends[0])[:, index] / (drawn @ vectors)[index]
        torch.testing.assert_close(column.outer(column), noise)


@pytest.mark.parametrize(("momentum", "temperature"), [(0.5, 1.0), (0.8, 0.25)])
def test_sghmc_samples_the_posterior_at_its_temperature(
    momentum: float, temperature: float
) -> None:
    model, task = regression(60, 8, COPIES)
    mean, covariance = exact_posterior(task, prior_variance=0.25)
    values, vectors = torch.linalg.eigh(torch.linalg.inv(covariance))
    h = math.sqrt(2 / float(values[-1]))
    method = SGHMC(
        epochs=STEPS,
        burn_in=BURN_IN,
        batch_size=60,
        learning_rate=h**2 * (1 + momentum) * 60 / 2,
        momentum=momentum,
        temperature=temperature,
        prior_scale=0.5,
    )
    samples = method.fit(model, task, device="cpu").distribution.tensors()["vectors"]
    times = []
    for a in values.tolist():
        step, noise = transition(a, h, momentum, temperature)
        stationary = torch.from_numpy(solve_discrete_lyapunov(step.numpy(), noise.numpy()))
        lags = [stationary]
        while float(lags[-1].norm()) > 1e-6 * float(stationary.norm()):
            lags.append(step @ lags[-1])
        correlations = torch.stack(lags)[1:, 0, 0] / stationary[0, 0]
        times.append(1 + 2 * torch.stack([correlations.sum(), (correlations**2).sum()]))
    white = (chains(samples) - mean) @ vectors * (values / temperature).sqrt()
    check_white(white, *torch.stack(times).T)


@pytest.mark.parametrize("ball", ["none", "euclidean"])
def test_sghmc_without_noise_is_descent_with_momentum(ball: str) -> None:
    task, space = blobs(dtype=torch.float64), ParameterSpace(network().double())
    batch = (task.train.inputs, task.train.targets)
    radius = {} if ball == "none" else {"radius": 0.3}
    method = SGHMC(
        learning_rate=0.1, momentum=0.7, warmup=0.0, temperature=0.0, ball=ball, **radius
    )
    state = method.init(Problem(space, task.loss, 30, 10))
    leaf = space.vector().requires_grad_()
    descent = torch.optim.SGD([leaf], lr=0.1, momentum=0.7, weight_decay=1 / 30)
    for _ in range(6):
        place = leaf.detach().clone()
        _, leaf.grad = state.loss_and_gradient(place, batch)
        if radius:
            worst = place + 0.3 * leaf.grad / leaf.grad.norm()
            _, leaf.grad = state.loss_and_gradient(worst, batch)
        descent.step()
        method.step(state, batch)
        torch.testing.assert_close(state.weights, leaf.detach())


@pytest.mark.parametrize(("kind", "momentum"), [(SGLD, 0.0), (SGHMC, 0.7)])
def test_fp_bma_over_a_chain_without_noise_is_sam(kind: type[Langevin], momentum: float) -> None:
    model, scale, settings = network().double(), 0.5, {"learning_rate": 0.1, "warmup": 0.0}
    task, space = blobs(dtype=torch.float64), ParameterSpace(model)
    problem = Problem(space, task.loss, 30, 10**9)  # so many steps that SAM's rate does not fall
    batch = (task.train.inputs, task.train.targets)
    ball = {"ball": "posterior-exact", "radius": 0.4, "temperature": 0.0}
    chain = kind(**ball, momentum=momentum, **settings)
    sam = SAM(radius=0.4 * scale, momentum=momentum, weight_decay=1 / (30 * scale**2), **settings)
    one, other = chain.init(problem, prior=isotropic(model, scale)), sam.init(problem)
    one.weights.copy_(other.weights)
    for _ in range(6):
        chain.step(one, batch)
        sam.step(other, batch)
        torch.testing.assert_close(one.weights, other.weights)
        for name in ("loss", "perturbation_norm"):
            torch.testing.assert_close(one.last[name], other.last[name])


@pytest.mark.parametrize("kind", [SGLD, SGHMC])
def test_fp_bma_over_a_chain_finds_the_worst_place_before_the_noise(
    kind: type[Langevin], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, space = blobs(dtype=torch.float64), ParameterSpace(network().double())
    problem = Problem(space, task.loss, 30, 10)
    prior, batch = low_rank_prior(space), (task.train.inputs, task.train.targets)
    original, places = State.loss_and_gradient, []

    def noted(self: State, w: Tensor, *rest: Any, **more: Any) -> tuple[Tensor, Tensor]:
        places.append((w.clone(), original(self, w, *rest, **more)[1]))
        return original(self, w, *rest, **more)

    monkeypatch.setattr(State, "loss_and_gradient", noted)
    ends, rate, t = [], 0.1, 0.7
    for temperature in (t, 0.0):
        method = kind(
            ball="posterior-exact",
            radius=0.4,
            temperature=temperature,
            learning_rate=rate,
            warmup=0.0,
        )
        state = method.init(problem, prior=prior, seed=3)
        w = state.weights.add_(0.05).clone()
        method.step(state, batch)
        ends.append(state.weights)
    (first, g), (second, worst) = places[:2]
    q = state.prior
    direction = (torch.diag(q.scale**2) + q.factor @ q.factor.T) @ g
    assert torch.equal(first, w)
    torch.testing.assert_close(second, w + 0.4 * direction / (g @ direction).sqrt())
    quiet = [place for place, _ in places[2:]]
    assert torch.equal(torch.stack([first, second]), torch.stack(quiet))
    # From w, not from the worst place: the slope there, the prior's at w, and the noise.
    torch.testing.assert_close(ends[1], w - rate * (worst + _slope(q, w) / 30))
    size = 2 * rate * t / 30
    if kind is SGHMC:  # half a drift with the noise of the friction
        size *= (1 - method.momentum**2) / (4 * (1 + method.momentum))
    z = torch.randn(space.size, dtype=w.dtype, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(ends[0] - ends[1], math.sqrt(size) * z)


def _slope(q: Gaussian, w: Tensor) -> Tensor:
    leaf = w.clone().requires_grad_()
    return torch.autograd.grad(-log_density(q, leaf), leaf)[0]


def test_entropy_mcmc_samples_the_coupled_distribution() -> None:
    model, task = regression(60, 4, COPIES)
    mean, covariance = exact_posterior(task, prior_variance=0.25)
    precision, one, eta = torch.linalg.inv(covariance), torch.eye(4).double(), 0.01
    joint = torch.cat(
        [
            torch.cat([precision + one / eta, -one / eta], 1),
            torch.cat([-one / eta, one / eta], 1),
        ]
    )
    marginals = torch.linalg.inv(joint)
    torch.testing.assert_close(marginals[:4, :4], covariance)
    torch.testing.assert_close(marginals[4:, 4:], covariance + eta * one)
    h = 1.6 / float(torch.linalg.eigvalsh(joint)[-1])
    method = EntropyMCMC(
        epochs=STEPS,
        burn_in=BURN_IN,
        batch_size=60,
        learning_rate=h * 60 / 2,
        prior_scale=0.5,
        eta=eta,
        temperature=0.5,
    )
    samples = method.fit(model, task, device="cpu").distribution.tensors()["vectors"]
    both = torch.cat([chains(samples[0::2]), chains(samples[1::2])], 1)
    check_stationary(both, mean.repeat(2), joint, h, 0.5)


def test_a_step_of_sgld_is_the_papers() -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    space, examples = ParameterSpace(model), 30
    prior = low_rank_prior(space)
    method = SGLD(learning_rate=0.1, warmup=0.0, temperature=0.7)
    state = method.init(Problem(space, task.loss, examples, 10), prior=prior, seed=3)
    before, batch = state.weights.clone(), (task.train.inputs[:7], task.train.targets[:7])
    assert torch.equal(before, prior.mean)
    before += 0.05
    state.weights.copy_(before)
    method.step(state, batch)
    leaf = before.clone().requires_grad_()
    loss = nn.functional.cross_entropy(space.call(leaf, batch[0]), batch[1])
    potential = examples * loss - log_density(prior.gaussian, leaf)
    h = 2 * 0.1 / examples
    noise = torch.randn(space.size, dtype=before.dtype, generator=torch.Generator().manual_seed(3))
    moved = before - h / 2 * torch.autograd.grad(potential, leaf)[0] + math.sqrt(h * 0.7) * noise
    torch.testing.assert_close(state.weights, moved)


def test_the_rate_of_sgld_is_constant_or_a_power() -> None:
    assert {SGLD(learning_rate=0.02, warmup=0.0).rate(step, 100) for step in range(100)} == {0.02}
    falling = SGLD(learning_rate=1.0, warmup=0.1, decay=0.5, delay=0.05)
    rates = [falling.rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10:] == pytest.approx([(1 + step / 5) ** -0.5 for step in range(90)])


def run(method: Langevin, epochs: int, per_epoch: int) -> list[int]:
    """The steps at which a method keeps samples, which are then the last ones it has."""
    task = blobs()
    problem = Problem(ParameterSpace(network()), task.loss, 30, epochs * per_epoch, per_epoch)
    state, kept, places = method.init(problem, prior=None), [], []
    for step in range(1, problem.steps + 1):
        before = len(state.samples)
        method.step(state, (task.train.inputs, task.train.targets))
        if len(state.samples) > before:
            kept.append(step)
            places.append(state.weights.clone())
    samples = torch.stack(places)
    assert torch.equal(method.posterior(state).sample(len(kept)).sort(0)[0], samples.sort(0)[0])
    torch.testing.assert_close(state.mean, samples.mean(0))
    return kept


def test_samples_are_taken_at_the_ends_of_epochs() -> None:
    assert run(SGLD(epochs=10, burn_in=0.5, thin=2), 10, 3) == [21, 27]
    assert run(SGLD(epochs=3, burn_in=0.0), 3, 2) == [2, 4, 6]
    cyclical = CyclicalSGLD(
        epochs=12, cycles=2, samples_per_cycle=3, exploration=0.5, learning_rate=0.02
    )
    assert run(cyclical, 12, 2) == [8, 10, 12, 20, 22, 24]
    assert len(CyclicalSGLD().fit(network(), blobs()).distribution.tensors()["vectors"]) == 12


def test_samples_of_a_chain_and_of_cycles_say_so() -> None:
    alone = SGLD(epochs=6, burn_in=0.5).fit(network(), blobs(), device="cpu")
    cycles = CyclicalSGLD(epochs=12, cycles=3, samples_per_cycle=2, exploration=0.5)
    found = cycles.fit(network(), blobs(), device="cpu")
    moving = SGHMC(epochs=6, burn_in=0.5).fit(network(), blobs(), device="cpu")
    both = EntropyMCMC(epochs=6, burn_in=0.5).fit(network(), blobs(), device="cpu")
    for posterior, chains in (
        (alone, [0] * 3),
        (moving, [0] * 3),
        (found, [0, 0, 1, 1, 2, 2]),
        (both, [0] * 6),
    ):
        places = posterior.places(len(chains))
        assert places is not None
        assert places[places[:, 1].argsort()].T.tolist() == [chains, list(range(len(chains)))]


def test_a_cycle_follows_a_cosine_and_its_last_part_alone_is_noisy() -> None:
    method = CyclicalSGLD(epochs=20, cycles=2, exploration=0.5, learning_rate=0.3)
    rates = [method.rate(step, 40) for step in range(40)]
    assert rates[:20] == rates[20:]
    assert [rates[0], rates[10]] == pytest.approx([0.3, 0.15])
    assert rates[19] == pytest.approx(0.15 * (1 + math.cos(math.pi * 19 / 20)))
    task = blobs()
    problem = Problem(ParameterSpace(network()), task.loss, 30, 40, 2)
    state = method.init(problem)
    for step in range(40):
        drawn = state.generator.get_state()
        method.step(state, (task.train.inputs, task.train.targets))
        assert torch.equal(drawn, state.generator.get_state()) == (step % 20 < 10), step


def test_the_anchor_is_drawn_to_the_weights_and_by_nothing_else() -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    space = ParameterSpace(model)
    method = EntropyMCMC(learning_rate=0.02, warmup=0.0, temperature=0.0, eta=0.01, prior_scale=0.1)
    state = method.init(Problem(space, task.loss, 30, 10))
    assert torch.equal(state.anchor, space.vector())
    batch = (task.train.inputs, task.train.targets)
    method.step(state, batch)
    assert torch.equal(state.anchor, space.vector())  # not decayed while the two are together
    weights, anchor = state.weights.clone(), state.anchor.clone()
    method.step(state, batch)
    torch.testing.assert_close(state.anchor, anchor + 0.02 / (30 * 0.01) * (weights - anchor))


def test_ptl_scales_the_covariance_of_the_source_posterior() -> None:
    task, space = blobs(dtype=torch.float64), ParameterSpace(network().double())
    source = low_rank_prior(space)
    method = PretrainYourLoss(scale=7.0)
    state = method.init(Problem(space, task.loss, 30, 10), prior=source)
    assert torch.equal(state.weights, source.mean)
    w = (source.mean + 0.3).requires_grad_()
    state.weights.copy_(w.detach())
    slope = torch.autograd.grad(-log_density(source.gaussian, w, 7.0) / 30, w)[0]
    torch.testing.assert_close(prior_slope(state), slope)
    for prior in (None, Posterior(space, Point(space.vector()))):
        with pytest.raises(InputError, match=r"needs (the|a) Gaussian posterior"):
            method.fit(network().double(), task, prior=prior)


def test_a_prior_too_narrow_for_the_step_size_is_widened() -> None:
    model = network()
    prior = isotropic(model, 1e-6, mean=ParameterSpace(model).vector())
    state = SGLD().init(Problem(prior.space, "cross_entropy", 50, 10), prior=prior)
    assert float(state.prior.scale.max()) == pytest.approx(math.sqrt(0.05 / 50))
    samples = SGLD(epochs=4).fit(model, blobs(), prior=prior).sample(2)
    assert bool(samples.isfinite().all())


def test_settings_that_cannot_be_are_refused_before_training() -> None:
    for method, settings, message in (
        (SGLD, {"temperature": -1.0}, "temperature must be at least 0"),
        (SGLD, {"momentum": 0.9}, "momentum must be 0"),
        (SGHMC, {"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        (SGLD, {"patience": 3}, "patience must be 0"),
        (SGLD, {"decay": 1.5}, "decay"),
        (SGLD, {"prior_scale": 0.0}, "prior_scale"),
        (SGLD, {"epochs": 10, "thin": 6}, "10 epochs with burn_in=0.5 leave 5, too few"),
        (CyclicalSGLD, {"epochs": 102}, "epochs must be a multiple of the 4 cycles, not 102"),
        (CyclicalSGLD, {"epochs": 40}, "leave 2 epochs of a cycle to sample in, too few for 3"),
        (CyclicalSGLD, {"warmup": 0.1}, "warmup must be 0"),
        (EntropyMCMC, {"eta": 0.0}, "eta must be positive"),
        (PretrainYourLoss, {"scale": math.inf}, "scale must be positive"),
    ):
        with pytest.raises(InputError, match=message):
            method(**settings)
    with pytest.raises(InputError, match=r"eta must be above learning_rate / N = 0\.00167"):
        EntropyMCMC(eta=1e-3).fit(network(), blobs())
    problem = Problem(ParameterSpace(network()), "cross_entropy", 3, 9)
    with pytest.raises(InputError, match="no sample yet"):
        SGLD().posterior(SGLD().init(problem))
