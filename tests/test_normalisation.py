"""Running statistics re-estimated for given weights, against torch's own pass over all at once."""

import copy
from collections.abc import Callable

import pytest
import torch
from cases import classification, generator, joined, mlp, shuffled
from torch import Tensor, nn

from landscape import normalisation
from landscape.errors import InputError
from landscape.normalisation import reestimate
from landscape.parameters import ParameterSpace


class Branches(nn.Module):
    """Two branches, of which one has a layer of statistics after another."""

    def __init__(self) -> None:
        super().__init__()
        self.long = nn.Sequential(
            nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3), nn.BatchNorm1d(3)
        )
        self.short = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=None))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.long(inputs) + self.short(inputs)


def images() -> nn.Module:
    return nn.Sequential(
        nn.Dropout(0.9), nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)
    )


def at_once(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Statistics of one pass in training mode over all the data, without dropout."""
    model = copy.deepcopy(model).train()
    for layer in model.modules():
        if hasattr(layer, "momentum"):
            layer.momentum = 1.0
        if isinstance(layer, nn.Dropout):
            layer.eval()
    model(inputs)
    return {name: b for name, b in model.named_buffers() if b.is_floating_point()}


@pytest.mark.parametrize("batch", [1, 6, 7, 22, 23])
@pytest.mark.parametrize("make", [Branches, images])
@pytest.mark.parametrize("together", [0, 300, 1 << 25])
def test_statistics_are_those_of_one_pass_however_the_data_are_divided(
    make: Callable[[], nn.Module], batch: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(normalisation, "_TOGETHER", together)
    model = make().double()
    space = ParameterSpace(model)
    x, _ = joined(classification())
    for batches in (classification(batch=batch), shuffled(classification(), batch)):
        found = reestimate(space, space.vector(), batches)
        for name, truth in at_once(model, x).items():
            torch.testing.assert_close(found[name], truth)


def test_statistics_of_instance_normalisation_are_averages_over_examples() -> None:
    layer = nn.InstanceNorm1d(2, track_running_stats=True, affine=True).double()
    model = nn.Sequential(nn.Unflatten(1, (2, 2)), layer)
    space = ParameterSpace(model)
    found = reestimate(space, space.vector(), classification())
    for name, truth in at_once(model, joined(classification())[0]).items():
        torch.testing.assert_close(found[name], truth)


def test_the_weights_given_are_the_ones_used() -> None:
    space = ParameterSpace(nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)).double())
    w = torch.randn(space.size, generator=generator(), dtype=torch.float64)
    found = reestimate(space, w, classification())
    values = space.unflatten(w)
    hidden = nn.functional.linear(joined(classification())[0], values["0.weight"], values["0.bias"])
    torch.testing.assert_close(found["1.running_mean"], hidden.mean(0))
    torch.testing.assert_close(found["1.running_var"], hidden.var(0))


def test_the_spaces_own_statistics_and_mode_stay() -> None:
    space = ParameterSpace(Branches().double())
    before = space.buffers()
    reestimate(space, space.vector(), classification())
    for name, value in space.buffers().items():
        assert torch.equal(value, before[name])
    assert not any(layer.training for layer in space.module.modules())
    assert not any(layer._forward_pre_hooks for layer in space.module.modules())


def test_a_network_without_statistics_needs_no_data() -> None:
    space = ParameterSpace(mlp())
    assert reestimate(space, space.vector(), []) == {}


def test_data_that_give_no_statistics_are_refused() -> None:
    space = ParameterSpace(Branches().double())
    for batches, message in (
        ([], "no batch"),
        (iter(classification()), "read only once"),
        (classification(examples=1), "more than one value a channel"),
    ):
        with pytest.raises(InputError, match=message):
            reestimate(space, space.vector(), batches)


def test_small_batches_are_put_together_and_what_does_not_fit_is_not() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls, self.first, self.second = 0, nn.BatchNorm1d(4), nn.BatchNorm1d(4)

        def forward(self, inputs: Tensor) -> Tensor:
            self.calls += 1
            return self.second(self.first(inputs.flatten(0, -2)))

    for shapes, calls in (([(3, 4)] * 5, 1), ([(3, 4), (3, 2, 4), (3, 2, 4)], 4)):
        space = ParameterSpace(Counting())
        reestimate(space, space.vector(), [(torch.randn(shape), None) for shape in shapes])
        assert space.module.calls == calls  # twice two batches: a pass for each of two layers


def test_what_is_behind_the_layer_looked_for_is_not_computed() -> None:
    class Shared(nn.Module):
        """Calls its second layer of statistics twice."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
            self.passed: list[str] = []

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.first(inputs)
            self.passed.append("first")
            hidden = self.second(torch.tanh(hidden))
            self.passed.append("second")
            hidden = self.second(hidden)
            self.passed.append("again")
            return hidden

    space = ParameterSpace(Shared())
    batches = [(torch.randn(3, 4), None), (torch.randn(2, 4, 1).squeeze(-1).double(), None)]
    reestimate(space, space.vector(), batches)
    whole = ["first", "second", "again"]
    assert space.module.passed == [*whole, *whole, "first", "second", "first", "second"]
