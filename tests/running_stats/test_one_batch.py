"""When all examples pass through a network as one batch, and how often they pass otherwise."""

from collections.abc import Iterator

import pytest
import torch
from cases import generator
from torch import Tensor, nn

from landscape.objective.parameters import ParameterSpace
from landscape.running_stats import one_batch
from landscape.running_stats.normalisation import reestimate


class Noting(nn.Module):
    """Notes the sizes of its batches, of which it makes tensors of 64 bytes an example."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.norm, self.sum = nn.Linear(4, 16), nn.BatchNorm1d(16), nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 1000)  # larger than any activation: it does not count
        self.passes: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.passes.append(len(inputs))
        first = self.wide(inputs)
        second = torch.tanh(first)
        return self.sum(first + self.norm(second)) @ self.head.weight[:1].T


ONE_BATCH = [10]
LAYER_BY_LAYER = 3 * [2, 2, 2, 2, 2]  # two layers, and the outputs


def passes_of_five_batches_of_two(
    network: Noting | None = None, dtype: torch.dtype = torch.float32
) -> list[int]:
    space = ParameterSpace(network or Noting(), dtype=dtype)
    data = torch.randn(10, 4, generator=generator()).split(2)
    for _ in range(2):
        space.module.passes.clear()
        reestimate(space, space.vector(), [(x, None) for x in data])
    passes: list[int] = space.module.passes  # of the second time, when it is known what they take
    return passes


def test_examples_are_one_batch_as_far_as_the_memory_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An example takes twice 16 bytes of inputs and, at most, four tensors of 64 bytes."""
    need = 10 * (2 * 16 + 4 * 64)
    monkeypatch.setattr(one_batch, "_SHARE", 1)
    for room, small, passes in (
        (need, 0, ONE_BATCH),
        (need - 1, 0, LAYER_BY_LAYER),
        (need - 1, 10 * 16 - 1, LAYER_BY_LAYER),
        (0, 10 * 16, ONE_BATCH),
    ):
        monkeypatch.setattr(one_batch, "spare", lambda _, room=room: room)
        monkeypatch.setattr(one_batch, "_SMALL", small)
        assert passes_of_five_batches_of_two() == passes


def test_scratch_memory_of_other_types_than_float32_is_allowed_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An example takes 16 bytes of inputs in float32, and 32 and four times 128 in float64."""
    need = 4 * 10 * (16 + 32 + 4 * 128)
    monkeypatch.setattr(one_batch, "_SHARE", 1)
    monkeypatch.setattr(one_batch, "_SMALL", 0)
    for room, passes in ((need, ONE_BATCH), (need - 1, LAYER_BY_LAYER)):
        monkeypatch.setattr(one_batch, "spare", lambda _, room=room: room)
        assert passes_of_five_batches_of_two(dtype=torch.float64) == passes


def test_no_tensor_has_more_elements_than_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_batch, "_SMALL", 0)
    for elements, passes in ((10 * 16, ONE_BATCH), (10 * 16 - 1, LAYER_BY_LAYER)):
        monkeypatch.setattr(one_batch, "_ELEMENTS", elements)
        assert passes_of_five_batches_of_two() == passes


def test_what_an_example_takes_is_found_once_for_each_shape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(one_batch, "_SMALL", 0)
    space = ParameterSpace(Noting())
    for shape, tried in (((3, 4), [2, 1, 2]), ((3, 4), []), ((3, 1, 4), [1, 2])):
        space.module.passes.clear()
        if len(shape) == 2:
            data = [(torch.randn(shape), None)] * 2
        else:
            space.module.wide = nn.Sequential(space.module.wide, nn.Flatten())
            data = [(torch.randn(shape), None)] * 2
        reestimate(space, space.vector(), data)
        assert space.module.passes == [*tried, 6]


def test_batches_of_a_network_that_refuses_few_examples_are_not_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OfFixedSize(Noting):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs.reshape(2, 4))

    monkeypatch.setattr(one_batch, "_SMALL", 0)
    assert passes_of_five_batches_of_two(OfFixedSize()) == LAYER_BY_LAYER


def test_inputs_are_read_again_where_the_memory_does_not_hold_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Reading:
        """Counts how often it is read."""

        times = 0

        def __iter__(self) -> Iterator[tuple[Tensor, None]]:
            self.times += 1
            return iter([(torch.ones(2, 4), None), (torch.zeros(2, 4), None)])

    monkeypatch.setattr(one_batch, "_SMALL", 0)
    for room, times in ((1 << 30, 1), (64, 1), (63, 5)):  # two looks, two layers, and the outputs
        monkeypatch.setattr(one_batch, "spare", lambda _, room=room: room)
        space, batches = ParameterSpace(Noting()), Reading()
        reestimate(space, space.vector(), batches)
        assert batches.times == times
