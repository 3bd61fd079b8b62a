"""FP-BMA against what it reduces to: SAM, and variational inference with a known posterior."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import concentrated, dense_kl
from fisher_cases import dense_fisher
from problems import DEVIATION, blobs, exact_posterior, network, regression
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.methods import BALLS, FPBMA, MAP, MOPED, SWAG, VI, Problem
from landscape.methods.variational.descent import VariationalState
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Gaussian, GaussianTangent, Posterior, isotropic, moped
from landscape.posteriors.fisher import exact
from landscape.posteriors.fisher.exact import CovarianceFisher
from landscape.tasks import Task


def start(method: FPBMA, model: nn.Module, task: Task, prior: Posterior) -> VariationalState:
    space = ParameterSpace(model)
    return method.init(Problem(space, task.loss, len(task.train), 10), prior=prior, seed=3)


def gradient(space: ParameterSpace, task: Task, w: Tensor) -> Tensor:
    leaf = w.clone().requires_grad_()
    loss = nn.functional.cross_entropy(space.call(leaf, task.train.inputs), task.train.targets)
    return torch.autograd.grad(loss, leaf)[0]


def test_a_narrow_mean_field_posterior_of_fixed_scale_makes_it_sam() -> None:
    task, model, scale, rho = blobs(), network(), 1e-5, 0.05
    method = FPBMA(
        radius=rho / scale,
        prior_scale=0.0,
        beta=0.0,
        covariance=False,
        momentum=0.0,
        warmup=0.0,
    )
    space = ParameterSpace(model)
    before = space.vector()
    state = start(method, model, task, isotropic(model, scale, mean=before))
    method.step(state, (task.train.inputs, task.train.targets))
    g = gradient(space, task, before)
    sam = before - method.learning_rate * gradient(space, task, before + rho * g / g.norm())
    moved = (sam - before).norm()
    assert float((state.mean - sam).norm()) < 1e-3 * float(moved)
    # The test can tell SAM from plain descent.
    plain = before - method.learning_rate * g
    assert float((plain - sam).norm()) > 1e-2 * float(moved)


def test_the_perturbation_has_the_length_of_sams() -> None:
    task, model = blobs(), network()
    method = FPBMA(radius=2.0, prior_scale=0.0, beta=0.0, covariance=False)
    state = start(method, model, task, isotropic(model, 0.03, mean=ParameterSpace(model).vector()))
    method.step(state, (task.train.inputs, task.train.targets))
    assert float(state.last["perturbation_norm"]) == pytest.approx(2.0 * 0.03, rel=1e-4)


@pytest.mark.parametrize("rank", [0, 3])
def test_radius_zero_is_a_step_of_variational_inference(
    rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SGD in the mean, and F^-1 times the gradient over beta / N in log sigma and U."""
    monkeypatch.setattr(CovarianceFisher.__init__, "__defaults__", (1e-13,))
    monkeypatch.setattr(exact, "_TOLERANCE", 1e-12)
    task, model, beta = blobs(dtype=torch.float64), network().double(), 30.0
    space = ParameterSpace(model)
    factor = 0.1 * torch.randn(
        space.size, rank, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    prior = Posterior(space, Gaussian(space.vector(), torch.full_like(space.vector(), 0.2), factor))
    method = FPBMA(
        radius=0.0,
        prior_scale=0.0,
        beta=beta,
        learning_rate=0.02,
        momentum=0.0,
        warmup=0.0,
        covariance_rate=0.5,
        weight_decay=0.3,
    )
    state = start(method, model, task, prior)
    centre = Gaussian(prior.mean + 0.1, 1.5 * prior.gaussian.scale, 0.5 * factor)
    for part, value in zip(
        (state.location, state.log_scale, state.factor),
        (centre.mean, centre.scale.log(), centre.factor),
        strict=True,
    ):
        part.copy_(value)
    noise = centre.noise(torch.Generator().manual_seed(3))
    method.step(state, (task.train.inputs, task.train.targets))
    leaves = [centre.mean.clone(), centre.scale.log(), centre.factor.clone()]
    for leaf in leaves:
        leaf.requires_grad_()
    q = Gaussian(leaves[0], leaves[1].exp(), leaves[2])
    loss = nn.functional.cross_entropy(
        space.call(q.transform(noise), task.train.inputs), task.train.targets
    )
    reference = torch.distributions.MultivariateNormal
    covariance = torch.diag(q.scale**2) + q.factor @ q.factor.T
    p = prior.gaussian
    kl = torch.distributions.kl_divergence(
        reference(q.mean, covariance_matrix=covariance),
        reference(p.mean, covariance_matrix=torch.diag(p.scale**2) + p.factor @ p.factor.T),
    )
    weight = beta / len(task.train)
    slopes = torch.autograd.grad(loss + weight * kl, leaves, materialize_grads=True)
    pull = slopes[0] + 0.3 * centre.mean
    torch.testing.assert_close(state.location, centre.mean - 0.02 * pull)
    step = (centre.scale.log() - state.log_scale) / 0.5, (centre.factor - state.factor) / 0.5
    # Nothing is shortened here.
    assert float(step[0].abs().max()) < 1
    assert float((step[1] / centre.scale[:, None]).norm()) < 5
    # F step = gradient / weight, along all changes without a turn of U: one sample's part there is
    # noise.
    draws = torch.Generator().manual_seed(1)
    white = centre.factor / centre.scale[:, None]
    mixing = torch.randn(40, rank, rank, generator=draws, dtype=torch.float64)
    rest = torch.randn(40, space.size, rank, generator=draws, dtype=torch.float64)
    rest = rest - white @ torch.linalg.pinv(white) @ rest
    factors = centre.scale[:, None] * (white @ (mixing + mixing.mT) + rest)
    scales = torch.randn(40, space.size, generator=draws, dtype=torch.float64)
    changes = torch.cat([scales, factors.reshape(40, -1)], 1)
    slope = torch.cat([slopes[1], slopes[2].reshape(-1)]) / weight
    moved = dense_fisher(centre) @ torch.cat([step[0], step[1].reshape(-1)])
    torch.testing.assert_close(changes @ moved, changes @ slope, rtol=1e-6, atol=1e-6)


def test_variational_inference_recovers_bayesian_linear_regression() -> None:
    model, task = regression()
    mean, covariance = exact_posterior(task, prior_variance=1.0)
    # A Gaussian of diagonal plus one column holds every 2 x 2 covariance.
    space = ParameterSpace(model)
    prior = Posterior(
        space, Gaussian(torch.zeros(2).double(), torch.ones(2).double(), torch.zeros(2, 1).double())
    )
    method = FPBMA(
        radius=0.0,
        prior_scale=0.0,
        beta=1.0,
        epochs=1500,
        batch_size=20,
        learning_rate=0.05,
        covariance_rate=0.04,
        momentum=0.5,
    )
    state = method.init(
        Problem(space, task.loss, len(task.train), method.epochs), prior=prior, seed=0
    )
    state.factor.fill_(0.1)  # U = 0 is a saddle point of the objective
    batch = (task.train.inputs, task.train.targets)
    half = method.epochs // 2
    found_mean, found = torch.zeros_like(mean), torch.zeros_like(covariance)
    for step in range(method.epochs):
        method.step(state, batch)
        if step >= half:
            q = method.posterior(state).gaussian
            found_mean += q.mean / half
            found += (torch.diag(q.scale**2) + q.factor @ q.factor.T) / half
    deviations = covariance.diagonal().sqrt()
    # The mean over the second half averages the noise of a thousand draws, of which some are alike.
    assert float(((found_mean - mean) / deviations).abs().max()) < 5 / math.sqrt(600)
    correlation = found / deviations[:, None] / deviations
    truth = covariance / deviations[:, None] / deviations
    assert float((correlation - truth).abs().max()) < 5 * math.sqrt(2 / 600)
    assert float(truth[0, 1].abs()) > 0.3  # mean field would miss it


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"noise_samples": 3},
        {"covariance": False},
        {"trained": "head"},
        {"trained": "head", "covariance": False},
        {"trained": "head", "ball": "posterior-diagonal"},
        {"ball": "random"},
        {"trained": "head", "ball": "random"},
        {"ball": "posterior-diagonal"},
        {"ball": "posterior-empirical"},
    ],
)
@pytest.mark.parametrize("radius", [0.2, 2.0])
def test_the_worst_case_is_sought_in_the_ball(
    settings: dict[str, Any], radius: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    space, moved = ParameterSpace(model), Gaussian.moved
    steps: list[GaussianTangent] = []

    def watch(q: Gaussian, step: GaussianTangent) -> Gaussian:
        steps.append(step)
        return moved(q, step)

    monkeypatch.setattr(Gaussian, "moved", watch)
    method = FPBMA(radius=radius, prior_scale=0.0, momentum=0.0, warmup=0.0, **settings)
    batch = (task.train.inputs, task.train.targets)
    for concentration in (0.0, 0.9, 1.0):
        q = concentrated(space.size, 3, concentration, 3.0)
        state = start(method, model, task, Posterior(space, q))
        for _ in range(3):
            before = Gaussian(*(part.clone() for part in state.gaussian.tensors().values()))
            method.step(state, batch)
            assert 0 < 2 * dense_kl(before, steps.pop()) < radius**2 * (1 + 1e-9)


def test_running_statistics_follow_the_first_pass_alone() -> None:
    task = blobs()
    model = network(normalisation=True)
    buffers = []
    for radius in (0.0, 5.0):
        prior = isotropic(model, 0.01, mean=ParameterSpace(model).vector())
        method = FPBMA(radius=radius, prior_scale=0.0)
        state = start(method, model, task, prior)
        method.step(state, (task.train.inputs, task.train.targets))
        buffers.append(state.buffers)
    assert int(buffers[1]["1.num_batches_tracked"]) == 1
    for name, value in buffers[0].items():
        assert torch.equal(value, buffers[1][name]), name


def test_both_passes_see_the_same_noise_and_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = blobs(), network(dropout=0.5)
    prior = isotropic(model, 0.1, mean=ParameterSpace(model).vector())
    method = FPBMA(radius=1e-30, prior_scale=0.0)  # a perturbation that changes nothing
    state = start(method, model, task, prior)
    seen = []
    original = VariationalState.loss_and_gradient

    def recorded(
        self: VariationalState, w: Tensor, *rest: object, **more: bool
    ) -> tuple[Tensor, Tensor]:
        seen.append((w.clone(), original(self, w, *rest, **more)))  # type: ignore[arg-type]
        return seen[-1][1]

    monkeypatch.setattr(VariationalState, "loss_and_gradient", recorded)
    method.step(state, (task.train.inputs, task.train.targets))
    (w, (loss, g)), (again, (same, h)) = seen
    assert torch.equal(w, again)
    assert torch.equal(loss, same)
    assert torch.equal(g, h)


def test_by_default_it_is_vi_from_the_models_weights_or_from_a_given_mean() -> None:
    task, short = blobs(), {"epochs": 3, "batch_size": 10}
    pretrained = MAP(**short).fit(network(), task, device="cpu")
    vi = VI(ball="posterior-exact", **short).fit(pretrained.network(), task, device="cpu")
    alone = FPBMA(**short).fit(pretrained.network(), task, device="cpu")
    given = FPBMA(**short).fit(network(), task, prior=pretrained, device="cpu")
    for posterior in (alone, given):
        for name, tensor in vi.distribution.tensors().items():
            assert torch.equal(posterior.distribution.tensors()[name], tensor)


def test_what_is_used_of_a_prior_is_needed_and_over_the_same_parameters() -> None:
    task = blobs()
    for settings in ({"prior_scale": 0.0}, {"trained": "head"}):
        with pytest.raises(InputError, match="needs a Gaussian prior"):
            FPBMA(**settings).fit(network(), task)
    with pytest.raises(InputError, match="the prior is over"):
        FPBMA().fit(network(), task, prior=isotropic(nn.Linear(2, 3), 0.1))
    for settings in ({"radius": -1.0}, {"beta": math.nan}, {"ball": "x"}):
        with pytest.raises(InputError, match=next(iter(settings))):
            FPBMA(**settings)


@pytest.mark.parametrize("ball", ["posterior-exact", "posterior-diagonal", "euclidean", "adaptive"])
def test_the_rest_stays_and_is_sampled_with_its_covariance(ball: str) -> None:
    task, model = blobs(), network(normalisation=True)
    prior = SWAG(epochs=12, rank=3).fit(model, task, device="cpu")
    method = FPBMA(
        epochs=5,
        trained="normalisation-and-head",
        ball=ball,
        learning_rate=0.1,
        prior_scale=0.0,
        beta=1e-6,
        covariance_rate=1e-3,
    )
    q = method.fit(model, task, prior=prior, device="cpu").gaussian
    before, held, trained = prior.gaussian, slice(0, 24), slice(24, None)
    assert torch.equal(q.mean[held], before.mean[held])
    assert torch.equal(q.factor[held], before.factor[held])
    torch.testing.assert_close(q.scale[held], before.scale[held])
    for found, old in ((q.mean, before.mean), (q.scale, before.scale), (q.factor, before.factor)):
        assert not torch.equal(found[trained], old[trained])
    # The joint samples' covariance between the two parts is U_held U_trained^T.
    w = Posterior(prior.space, q).sample(20_000, 0) - q.mean
    cross = w[:, held].T @ w[:, trained] / len(w)
    spread = (w[:, held].var(0)[:, None] * w[:, trained].var(0)).sqrt()
    error = (cross - q.factor[held] @ q.factor[trained].T) / spread
    assert float(error.abs().max()) < 5 / len(w) ** 0.5


def test_a_score_and_a_rest_that_is_not_inferred_are_refused() -> None:
    with pytest.raises(InputError, match="leave trained at 'all'"):
        FPBMA(ball="posterior-score", trained="head")
    with pytest.raises(InputError, match="trained must be one of all, head"):
        FPBMA(trained="tail")
    space = ParameterSpace(network(), ["0.weight"])
    prior = Posterior(space, Gaussian.diagonal(space.vector(), 0.1))
    with pytest.raises(InputError, match=r"'4\.bias' is not inferred"):
        FPBMA(trained="head").init(Problem(space, "cross_entropy", 10, 10), prior=prior)


@pytest.mark.parametrize("ball", [ball for ball in BALLS if ball != "none"])
def test_every_ball_trains_and_at_radius_zero_is_the_same(ball: str) -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    space = ParameterSpace(model)
    factor = 0.1 * torch.randn(space.size, 2, generator=torch.Generator().manual_seed(0)).double()
    scale = torch.full((space.size,), 0.2, dtype=torch.float64)
    prior = Posterior(space, Gaussian(space.vector(), scale, factor))
    batch = (task.train.inputs, task.train.targets)
    problem = Problem(space, task.loss, len(task.train), 10)
    ends = {}
    for name, radius in ((ball, 0.0), ("posterior-exact", 0.0), (ball, 0.3)):
        method = FPBMA(ball=name, radius=radius, prior_scale=0.0)
        state = method.step(method.init(problem, prior=prior, seed=1), batch)
        ends[name, radius] = state.factor.clone()
        assert bool(state.last["perturbation_norm"] > 0) == (radius > 0)
    torch.testing.assert_close(ends[ball, 0.0], ends["posterior-exact", 0.0], rtol=0, atol=0)
    assert float((ends[ball, 0.3] - ends["posterior-exact", 0.0]).norm()) > 0


def test_a_random_perturbation_is_as_long_as_the_steepest_in_kl(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    space, radius, reached = ParameterSpace(model), 1e-2, {}
    factor = 0.1 * torch.randn(space.size, 2, generator=torch.Generator().manual_seed(0)).double()
    scale = torch.full((space.size,), 0.2, dtype=torch.float64)
    prior = Posterior(space, Gaussian(space.vector(), scale, factor))
    moved = Gaussian.moved
    for ball in ("posterior-exact", "random"):
        found = []

        def watch(q: Gaussian, step: GaussianTangent, found: list[Gaussian] = found) -> Gaussian:
            found.append(moved(q, step))
            return found[-1]

        monkeypatch.setattr(Gaussian, "moved", watch)
        method = FPBMA(ball=ball, radius=radius, noise_samples=3, prior_scale=0.0)
        state = method.init(Problem(space, task.loss, len(task.train), 10), prior=prior)
        method.step(state, (task.train.inputs, task.train.targets))
        assert float(found[0].kl(prior.gaussian)) == pytest.approx(radius**2 / 2, rel=0.05)
        reached[ball] = found[0].mean
    assert float((reached["posterior-exact"] - reached["random"]).norm()) > 0


def test_what_cannot_be_combined_is_refused() -> None:
    for settings, message in (
        (
            {"ball": "full"},
            "ball must be one of none, euclidean, adaptive, data-fisher, posterior-",
        ),
        ({"ball": "posterior-score", "noise_samples": 2}, "one noise sample"),
        ({"ball": "posterior-empirical", "noise_samples": 3}, "one noise sample"),
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
    batch = (task.train.inputs, task.train.targets)
    settings = {"radius": 0.0, "beta": 0.0, "prior_scale": 0.0}
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


@pytest.mark.parametrize("kind", [FPBMA, VI, MOPED])
def test_weight_decay_acts_on_the_mean_beside_the_kl_term(kind: type[FPBMA | VI | MOPED]) -> None:
    """The mean of N L + N d |w|^2 / 2 + beta (w - m)^2 / 2 s^2 on a quadratic loss, by hand."""
    model, task = regression()
    space, x, y = ParameterSpace(model), task.train.inputs, task.train.targets
    decay, beta, s = 0.05, 2.0, 0.8
    method = kind(
        ball="none",
        covariance=False,
        weight_decay=decay,
        beta=beta,
        prior_scale=s,
        epochs=400,
        batch_size=20,
        learning_rate=0.03,
    )
    start = space.vector()
    given = Posterior(space, Gaussian.diagonal(start, 1e-6)) if kind is FPBMA else None
    small = {"initial_scale": 1e-9} if kind is not MOPED else {"delta": 1e-9, "min_scale": 1e-9}
    q = replace(method, **small).fit(model, task, prior=given, device="cpu").gaussian
    centre = start if kind is MOPED else torch.zeros_like(start)
    precision = x.T @ x / DEVIATION**2 + (20 * decay + beta / s**2) * torch.eye(2).double()
    optimum = torch.linalg.solve(precision, x.T @ y / DEVIATION**2 + beta / s**2 * centre)
    torch.testing.assert_close(q.mean, optimum, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="weight_decay must be at least 0"):
        kind(weight_decay=-1.0)


def test_the_papers_beta_is_ours_over_the_number_of_examples() -> None:
    """Its KL term is undivided: a step of SGD on L + b KL is one with beta = N b."""
    task, model = blobs(dtype=torch.float64), network().double()
    space, b = ParameterSpace(model), 0.02
    method = FPBMA(
        radius=0.0, beta=30 * b, prior_scale=0.5, momentum=0.0, warmup=0.0, learning_rate=0.1
    )
    state = start(method, model, task, isotropic(model, 0.1, mean=space.vector()))
    q = state.gaussian
    noise = q.noise(torch.Generator().manual_seed(3))
    mean = space.vector().requires_grad_()
    outputs = space.call(mean + 0.02 * noise.diagonal, task.train.inputs)
    divergence = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, 0.02), torch.distributions.Normal(0.0, 0.5)
    ).sum()
    loss = nn.functional.cross_entropy(outputs, task.train.targets) + b * divergence
    (slope,) = torch.autograd.grad(loss, mean)
    method.step(state, (task.train.inputs, task.train.targets))
    torch.testing.assert_close(state.mean, mean.detach() - 0.1 * slope)


def test_the_published_transfer_is_a_preset() -> None:
    method = FPBMA.published(100, ball="posterior-score", epochs=3)
    assert method.beta / 100 == pytest.approx(1e-8)
    assert (method.learning_rate, method.radius, method.weight_decay) == (0.01, 0.7, 1e-3)
    assert (method.ball, method.epochs) == ("posterior-score", 3)
    # Ten of 150 epochs are warm-up.
    full = FPBMA.published(100)
    assert (full.epochs, round(full.warmup * full.epochs)) == (150, 10)
    prior = moped(network(), delta=0.05, alpha=1e-4)
    q = method.fit(network(), blobs(), prior=prior, device="cpu").gaussian
    torch.testing.assert_close(q.scale, prior.gaussian.scale)
    assert not torch.equal(q.mean, prior.mean)


def test_the_default_starts_mean_field_at_the_mean_of_the_given_gaussian() -> None:
    task, model = blobs(), network()
    prior = SWAG(epochs=12, rank=3).fit(model, task, device="cpu")
    state = start(FPBMA(), model, task, prior)
    assert torch.equal(state.mean, prior.mean)
    assert state.gaussian.rank == 0
    torch.testing.assert_close(state.gaussian.scale, torch.full_like(prior.mean, 0.02))
    assert (float(state.prior.scale.min()), float(state.prior.mean.norm())) == (
        pytest.approx(0.166),
        0.0,
    )
    part = start(FPBMA(trained="head"), model, task, prior).gaussian
    held, head = slice(0, 24), slice(24, None)
    torch.testing.assert_close(part.scale[held], prior.gaussian.scale[held])
    assert torch.equal(part.factor[held], prior.gaussian.factor[held])
    assert float(part.factor[head].norm()) == 0
    assert part.scale[head].tolist() == pytest.approx([0.02] * 27)
