"""What several adapters share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.objective.copies import copy_module
from landscape.posteriors.imported import listed


def kinds_of(thing: Any) -> set[str]:
    """Names of an object's class and of the classes that it is derived from."""
    return {kind.__name__ for kind in type(thing).__mro__}


def holding(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the model with these weights and buffers.

    Raises:
        InputError: names or shapes differ.
    """
    network, expected = copy_module(model), model.state_dict()
    differing = [
        *(name for name in expected if name not in state),
        *(name for name in state if name not in expected),
        *(n for n, v in expected.items() if n in state and v.shape != state[n].shape),
    ]
    if differing:
        raise InputError(f"the object's network and the model differ in {listed(differing)}")
    network.load_state_dict({name: value.detach() for name, value in state.items()})
    return network


def check_names(model: nn.Module, names: Sequence[str], what: str) -> None:
    """Check that each name is one of the model's parameters.

    Raises:
        InputError: some are not.
    """
    known = dict(model.named_parameters())
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(
            f"{what} {listed(unknown) if unknown else 'nothing'}, and the model has "
            f"{listed(list(known))}: give a plain network with the same names"
        )


def permuted(model: nn.Module, given: Sequence[str]) -> tuple[list[str], Tensor]:
    """Names in the model's order, and the index that brings their numbers into it.

    Args:
        model: The network.
        given: Names of parameters, in the order of the object's vectors.

    Returns:
        The names, and an index such that ``vector[index]`` is in their order.
    """
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    begins, begin = {}, 0
    for name in given:
        begins[name] = begin
        begin += sizes[name]
    names = [name for name in sizes if name in begins]
    parts = [torch.arange(begins[name], begins[name] + sizes[name]) for name in names]
    return names, torch.cat(parts)
