"""VI and MOPED against known posteriors, a hand-written step, and FP-BMA without its worst case."""

import math
from collections.abc import Callable

import pytest
import torch
from problems import DEVIATION, blobs, exact_posterior, half_squared_error, network, regression
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from landscape.errors import InputError
from landscape.methods import FPBMA, MOPED, VI, Problem
from landscape.methods.variational.vi import marginals
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Gaussian, Point, Posterior, isotropic
from landscape.tasks import Data, Task

STEPS, COPIES = 600, 10
# The rate falls to zero as a cosine: the end averages the noise of about a tenth of the draws.
DRAWS = COPIES * STEPS / 10


def orthogonal(copies: int) -> tuple[nn.Module, Task]:
    """Linear regression whose features are orthogonal and of different length."""
    generator = torch.Generator().manual_seed(1)
    columns = torch.linalg.qr(torch.randn(20, 3, generator=generator).double())[0]
    x = columns * math.sqrt(20) * torch.tensor([0.6, 1.0, 1.4], dtype=torch.float64)
    y = x.sum(1) + DEVIATION * torch.randn(20, generator=generator).double()
    data = Data(x, y)
    task = Task("orthogonal", data, data, data, (), loss=half_squared_error)
    return nn.Linear(3, copies, bias=False).double(), task


@pytest.mark.parametrize("problem", [orthogonal, regression])
def test_it_finds_the_best_mean_field_posterior_of_linear_regression(
    problem: Callable[..., tuple[nn.Module, Task]],
) -> None:
    model, task = problem(copies=COPIES)
    mean, covariance = exact_posterior(task, prior_variance=0.25)
    method = VI(
        prior_scale=0.5, beta=1.0, epochs=STEPS, batch_size=20, learning_rate=0.05, momentum=0.5
    )
    q = method.fit(model, task, device="cpu").gaussian
    deviations = torch.linalg.inv(covariance).diagonal().rsqrt()
    means, scales = q.mean.view(COPIES, -1), q.scale.view(COPIES, -1)
    assert float(((means.mean(0) - mean) / deviations).abs().max()) < 5 / math.sqrt(DRAWS)
    errors = (scales / deviations).log().mean(0)
    assert float(errors.abs().max()) < 5 / math.sqrt(2 * DRAWS)
    if problem is orthogonal:
        torch.testing.assert_close(deviations, covariance.diagonal().sqrt())


def test_a_step_adds_the_kl_divergence_over_the_number_of_examples() -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    method = VI(
        prior_scale=0.7,
        initial_scale=0.1,
        learning_rate=0.02,
        covariance_rate=0.3,
        momentum=0.0,
        warmup=0.0,
        beta=0.2,
    )
    space = ParameterSpace(model)
    state = method.init(Problem(space, task.loss, len(task.train), 10), seed=3)
    leaves = [space.vector(), torch.full((space.size,), 0.1).double().log()]
    noise = state.gaussian.noise(torch.Generator().manual_seed(3)).diagonal
    batch = task.train.inputs[:7], task.train.targets[:7]
    method.step(state, batch)
    location, log_scale = (leaf.requires_grad_() for leaf in leaves)
    outputs = space.call(location + log_scale.exp() * noise, batch[0])
    kl = kl_divergence(Normal(location, log_scale.exp()), Normal(0.0, 0.7)).sum()
    objective = nn.functional.cross_entropy(outputs, batch[1]) + 0.2 * kl / len(task.train)
    slopes = torch.autograd.grad(objective, leaves)
    torch.testing.assert_close(state.mean, (location - 0.02 * slopes[0]).detach())
    # The Fisher information of log sigma is 2, and the KL term weighs 0.2 / N.
    natural = slopes[1] / 2 / (0.2 / len(task.train))
    shortened = natural / natural.abs().clamp_min(1)
    torch.testing.assert_close(state.log_scale, (log_scale - 0.3 * shortened).detach())
    assert 0 < int((natural.abs() > 1).sum()) < space.size


def test_it_is_fp_bma_of_radius_zero_without_a_low_rank_part() -> None:
    task, model = blobs(), network(normalisation=True, dropout=0.3)
    prior = isotropic(model, 0.1, mean=ParameterSpace(model).vector())
    shared = {"epochs": 3, "batch_size": 7, "beta": 0.2, "covariance_rate": 0.5}
    vi = VI(initial_scale=1.0, **shared).fit(model, task, prior=prior)
    fp_bma = FPBMA(radius=0.0, prior_scale=0.0, **shared).fit(model, task, prior=prior)
    assert torch.equal(vi.gaussian.mean, fp_bma.gaussian.mean)
    assert torch.equal(vi.gaussian.scale, fp_bma.gaussian.scale)


def test_it_is_fp_bma_of_radius_zero_under_a_prior_around_zero() -> None:
    task, model = blobs(), network()
    shared = {"epochs": 3, "batch_size": 7, "beta": 0.2, "prior_scale": 0.5}
    start = isotropic(model, 0.02, mean=ParameterSpace(model).vector())
    vi = VI(initial_scale=0.02, **shared).fit(model, task)
    fp_bma = FPBMA(radius=0.0, **shared).fit(model, task, prior=start)
    assert torch.equal(vi.gaussian.mean, fp_bma.gaussian.mean)
    assert torch.equal(vi.gaussian.scale, fp_bma.gaussian.scale)


def test_of_a_prior_with_a_low_rank_part_it_takes_the_variances() -> None:
    factor = torch.tensor([[3.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    diagonal = marginals(Gaussian(torch.arange(3.0), torch.tensor([4.0, 1.0, 1.0]), factor))
    assert diagonal.scale.tolist() == pytest.approx([5.0, math.sqrt(2), 3.0])
    assert diagonal.mean.tolist() == [0.0, 1.0, 2.0]
    assert diagonal.rank == 0
    space = ParameterSpace(nn.Linear(2, 1))
    prior = Posterior(space, Gaussian(torch.arange(3.0), torch.ones(3), factor))
    state = VI().init(Problem(space, "cross_entropy", 3, 9), prior=prior)
    torch.testing.assert_close(state.prior.scale, marginals(prior.gaussian).scale)
    assert torch.equal(state.mean, torch.arange(3.0))


def test_moped_starts_around_the_pretrained_weights() -> None:
    model = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, -2.0, 0.5]]))
    space = ParameterSpace(model)
    problem = Problem(space, "cross_entropy", 30, 9)
    method = MOPED(delta=0.1, min_scale=0.01)

    def check(prior: Posterior | None, weights: Tensor) -> None:
        state = method.init(problem, prior=prior)
        assert torch.equal(state.mean, weights)
        assert torch.equal(state.prior.mean, weights)
        assert state.prior.scale.tolist() == pytest.approx([0.166] * 3)
        expected = [max(0.1 * abs(w), 0.01) for w in weights.tolist()]
        assert state.gaussian.scale.tolist() == pytest.approx(expected)

    check(None, space.vector())
    check(Posterior(space, Point(torch.tensor([1.0, 0.0, -3.0]))), torch.tensor([1.0, 0.0, -3.0]))


def test_moped_stays_at_the_pretrained_weights_without_data_to_move_it() -> None:
    model = nn.Linear(2, 1)
    data = Data(torch.ones(4, 2), torch.zeros(4, dtype=torch.long))
    task = Task("flat", data, data, data, ("0",), loss=lambda outputs, _: 0 * outputs[:, 0])
    q = MOPED(epochs=20).fit(model, task).gaussian
    assert torch.equal(q.mean, ParameterSpace(model).vector())
    assert bool((q.scale > 0.1 * q.mean.abs()).all())  # grows towards the prior's


def test_settings_and_priors_that_cannot_be_are_refused() -> None:
    for method, settings in (
        (VI, {"prior_scale": 0.0}),
        (VI, {"initial_scale": math.inf}),
        (VI, {"beta": -1.0}),
        (MOPED, {"delta": 0.0}),
        (MOPED, {"min_scale": -1.0}),
        (MOPED, {"prior_scale": math.nan}),
    ):
        with pytest.raises(InputError, match=next(iter(settings))):
            method(**settings)
    space = ParameterSpace(network())
    with pytest.raises(InputError, match="needs a Gaussian"):
        VI().fit(network(), blobs(), prior=Posterior(space, Point(space.vector())))
