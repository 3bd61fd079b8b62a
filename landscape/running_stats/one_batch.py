"""All examples as one batch, where the memory holds its forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from landscape.autograd.pytrees import map_tensors, tensors_of
from landscape.autograd.tensor_memory import LiveTensors
from landscape.objective.batches import Batch, examples_in
from landscape.objective.parameters import ParameterSpace
from landscape.runtime.memory import spare

# Bytes of inputs that are joined without measuring what their pass takes.
_SMALL = 1 << 20
# Share of ``spare`` that the tensors of a pass may take. It is a third of the free memory, because
# malloc takes up to twice what it gives.
_SHARE = 4 / 3
# Of that, what they may take on the CPU in types other than float32. There torch's convolutions
# take scratch memory that is not measured: nine times their input for a kernel of 3 x 3.
_SHARE_WITH_SCRATCH = 1 / 4
# Number of elements that a tensor may have: some of torch's kernels count them in 32 bits.
_ELEMENTS = (1 << 31) - 1

# By network: the kind of its inputs, and the bytes and elements that one more example takes.
_NEEDS: WeakKeyDictionary[nn.Module, tuple[Any, float, float]] = WeakKeyDictionary()


def held(batches: Iterable[Batch]) -> Iterable[Batch]:
    """``batches`` as a list, or as they are where the memory does not hold their inputs."""
    room = spare(torch.device("cpu"))
    read: list[Batch] = []
    for batch in batches:
        room -= sum(tensor.nbytes for tensor in tensors_of(batch[0]))
        if room < 0 and read:
            return batches
        read.append(batch)
    return read


def joined(
    space: ParameterSpace, network: Callable[[Any], Any], batches: Iterable[Batch]
) -> Any | None:
    """The inputs of all batches as those of one batch.

    Args:
        space: The network's space.
        network: The network, as ``ParameterSpace.at`` gives it.
        batches: The batches.

    Returns:
        Inputs; ``None`` where the batches differ in shape or cannot be joined, or where the memory
        does not hold their pass.
    """
    if not isinstance(batches, list) or not batches:
        return None
    first = batches[0][0]
    if len(batches) == 1:
        return first
    kind = _kind(first)
    sizes = [_size(batch) for batch in batches]
    if not all(sizes) or any(_kind(inputs) != kind for inputs, _ in batches):
        return None
    examples = sum(sizes)
    tensors = [tensors_of(inputs) for inputs, _ in batches]
    if sum(tensor.nbytes for row in tensors for tensor in row) > _SMALL:
        if space.module not in _NEEDS or _NEEDS[space.module][0] != kind:
            _NEEDS[space.module] = kind, *_needs(network, first)
        _, nbytes, elements = _NEEDS[space.module]
        if examples * nbytes > _room(space) or examples * elements > _ELEMENTS:
            return None
    columns = iter([torch.cat(column) for column in zip(*tensors, strict=True)])
    return map_tensors(lambda _: next(columns), first)


def _room(space: ParameterSpace) -> float:
    """Bytes that the tensors of a pass may take."""
    room = _SHARE * spare(space.device)
    has_scratch = space.device.type == "cpu" and space.dtype != torch.float32
    return _SHARE_WITH_SCRATCH * room if has_scratch else room


def _kind(inputs: Any) -> Any:
    """Everything that batches must have in common to be joined."""
    return map_tensors(lambda tensor: (tensor.shape[1:], tensor.dtype), inputs)


def _size(batch: Batch) -> int:
    """Number of examples in a batch that can be joined to others; 0 for any other."""
    inputs, _ = batch
    if isinstance(inputs, Tensor):
        return len(inputs) if inputs.ndim else 0
    return examples_in(batch) or 0


def _needs(network: Callable[[Any], Any], inputs: Any) -> tuple[float, float]:
    """Bytes, and elements of the largest tensor, that one more example takes in a pass.

    They are the difference between passes of one example and of two. They are infinite where the
    network refuses so few examples: its batches are then not joined.
    """
    one, two = LiveTensors(), LiveTensors()
    try:
        for live, rows in ((one, [0]), (two, [0, -1])):
            few = map_tensors(itemgetter(rows), inputs)
            with live:
                network(few)
    except Exception:  # the run that matters raises what else is wrong
        return math.inf, math.inf
    own = sum(tensor[:1].nbytes for tensor in tensors_of(inputs))
    return own + _rise(one.course, two.course), _rise(one.sizes, two.sizes)


def _rise(one: list[int], two: list[int]) -> int:
    return max(more - less for less, more in zip(one, two, strict=False))
