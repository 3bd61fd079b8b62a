"""What a batch is: a pair (inputs, targets), each a tensor or tensors in a dict or a sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
