"""Deep ensembles against members trained one by one, and fresh weights against new networks."""

import copy

import pytest
import torch
from problems import blobs, network
from torch import Tensor, nn

from landscape import models
from landscape.errors import InputError
from landscape.methods import MAP, SAM, Ensemble, Problem
from landscape.methods.fresh_weights import fresh_weights
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Samples, isotropic

SETTINGS = {"epochs": 4, "batch_size": 7, "weight_decay": 0.01}


def with_weights(model: nn.Module, w: Tensor) -> nn.Module:
    other = copy.deepcopy(model)
    nn.utils.vector_to_parameters(w, other.parameters())
    return other


@pytest.mark.parametrize("base", [MAP, SAM])
def test_a_member_is_what_its_base_finds_from_its_own_start_order_and_dropout(
    base: type[MAP],
) -> None:
    model, task = network(normalisation=True, dropout=0.3), blobs()
    ensemble = Ensemble(members=3, ball=base.ball, **SETTINGS).fit(
        model, task, seed=2, device="cpu"
    )
    alone = [
        base(**SETTINGS).fit(
            with_weights(model, fresh_weights(ParameterSpace(model), seed)),
            task,
            seed=seed,
            device="cpu",
        )
        for seed in (6, 7, 8)
    ]
    weights = ensemble.distribution.tensors()["vectors"]
    assert torch.equal(weights, torch.stack([each.mean for each in alone]))
    for name in ("train_loss", "validation_loss", "validation_accuracy"):
        means = torch.tensor([each.history[name] for each in alone]).mean(0).tolist()
        assert ensemble.history[name] == pytest.approx(means), name
    assert ensemble.history["learning_rate"] == alone[0].history["learning_rate"]


def test_no_two_members_and_no_two_seeds_share_a_start_or_an_order() -> None:
    problem = Problem(ParameterSpace(network()), "cross_entropy", 30, 10)
    states = [Ensemble().init(problem, seed=seed).members for seed in (0, 1)]
    members = [*states[0], *states[1]]
    assert len({tuple(member.weights.tolist()) for member in members}) == 10
    assert len({tuple(torch.randperm(30, generator=m.order).tolist()) for m in members}) == 10


def test_with_a_prior_members_start_at_draws_from_it() -> None:
    model = network()
    prior = isotropic(model, 0.5, mean=ParameterSpace(model).vector())
    problem = Problem(prior.space, "cross_entropy", 30, 10)
    members = Ensemble(members=40).init(problem, prior=prior).members
    starts = torch.stack([member.weights for member in members])
    white = (starts - prior.mean) / 0.5
    assert abs(float(white.mean())) < 5 / white.numel() ** 0.5
    assert abs(float(white.var()) - 1) < 5 * (2 / white.numel()) ** 0.5


def test_a_step_of_ones_own_loop_is_a_step_of_every_member() -> None:
    task, method = blobs(), Ensemble(members=2, epochs=3)
    problem = Problem(ParameterSpace(network()), task.loss, 30, 3)
    state, batch = method.init(problem), (task.train.inputs, task.train.targets)
    alone = [MAP(epochs=3).init(problem, seed=seed) for seed in (0, 1)]
    for member, each in zip(state.members, alone, strict=True):
        each.weights.copy_(member.weights)
        MAP(epochs=3).step(each, batch)
    method.step(state, batch)
    found = method.posterior(state).distribution
    assert isinstance(found, Samples)
    assert torch.equal(found.vectors, torch.stack([each.weights for each in alone]))
    assert float(state.last["loss"]) == pytest.approx(
        sum(float(each.last["loss"]) for each in alone) / 2
    )


@pytest.mark.parametrize("name", ["convnet", "mlp", "resnet20"])
def test_fresh_weights_are_those_of_a_new_network(name: str) -> None:
    shape = {"input_shape": (3, 8, 8), "classes": 4}
    trained, new = (models.build(name, seed=seed, **shape) for seed in (0, 5))
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(1.0)
    before = copy.deepcopy(trained.state_dict())
    torch.manual_seed(0)
    state = torch.get_rng_state()
    found = fresh_weights(ParameterSpace(trained), 5)
    assert torch.equal(found, ParameterSpace(new).vector())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())


class Bare(nn.Module):
    """Parameters of its own besides a layer's and an attention's."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(3.0 + 0.02 * torch.randn(40, 50))
        self.scale = nn.Parameter(torch.full((6,), 1e-6))
        self.temperature = nn.Parameter(torch.tensor(2.5))
        self.layer = nn.Linear(4, 4)
        self.attention = nn.MultiheadAttention(4, 2)


def test_bare_parameters_are_redrawn_with_their_own_mean_and_spread() -> None:
    torch.manual_seed(0)
    model = Bare().double()
    model.layer.requires_grad_(False)
    space = ParameterSpace(model)
    old, new, other = (
        space.unflatten(w) for w in (space.vector(), *(fresh_weights(space, s) for s in (1, 2)))
    )
    assert "layer.weight" not in new
    assert new["position"].dtype == torch.float64
    assert not torch.isclose(new["position"], old["position"], atol=1e-6).all()
    assert not torch.equal(new["position"], other["position"])
    assert abs(float(new["position"].mean()) - 3.0) < 10 * 0.02 / 2000**0.5
    assert float(new["position"].std()) == pytest.approx(0.02, rel=10 / 4000**0.5)
    assert torch.equal(new["scale"], old["scale"])
    assert float(new["temperature"]) == 2.5
    assert not torch.equal(new["attention.in_proj_weight"], old["attention.in_proj_weight"])


def test_settings_that_cannot_be_are_refused() -> None:
    for settings in ({"members": 0}, {"ball": "posterior-score"}, {"weight_decay": -1.0}):
        with pytest.raises(InputError, match=next(iter(settings))):
            Ensemble(**settings)
