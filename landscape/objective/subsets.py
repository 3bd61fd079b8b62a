"""Subsets of a network's parameters to infer, by the types of their layers.

Each can be given as ``parameters=`` to a ``ParameterSpace`` and to every method's ``fit``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from landscape.errors import InputError

NORMALISATIONS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)


def head(model: nn.Module) -> list[str]:
    """Names of the parameters of the last linear layer in the module's order.

    Raises:
        InputError: the network has no linear layer.
    """
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise InputError(
            "the model has no linear layer to take as its head: name the parameters instead"
        )
    return _names(model, linear[-1:])


def normalisation_and_head(model: nn.Module) -> list[str]:
    """Names of the scales and shifts of all normalisation layers, and of the head's parameters.

    FP-BMA's transfer scheme trains these (arXiv 2406.15664, section 4.3).

    Raises:
        InputError: the network has no head.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, NORMALISATIONS)]
    chosen = {*_names(model, layers), *head(model)}
    return [name for name, _ in model.named_parameters() if name in chosen]


CHOICES: dict[str, Callable[[nn.Module], list[str] | None]] = {
    "all": lambda model: None,
    "head": head,
    "normalisation-and-head": normalisation_and_head,
}
"""Subsets by the names that the command line takes; ``None`` is every parameter."""


def _names(model: nn.Module, layers: Sequence[nn.Module]) -> list[str]:
    # By identity: a tied parameter has one name, however many layers hold it.
    chosen = {id(parameter) for layer in layers for parameter in layer.parameters()}
    return [name for name, parameter in model.named_parameters() if id(parameter) in chosen]
