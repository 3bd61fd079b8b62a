"""BLiTZ: networks with ``BayesianLinear``, ``BayesianConv2d`` and the like."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landscape.posteriors.adapters.common import check_names, holding
from landscape.posteriors.imported import from_gaussian
from landscape.posteriors.posterior import Posterior

_SAMPLER = "_sampler"


def read(model: nn.Module, thing: nn.Module, *, samples: int, seed: int) -> Posterior:
    """N(mu, log(1 + exp(rho))^2) of all Bayesian layers; see ``dispatch.from_object``."""
    mean: dict[str, Tensor] = {}
    scale: dict[str, Tensor] = {}
    bayesian: list[str] = []
    for name, layer in thing.named_modules():
        held = {key: part for key, part in layer.named_children() if key.endswith(_SAMPLER)}
        if held:
            bayesian.append(f"{name}." if name else "")
        for key, sampler in held.items():
            if key == f"bias{_SAMPLER}" and getattr(layer, "bias", True) is False:
                continue
            parameter = f"{name}.{key.removesuffix(_SAMPLER)}".removeprefix(".")
            mean[parameter] = sampler.mu.detach()
            scale[parameter] = torch.log1p(torch.exp(sampler.rho.detach()))
    check_names(model, list(mean), "BLiTZ infers")
    rest = {
        name: value
        for name, value in thing.state_dict().items()
        if not any(name.startswith(prefix) for prefix in bayesian)
    }
    network = holding(model, {**rest, **mean})
    return from_gaussian(network, mean, scale=scale, parameters=list(mean))
