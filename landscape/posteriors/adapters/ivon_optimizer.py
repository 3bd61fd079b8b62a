"""ivon-opt: the optimiser ``IVON``, whose state is a mean-field Gaussian."""

from __future__ import annotations

from typing import Any

from torch import nn

from landscape.errors import InputError
from landscape.posteriors.imported import from_gaussian
from landscape.posteriors.posterior import Posterior


def read(model: nn.Module, thing: Any, *, samples: int, seed: int) -> Posterior:
    """N(parameters, 1 / (ess (hess + weight decay))); see ``dispatch.from_object``."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    mean, scale = {}, {}
    for group in thing.param_groups:
        parameters = [parameter for parameter in group["params"] if parameter is not None]
        deviations = (group["ess"] * (group["hess"] + group["weight_decay"])).rsqrt()
        parts = deviations.split([parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            if id(parameter) not in names:
                raise InputError(
                    "the optimiser trains a parameter that is not the model's: give the network "
                    "that it trains, and no copy"
                )
            mean[names[id(parameter)]] = parameter.detach()
            scale[names[id(parameter)]] = part.view_as(parameter)
    return from_gaussian(model, mean, scale=scale, parameters=list(mean))
