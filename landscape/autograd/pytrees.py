"""Tensors in dicts, lists and tuples, and in graphs of PyTorch Geometric."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn


def map_tensors(function: Callable[[Tensor], Any], value: Any) -> Any:
    """``value`` with ``function`` applied to each tensor, in whatever holds it.

    Dicts of other types, such as a ``ModelOutput`` of transformers, keep their type.
    """
    if isinstance(value, Tensor):
        return function(value)
    if is_graph(value):
        return copy.copy(value).apply(function)
    if isinstance(value, Mapping):
        items = {name: map_tensors(function, item) for name, item in value.items()}
        if not isinstance(value, dict) or type(value) is dict:
            return items
        value = copy.copy(value)
        for name, item in items.items():
            value[name] = item
        return value
    if isinstance(value, list | tuple):
        return sequence_like(value, [map_tensors(function, item) for item in value])
    return value


def is_graph(value: Any) -> bool:
    """Whether ``value`` is a graph, or a batch of graphs, as those of PyTorch Geometric are."""
    if isinstance(value, Mapping | nn.Module):
        return False
    return all(callable(getattr(value, name, None)) for name in ("apply", "to_dict"))


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors in dicts, sequences and graphs, in order."""
    if isinstance(value, Tensor):
        return [value]
    if is_graph(value):
        value = value.to_dict()
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [tensor for item in value for tensor in tensors_of(item)]


def sequence_like(like: list[Any] | tuple[Any, ...], items: list[Any]) -> Any:
    """``items`` in a sequence of the same type as ``like``."""
    if isinstance(like, list):
        return items
    return type(like)(*items) if hasattr(like, "_fields") else tuple(items)
