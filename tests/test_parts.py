"""Into what examples are divided that pass through a network side by side."""

from collections.abc import Callable

import pytest
import torch
from cases import generator
from torch import Tensor, nn

from landscape import parts
from landscape.normalisation import reestimate
from landscape.parameters import ParameterSpace


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


def passes_of_five_batches_of_two() -> list[int]:
    space = ParameterSpace(Noting())
    reestimate(space, space.vector(), [(torch.randn(2, 4), None)] * 5)
    found: list[int] = space.module.passes
    assert found[:4] == [1, 2, 1, 2]  # which show what an example takes, and whether it may wait
    return found[4:]


def test_batches_are_joined_as_far_as_a_part_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """An example takes 16 bytes of inputs and, at most, four tensors of 64 bytes."""
    monkeypatch.setattr(parts, "_TOGETHER", 0)
    for examples, divided in ((10, [10]), (9, [8, 2]), (4, [4, 4, 2]), (3, [2, 2, 2, 2, 2])):
        each = examples * (16 + 4 * 64) // torch.get_num_threads()
        monkeypatch.setattr(parts, "_PART", each)
        assert passes_of_five_batches_of_two() == divided


def test_parts_wait_for_each_other_as_far_as_the_memory_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An example that waits holds 16 bytes of inputs and, at most, three tensors of 64 bytes."""
    monkeypatch.setattr(parts, "_TOGETHER", 0)
    monkeypatch.setattr(parts, "_PART", 0)
    for examples, groups in ((10, 1), (9, 2)):
        monkeypatch.setattr(parts, "spare", lambda _, n=examples: n * (16 + 3 * 64) // 2)
        found = passes_of_five_batches_of_two()
        again = [2] * 5  # for the second layer
        assert found == [2] * 5 + (again if groups > 1 else [])


@pytest.mark.parametrize("kept", [lambda x: x, lambda x: x.mean()])
def test_parts_of_a_network_that_keeps_something_in_itself_do_not_wait_for_each_other(
    kept: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3), nn.BatchNorm1d(3)
            )

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layers(inputs)

    class Keeping(Layers):
        def forward(self, inputs: Tensor) -> Tensor:
            self.kept = kept(inputs)
            return self.layers(inputs) + self.kept.sum()

    x = torch.randn(23, 4, generator=generator(), dtype=torch.float64)
    batches = [(each, None) for each in x.split(6)]
    for network in (Keeping(), Layers()):
        space = ParameterSpace(network.double())
        whole = reestimate(space, space.vector(), batches)
        with monkeypatch.context() as patched:
            patched.setattr(parts, "_TOGETHER", 0)
            patched.setattr(parts, "_PART", 0)
            found = reestimate(space, space.vector(), batches)
        assert (found.outputs is None) == isinstance(network, Keeping)
        for name, value in whole.buffers.items():
            torch.testing.assert_close(found.buffers[name], value)
