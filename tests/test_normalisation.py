"""Running statistics re-estimated for given weights."""

import pytest
import torch
from cases import classification, joined, mlp
from torch import nn

from landscape.errors import InputError
from landscape.normalisation import reestimate
from landscape.parameters import ParameterSpace


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, momentum=0.3), nn.Linear(5, 3)).double()


@pytest.mark.parametrize("batch", [6, 7, 23])
def test_the_mean_is_over_all_examples_with_a_ragged_last_batch(batch: int) -> None:
    space = ParameterSpace(model())
    w = torch.randn(space.size, dtype=torch.float64)
    buffers = reestimate(space, w, classification(batch=batch))
    x, _ = joined(classification())
    values = space.unflatten(w)
    hidden = nn.functional.linear(x, values["0.weight"], values["0.bias"])
    torch.testing.assert_close(buffers["1.running_mean"], hidden.mean(0))
    if batch == 23:
        torch.testing.assert_close(buffers["1.running_var"], hidden.var(0))


def test_the_spaces_own_statistics_and_momentum_stay() -> None:
    space = ParameterSpace(model())
    before = space.buffers()
    reestimate(space, space.vector(), classification())
    for name, value in space.buffers().items():
        assert torch.equal(value, before[name])
    assert space.module[1].momentum == 0.3  # type: ignore[index]
    assert not space.module.training


def test_a_network_without_statistics_needs_no_data() -> None:
    space = ParameterSpace(mlp())
    assert reestimate(space, space.vector(), []) == {}
    with pytest.raises(InputError, match="no batch"):
        reestimate(ParameterSpace(model()), ParameterSpace(model()).vector(), [])
