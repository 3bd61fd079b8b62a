"""A source posterior as a target's prior: what is taken over, and what is fresh."""

import copy

import pytest
import torch
from torch import Tensor, nn

import landscape as ls
from landscape.errors import InputError
from landscape.methods import FPBMA, MAP, SWAG
from landscape.objective.subsets import normalisation_and_head
from landscape.posteriors import Gaussian, Point, Posterior, Samples
from landscape.posteriors.transfer import adapt
from landscape.tasks import Data, Task


def network(classes: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(classes)
        return nn.Sequential(
            nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, classes)
        ).double()


def blobs(classes: int) -> Task:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10 * classes) % classes
    angle = labels * (2 * torch.pi / classes)
    centres = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    data = Data((centres + 0.3 * torch.randn(len(labels), 2, generator=generator)).double(), labels)
    return Task("blobs", data, data, data, tuple(map(str, range(classes))))


def source() -> Posterior:
    return SWAG(epochs=12, rank=3).fit(network(), blobs(3), device="cpu")


def covariance(q: Gaussian) -> Tensor:
    return torch.diag(q.scale**2) + q.factor @ q.factor.T


def test_the_prior_is_the_sources_gaussian_and_a_fresh_head() -> None:
    old, target = source(), network(5)
    before = copy.deepcopy(target.state_dict())
    prior = adapt(old, target, alpha=0.04, scale=9.0)
    assert prior.space.size == 16 + 8 + 8 + 8 + 40 + 5
    shared = slice(0, 40)
    torch.testing.assert_close(prior.mean[shared], old.mean[shared])
    torch.testing.assert_close(
        covariance(prior.gaussian)[shared, shared], 9 * covariance(old.gaussian)[shared, shared]
    )
    fresh = covariance(prior.gaussian)[40:]
    torch.testing.assert_close(fresh[:, 40:], 0.04 * torch.eye(45).double())
    assert float(fresh[:, :40].abs().max()) == float(prior.mean[40:].abs().max()) == 0
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_running_statistics_and_what_is_fixed_come_along() -> None:
    old = MAP(epochs=3).fit(network(), blobs(3), device="cpu", parameters=["1.weight", "3.bias"])
    gaussian = Gaussian.diagonal(old.mean, 0.1)
    old = Posterior(old.space, gaussian, calibration=old.calibration)
    prior = adapt(old, network(5))
    assert prior.space.names == ("1.weight", "3.weight", "3.bias")
    made = prior.network()
    assert torch.equal(made[0].weight, old.space.module[0].weight)
    torch.testing.assert_close(made[1].running_mean, old.buffers(old.mean)["1.running_mean"])


def test_a_marginal_keeps_the_rest_at_its_mean() -> None:
    old = source()
    names = normalisation_and_head(old.space.module)
    part = old.marginal(names)
    assert part.space.names == ("1.weight", "1.bias", "3.weight", "3.bias")
    rows = torch.cat([torch.arange(24, 40), torch.arange(40, 67)])
    torch.testing.assert_close(covariance(part.gaussian), covariance(old.gaussian)[rows][:, rows])
    fixed = part.space.module.get_parameter("0.weight")
    torch.testing.assert_close(fixed, old.space.unflatten(old.mean)["0.weight"])
    chosen = torch.tensor([2, 0])
    assert Point(torch.arange(3.0)).marginal(chosen).mean.tolist() == [2, 0]
    assert Samples(torch.arange(6.0).view(2, 3)).marginal(chosen).vectors.tolist() == [
        [2, 0],
        [5, 3],
    ]


def test_normalisation_and_head_are_trained_and_the_rest_stays() -> None:
    task = blobs(5)
    prior = adapt(source(), network(5)).marginal(normalisation_and_head(network(5)))
    posterior = FPBMA(epochs=60, learning_rate=0.1).fit(
        prior.network(), task, prior=prior, parameters=prior.space.names, device="cpu"
    )
    fixed = posterior.space.module.get_parameter("0.weight")
    assert torch.equal(fixed, prior.space.module.get_parameter("0.weight"))
    assert ls.predict(posterior, task.test, samples=5).metrics()["accuracy"] > 0.9


def test_what_does_not_fit_is_refused() -> None:
    old = source()
    wider = nn.Sequential(nn.Linear(2, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Linear(9, 5))
    deeper = network().append(nn.Linear(3, 3)).append(nn.Linear(3, 2))
    for given, model, settings, message in (
        (old, wider, {}, r"'0.weight' of shape \(9, 2\) is \(8, 2\) in the source"),
        (old, deeper, {}, r"'4.weight' of shape \(3, 3\) is missing in the source"),
        (old, network(5), {"alpha": 0.0}, "alpha must be positive"),
        (old, network(5), {"scale": -1.0}, "scale must be positive"),
        (old, network(5), {"fresh": ["5.bias"]}, "no parameter '5.bias' to start anew"),
        (Posterior(old.space, Point(old.mean)), network(5), {}, "needs a Gaussian posterior"),
    ):
        with pytest.raises(InputError, match=message):
            adapt(given, model, **settings)
    with pytest.raises(InputError, match=r"not over '0\.weight'"):
        old.marginal(["3.bias"]).marginal(["0.weight"])
