"""What a batch is: a pair (inputs, targets), each a tensor or tensors in a dict or a sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.errors import InputError

Batch = tuple[Any, Any]


def batch_size(targets: Any) -> int:
    """Number of examples in a batch, from its targets.

    Raises:
        InputError: they are neither a tensor nor tensors in a dict or a sequence, or have no axis.
    """
    if isinstance(targets, Tensor) and targets.ndim > 0:
        return int(targets.shape[0])
    if isinstance(targets, Mapping | list | tuple) and targets:
        return batch_size(next(iter(targets.values() if isinstance(targets, Mapping) else targets)))
    if isinstance(targets, Tensor):
        raise InputError(
            "the data are single examples, not batches: give a DataLoader of the dataset"
        )
    raise InputError(
        "a batch's targets must be a tensor whose first axis is the example, or several in a dict "
        f"or a sequence, not {type(targets).__name__}"
    )


def same_examples(first: Iterable[Batch], second: Iterable[Batch]) -> bool:
    """Whether two sets of batches are the same examples in the same order, however divided."""
    ours, theirs = iter(first), iter(second)
    left: list[Tensor] = []
    right: list[Tensor] = []
    while True:
        left = left if _rows(left) else tensors_of(next(ours, None))
        right = right if _rows(right) else tensors_of(next(theirs, None))
        rows = min(_rows(left), _rows(right))
        if not rows or len(left) != len(right):
            return not left and not right
        for one, other in zip(left, right, strict=True):
            if one.dtype != other.dtype or one.shape[1:] != other.shape[1:]:
                return False
            if not torch.equal(one[:rows], other[:rows].to(one.device)):
                return False
        left, right = [each[rows:] for each in left], [each[rows:] for each in right]


def _rows(tensors: list[Tensor]) -> int:
    """How many examples tensors have, as far as their rows can be compared."""
    comparable = all(each.ndim and each.layout is torch.strided for each in tensors)
    return min((len(each) for each in tensors), default=0) if comparable else 0


def take(value: Any, index: Tensor) -> Any:
    """The examples ``index`` of a batch's tensor, or of all tensors in a dict or a sequence."""
    return map_tensors(lambda tensor: tensor[index.to(tensor.device)], value)


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """``value`` with each of its tensors replaced; dicts stay, and sequences become tuples."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {name: map_tensors(function, item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map_tensors(function, item) for item in value)
    return value


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors in dicts and sequences, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [tensor for item in value for tensor in tensors_of(item)]
