"""New random initial weights, for a network that may be trained already."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landscape.methods.state import seeded
from landscape.objective.copies import copy_module
from landscape.objective.parameters import ParameterSpace

_RESETS = ("reset_parameters", "_reset_parameters")  # the second is torch's attention


def fresh_weights(space: ParameterSpace, seed: int) -> Tensor:
    """Random initial parameters of an untrained network of the same architecture, shape (P,).

    A module with a method ``reset_parameters`` is reset by it, children before their parents. A
    *bare* parameter belongs to a module without this method: a class token, position embeddings,
    the scales of a layer. Each is drawn from N(m, s^2) with m and s the mean and standard deviation
    of its own present entries, which is close to how it was initialised. A constant one stays.
    Parameters that are not inferred keep their values.

    Args:
        space: The network; it is not changed.
        seed: Seed of the weights. They are drawn on the CPU, and so are the same for every device.
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
    deviation, mean = torch.std_mean(parameter, correction=0)
    if parameter.is_floating_point() and float(deviation) > 0:
        parameter.normal_(float(mean), float(deviation))
