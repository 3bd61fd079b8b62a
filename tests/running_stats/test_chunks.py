"""Into what examples are divided that pass through a network side by side."""

from collections.abc import Callable, Iterator

import pytest
import torch
from cases import Counted, generator
from torch import Tensor, nn

from landscape.objective.parameters import ParameterSpace
from landscape.running_stats import chunks
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


def passes_of_five_batches_of_two() -> list[int]:
    space = ParameterSpace(Noting())
    reestimate(space, space.vector(), [(torch.randn(2, 4), None)] * 5)
    found: list[int] = space.module.passes
    # How the network runs; what an example takes, and whether it may wait.
    assert found[:5] == [2, 1, 2, 1, 2]
    return found[5:]


def test_batches_are_joined_as_far_as_a_part_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """An example takes twice 16 bytes of inputs and, at most, four tensors of 64 bytes."""
    monkeypatch.setattr(chunks, "_TOGETHER", 0)
    for examples, divided in ((10, [10]), (9, [8, 2]), (4, [4, 4, 2]), (3, [2, 2, 2, 2, 2])):
        each = examples * (2 * 16 + 4 * 64) // torch.get_num_threads()
        monkeypatch.setattr(chunks, "_PART", each)
        assert passes_of_five_batches_of_two() == divided


def test_parts_wait_for_each_other_as_far_as_the_memory_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An example that waits holds twice 16 bytes of inputs and, at most, three tensors of 64 bytes.

    The other parts begin again for the first layer, for the second, and for the end.
    """
    monkeypatch.setattr(chunks, "_TOGETHER", 0)
    monkeypatch.setattr(chunks, "_PART", 0)
    for examples, again in ((10, 0), (9, 1), (2, 4), (1, 5)):
        room = examples * (2 * 16 + 3 * 64)
        monkeypatch.setattr(chunks, "spare", lambda _, room=room: room / chunks._WAITING)
        assert passes_of_five_batches_of_two() == [2] * (5 - again + 3 * again)


def test_inputs_are_read_again_where_the_memory_does_not_hold_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Reading:
        """Counts how often it is read."""

        times = 0

        def __iter__(self) -> Iterator[tuple[Tensor, None]]:
            self.times += 1
            return iter([(torch.ones(2, 4), None), (torch.zeros(2, 4), None)])

    monkeypatch.setattr(chunks, "_TOGETHER", 0)
    monkeypatch.setattr(chunks, "_PART", 0)
    for room, times in ((1 << 30, 2), (64, 2), (63, 5)):  # two looks, two layers, and the end
        monkeypatch.setattr(chunks, "spare", lambda _, room=room: room)
        space, batches = ParameterSpace(Noting()), Reading()
        reestimate(space, space.vector(), batches)
        assert batches.times == times


def test_more_parts_than_there_may_be_threads_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_TOGETHER", 0)
    monkeypatch.setattr(chunks, "_PART", 0)
    monkeypatch.setattr(chunks, "_THREADS", 4 * torch.get_num_threads())
    assert passes_of_five_batches_of_two() == [2] * (4 + 3)


@pytest.mark.parametrize(
    ("kept", "used"),
    [
        (lambda x: x, torch.add),  # of which examples are added to a batch that has one
        (lambda x: x, lambda outputs, kept: torch.cat([outputs, kept], 1)),
        (lambda x: x.mean(), torch.add),
    ],
)
def test_parts_of_a_network_that_keeps_something_in_itself_do_not_wait_for_each_other(
    kept: Callable[[Tensor], Tensor],
    used: Callable[[Tensor, Tensor], Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Keeping(Counted):
        def forward(self, inputs: Tensor) -> Tensor:
            self.kept = kept(inputs)
            return used(super().forward(inputs), self.kept)

    x = torch.randn(24, 4, generator=generator(), dtype=torch.float64)
    batches = [(each, None) for each in x.split(6)]
    for network, passes in ((Keeping(), 3 * 4), (Counted(), 4)):
        space = ParameterSpace(network.double())
        whole = reestimate(space, space.vector(), batches)
        space.module.passes.clear()
        with monkeypatch.context() as patched:
            patched.setattr(chunks, "_TOGETHER", 0)
            patched.setattr(chunks, "_PART", 0)
            found = reestimate(space, space.vector(), batches)
        assert space.module.passes.count(6) == passes  # others are to see what they take
        for name, value in whole.buffers.items():
            torch.testing.assert_close(found.buffers[name], value)
