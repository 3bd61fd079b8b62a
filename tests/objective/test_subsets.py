"""Random parameters chosen by the types of layers."""

import pytest
from torch import nn

from landscape import models
from landscape.errors import InputError
from landscape.objective.parameters import ParameterSpace
from landscape.objective.subsets import head, normalisation_and_head


def test_every_normalisation_layer_counts_whatever_its_name() -> None:
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Linear(4, 3)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.LayerNorm(3), nn.Linear(3, 2), nn.ReLU())
    names = ["1.weight", "1.bias", "2.weight", "2.bias", "5.weight", "5.bias"]
    assert normalisation_and_head(model) == [*names, "6.weight", "6.bias"]
    assert head(model) == ["6.weight", "6.bias"]


def test_downsampling_branches_count_in_a_residual_network() -> None:
    model = models.build("resnet18", input_shape=(3, 32, 32), classes=10)
    space = ParameterSpace(model, normalisation_and_head(model))
    assert space.size == 9600 + 512 * 10 + 10  # 4,800 channels of BatchNorm; the head
    assert any("shortcut" in name or "downsample" in name for name in space.names)


def test_a_tied_head_has_the_name_that_its_parameter_has() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2, bias=False))
    model[2].weight = model[0].weight
    assert head(model) == ["0.weight"]


def test_no_head_is_said() -> None:
    with pytest.raises(InputError, match="no linear layer"):
        normalisation_and_head(nn.Conv2d(1, 1, 1))
