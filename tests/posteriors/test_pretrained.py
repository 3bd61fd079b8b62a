"""The Gaussian around pretrained weights, by its formula and as prior and start of methods."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

import landscape as ls
from landscape.errors import InputError
from landscape.methods import FPBMA, MOPED, SGHMC, Problem
from landscape.objective.subsets import normalisation_and_head
from landscape.posteriors import Posterior, moped


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
        return model.double()


def problem(prior: Posterior) -> Problem:
    return Problem(prior.space, "cross_entropy", 10**6, 10)


def test_the_scale_is_a_share_of_the_weight_and_has_a_floor() -> None:
    model, p = network(), moped(network(), delta=0.2, min_scale=0.03)
    before = torch.cat([value.detach().flatten() for value in model.parameters()])
    assert torch.equal(p.mean, before)
    assert torch.equal(
        p.gaussian.scale, torch.maximum(0.2 * before.abs(), torch.full_like(before, 0.03))
    )
    assert p.gaussian.rank == 0
    assert float(before[24 + 8 : 24 + 16].abs().max()) == 0  # the shifts of the normalisation


def test_a_fresh_head_is_around_zero() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    names = normalisation_and_head(model)
    p = ls.posteriors.moped(model, delta=0.05, alpha=0.04, parameters=names)
    assert p.space.names == tuple(names)
    assert [p.space.size, *p.mean[:8].tolist()] == [8 + 8 + 24 + 3, *[1.0] * 8]
    truth = torch.tensor([0.05] * 8 + [1e-3] * 8 + [0.2] * 27, dtype=torch.float64)
    torch.testing.assert_close(p.gaussian.scale, truth)
    assert float(p.mean[16:].abs().max()) == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    named = moped(model, alpha=0.04, fresh=["3.bias"])
    assert torch.equal(named.gaussian.scale[-3:], torch.full((3,), 0.2, dtype=torch.float64))
    assert torch.equal(named.mean[:-3], moped(model).mean[:-3])


def test_it_is_prior_and_start_of_fp_bma_and_the_start_of_moped() -> None:
    p = moped(network(), delta=0.3, min_scale=0.02)
    state = FPBMA(prior_scale=0.0).init(problem(p), prior=p)
    for q in (state.gaussian, state.prior):
        assert torch.equal(q.mean, p.mean)
        torch.testing.assert_close(q.scale, p.gaussian.scale)
    same = MOPED(delta=0.3, min_scale=0.02).init(problem(p)).gaussian
    assert torch.equal(same.mean, state.gaussian.mean)
    assert torch.equal(same.scale, state.gaussian.scale)
    chain = SGHMC(ball="posterior-exact").init(problem(p), prior=p)
    assert torch.equal(chain.weights, p.mean)
    assert torch.equal(chain.prior.scale, p.gaussian.scale)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delta": 0.0}, "delta must be positive and finite, not 0.0"),
        ({"alpha": -1.0}, "alpha must be positive"),
        ({"min_scale": float("inf")}, "min_scale must be positive"),
        ({"fresh": ["3.bias"]}, "alpha is missing"),
        ({"alpha": 0.1, "fresh": ["4.bias"]}, "'4.bias' is not an inferred parameter"),
        ({"alpha": 0.1, "parameters": ["0.bias"]}, "'3.weight' is not an inferred parameter"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        moped(network(), **settings)
