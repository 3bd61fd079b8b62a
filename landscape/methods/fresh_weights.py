"""Initial weights drawn anew, for a network that may have been trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landscape.methods.state import seeded
from landscape.objective.copies import copy_module
from landscape.objective.parameters import ParameterSpace

_RESETS = ("reset_parameters", "_reset_parameters")  # the second is torch's attention


def fresh_weights(space: ParameterSpace, seed: int) -> Tensor:
    """Random parameters, shape (P,), as an untrained network of the same architecture has them.

    A module with a method ``reset_parameters`` is reset by it, children before their parents. A
    *bare* parameter belongs to a module without one: a class token, position embeddings, the
    scales of a layer. Each is drawn from N(m, s^2) with m and s the mean and standard deviation of
    its own present entries, which is how an untrained one was drawn or near it; a constant one
    stays. Parameters that are not random keep their values.

    Args:
        space: The network; it is not changed.
        seed: Governs the weights, which are drawn on the CPU: the same for every device.
    """
    module = copy_module(space.module).cpu()
    with torch.no_grad(), seeded(torch.device("cpu"), seed):
        for part in module.modules():
            if not _resets(part):
                for parameter in part.parameters(recurse=False):
                    _redraw(parameter)
        module.apply(_reset)
    return space.flatten(dict(module.named_parameters())).to(space.vector())


def _resets(module: nn.Module) -> bool:
    return any(callable(getattr(module, name, None)) for name in _RESETS)


def _reset(module: nn.Module) -> None:
    for name in _RESETS:
        method = getattr(module, name, None)
        if callable(method):
            method()
            return


def _redraw(parameter: nn.Parameter) -> None:
    spread, mean = torch.std_mean(parameter, correction=0)
    if parameter.is_floating_point() and float(spread) > 0:
        parameter.normal_(float(mean), float(spread))
