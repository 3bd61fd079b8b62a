"""The mixture of Laplace approximations against exact posteriors and Laplace around each member."""

import math
from pathlib import Path

import pytest
import torch
from problems import DEVIATION, blobs, exact_posterior, half_squared_error, network, regression
from test_laplace import covariance, point
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

from landscape.errors import InputError
from landscape.methods import Ensemble, Laplace, MoLA
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import (
    Gaussian,
    Kronecker,
    Mixture,
    Point,
    Posterior,
    isotropic,
    load,
    moped,
)
from landscape.tasks import Data, Task


def mixture(posterior: Posterior) -> Mixture:
    assert isinstance(posterior.distribution, Mixture)
    return posterior.distribution


def gaussians(posterior: Posterior) -> list[Gaussian]:
    parts = mixture(posterior).components
    return [part for part in parts if isinstance(part, Gaussian)]


def test_members_that_agree_are_the_exact_posterior() -> None:
    model, task = regression()
    mean, truth = exact_posterior(task, prior_variance=2.0)
    posterior = MoLA(
        members=3,
        structure="full",
        prior_precision=0.5,
        weight_decay=0.5 / 20,
        epochs=80,
        learning_rate=0.2,
        momentum=0.3,
    ).fit(model, task, device="cpu")
    parts = gaussians(posterior)
    assert len(parts) == 3
    for part in parts:
        torch.testing.assert_close(covariance(part), truth)
        torch.testing.assert_close(part.mean, mean, rtol=1e-6, atol=1e-6)
    points = MultivariateNormal(mean, 4 * truth).sample((20,))
    torch.testing.assert_close(
        posterior.log_prob(points),
        MultivariateNormal(mean, truth).log_prob(points),
        rtol=1e-4,
        atol=1e-4,
    )


class Squared(nn.Module):
    """x -> w^2 x: w and -w are the same function."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.w**2 * inputs


def test_two_modes_are_both_in_the_mixture() -> None:
    x = torch.linspace(0.5, 2.0, 12, dtype=torch.float64)
    y = 2.0 * x + 0.1 * torch.sin(9 * x)
    data = Data(x[:, None], y)
    none = data.subset(torch.arange(0))
    task = Task("squared", data, none, data, (), loss=half_squared_error)
    prior = isotropic(Squared(), 1.0)
    posterior = MoLA(
        members=6,
        prior_precision=3.0,
        weight_decay=0.0,
        epochs=80,
        learning_rate=0.02,
        momentum=0.3,
    ).fit(Squared(), task, prior=prior, device="cpu")
    mode = float(x @ y / (x @ x)) ** 0.5
    scale = (4 * mode**2 * float(x @ x) / DEVIATION**2 + 3.0) ** -0.5  # J = 2 w x
    means = torch.stack([part.mean for part in gaussians(posterior)])[:, 0]
    torch.testing.assert_close(means.abs(), torch.full_like(means, mode), rtol=1e-6, atol=1e-6)
    right = float((means > 0).double().mean())
    assert 0 < right < 1
    points = torch.linspace(-2, 2, 9, dtype=torch.float64)
    densities = [Normal(sign * mode, scale).log_prob(points) for sign in (1, -1)]
    shares = torch.tensor([right, 1 - right], dtype=torch.float64)
    truth = torch.logsumexp(torch.stack(densities) + shares.log()[:, None], 0)
    torch.testing.assert_close(posterior.log_prob(points[:, None]), truth, rtol=1e-4, atol=1e-4)
    drawn = (posterior.sample(600, 1) > 0).double().mean()
    assert abs(float(drawn) - right) < 5 * (right * (1 - right) / 600) ** 0.5


@pytest.mark.parametrize("ball", ["none", "posterior-exact"])
def test_it_is_laplace_around_each_member_of_an_ensemble(ball: str) -> None:
    task, model = blobs(), network(normalisation=True, dropout=0.2)
    prior = isotropic(model, 0.3, mean=ParameterSpace(model).vector())
    more = {"prior": prior, "seed": 2, "device": "cpu"}
    settings = {"epochs": 4, "batch_size": 10, "members": 2, "ball": ball}
    points = Ensemble(**settings).fit(model, task, **more)
    found = MoLA(**settings).fit(model, task, **more)
    assert {name: points.history[name] for name in points.history if name != "seconds"} == {
        name: found.history[name] for name in found.history if name != "seconds"
    }
    precisions = found.settings["prior_precision"]
    assert isinstance(precisions, list)
    for w, part, precision in zip(
        points.distribution.tensors()["vectors"], gaussians(found), precisions, strict=True
    ):
        member = Posterior(points.space, Point(w), calibration=task.train)
        alone = Laplace(structure="diagonal").around(member, task.train, validation=task.validation)
        assert torch.equal(part.mean, w)
        torch.testing.assert_close(part.scale, alone.gaussian.scale)
        assert precision == pytest.approx(alone.settings["prior_precision"])
    assert torch.equal(mixture(found).weights, torch.full((2,), 0.5))


def test_in_transfer_every_member_has_its_own_head_and_stays_near_the_rest() -> None:
    model, task = network(), blobs()
    prior = moped(model, delta=0.01, alpha=0.25)
    method = MoLA(members=4, epochs=1, learning_rate=1e-9)
    means = torch.stack([part.mean for part in gaussians(method.fit(model, task, prior=prior))])
    head = torch.cat([torch.arange(part.start, part.stop) for part in prior.space.slices[-2:]])
    heads = means[:, head]
    assert abs(float(heads.std()) - 0.5) < 5 * 0.5 / (2 * heads.numel()) ** 0.5
    rest = torch.ones(prior.space.size, dtype=torch.bool)
    rest[head] = False
    off = (means - prior.mean)[:, rest] / prior.gaussian.scale[rest]
    assert float(off.abs().max()) < 5


def test_the_last_layer_alone_is_all_that_is_inferred(tmp_path: Path) -> None:
    model, task = network(), blobs()
    posterior = MoLA(members=2, epochs=30, structure="full").fit(
        model, task, parameters=["4.weight", "4.bias"], device="cpu"
    )
    for part in gaussians(posterior):
        member = Posterior(posterior.space, Point(part.mean))
        alone = Laplace(structure="last-layer").around(
            member, task.train, validation=task.validation
        )
        torch.testing.assert_close(covariance(part), covariance(alone.gaussian))
    again = load(posterior.save(tmp_path / "mola.safetensors"), model)
    torch.testing.assert_close(again.sample(3, 1), posterior.sample(3, 1))
    assert again.settings == posterior.settings


def test_kronecker_members_are_those_of_laplace() -> None:
    model, task = network(), blobs()
    method = MoLA(members=2, epochs=3, structure="kronecker", prior_precision=2.0)
    posterior = method.fit(model, task, device="cpu")
    w = posterior.sample(3)
    alone = [
        Laplace(structure="kronecker", prior_precision=2.0).around(
            Posterior(posterior.space, Point(part.mean)), task.train
        )
        for part in mixture(posterior).components
    ]
    assert all(isinstance(member.distribution, Kronecker) for member in alone)
    truth = torch.stack([member.log_prob(w) for member in alone]).logsumexp(0) - math.log(2)
    torch.testing.assert_close(posterior.log_prob(w), truth)


def test_what_cannot_be_is_refused_before_training() -> None:
    steps: list[object] = []
    record = lambda *arguments: steps.append(arguments)  # noqa: E731
    for settings in ({"members": 0}, {"structure": "last-layer"}, {"prior_precision": -1.0}):
        with pytest.raises(InputError, match=f"mola: {next(iter(settings))} must be"):
            MoLA(**settings)
    wide = nn.Sequential(nn.Linear(2, 4000), nn.Linear(4000, 3))
    with pytest.raises(InputError, match="24003 parameters is too large"):
        MoLA(structure="full").fit(wide, blobs(), device="cpu", progress=record)
    with pytest.raises(InputError, match="mola needs a posterior of samples, not a point"):
        MoLA().around(point(network()), blobs().train)
    assert steps == []
