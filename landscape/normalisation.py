"""Running statistics of normalisation layers, re-estimated for given weights.

A posterior sample has other weights than the network whose statistics the layers carry, so each is
judged with statistics of its own (SWAG, arXiv 1902.02476, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.objective import batch_size
from landscape.parameters import ParameterSpace


def normalisation_layers(module: nn.Module) -> list[nn.Module]:
    """The layers of ``module`` that keep running statistics, found by what they hold."""
    return [
        layer
        for layer in module.modules()
        if isinstance(getattr(layer, "running_mean", None), Tensor)
    ]


@torch.no_grad()
def reestimate(
    space: ParameterSpace, vector: Tensor, batches: Iterable[tuple[Any, Any]]
) -> dict[str, Tensor]:
    """Buffers with the running statistics of the weights ``vector``.

    Every batch counts by its number of examples, so a ragged last batch does no harm. Dropout is
    off. A module without running statistics gets its buffers back unchanged, without a pass.

    Args:
        space: The parameter space.
        vector: Weights, shape (P,).
        batches: The training set, as (inputs, targets).

    Returns:
        Buffers by name, for ``space.call``.

    Raises:
        InputError: ``batches`` is empty.
    """
    buffers = space.buffers()
    layers = normalisation_layers(space.module)
    if not layers:
        return buffers
    kept = [(layer, layer.momentum) for layer in layers]
    space.module.eval()
    seen = 0
    try:
        for inputs, targets in batches:
            size = batch_size(targets)
            seen += size
            for layer in layers:
                layer.training = True
                # With weight n_b / n the running value is the mean over all examples so far.
                layer.momentum = size / seen  # type: ignore[assignment]
            space.call(vector, inputs, buffers)
    finally:
        space.module.eval()
        for layer, momentum in kept:
            layer.momentum = momentum
    if seen == 0:
        raise InputError("the data to re-estimate running statistics on has no batch")
    return buffers
