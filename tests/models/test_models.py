"""Networks by name, with initial weights from a seed."""

import pytest
import torch

from landscape import models, tasks
from landscape.errors import InputError


@pytest.mark.parametrize("normalisation", ["none", "batch", "group"])
def test_a_network_is_made_by_name_from_a_seed(normalisation: str) -> None:
    task = tasks.load("digits")
    state = torch.get_rng_state()
    one, same, other = (
        models.build("convnet", task, seed=seed, width=4, normalisation=normalisation)
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert one(task.train.inputs[:3]).shape == (3, 10)
    weight = "features.0.weight"
    assert torch.equal(one.get_parameter(weight), same.get_parameter(weight))
    assert not torch.equal(one.get_parameter(weight), other.get_parameter(weight))
    layers = {type(layer).__name__ for layer in one.modules()}
    kinds = {"none": "Identity", "batch": "BatchNorm2d", "group": "GroupNorm"}
    assert layers & set(kinds.values()) == {kinds[normalisation]}
    again = models.rebuild(one.architecture)  # type: ignore[arg-type]
    assert {n: p.shape for n, p in again.named_parameters()} == {
        n: p.shape for n, p in one.named_parameters()
    }


def test_networks_that_are_not_known_are_refused() -> None:
    with pytest.raises(InputError, match="unknown model 'vgg'; known: convnet"):
        models.build("vgg")
    with pytest.raises(InputError, match="unexpected keyword argument 'depth'"):
        models.build("convnet", input_shape=(1, 8, 8), classes=2, depth=3)
    with pytest.raises(InputError, match="normalisation is one of"):
        models.build("convnet", input_shape=(1, 8, 8), classes=2, normalisation="layer")
    with pytest.raises(InputError, match="network of your own"):
        models.rebuild(None)
