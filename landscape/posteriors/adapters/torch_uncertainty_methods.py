"""torch-uncertainty: deep ensembles, BatchEnsemble, SWA, SWAG and MC dropout."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from landscape.errors import InputError
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors.adapters.common import holding, kinds_of
from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.imported import from_sampler, from_weights
from landscape.posteriors.posterior import Posterior


def read(model: nn.Module, thing: Any, *, samples: int, seed: int) -> Posterior:
    """The samples or the Gaussian of a method; see ``dispatch.from_object``."""
    kinds = kinds_of(thing)
    if "_DeepEnsembles" in kinds:
        return from_weights(model, [core.state_dict() for core in thing.core_models])
    if "BatchEnsemble" in kinds:
        return from_weights(model, _members(thing))
    if "SWAG" in kinds:
        return _swag(model, thing)
    if "SWA" in kinds:
        if thing.swa_model is None:
            raise InputError("this SWA has averaged no weights yet")
        return from_weights(model, [thing.swa_model.state_dict()])
    if "_MCDropout" in kinds:
        return _mc_dropout(model, thing, samples, seed)
    raise InputError(
        f"of torch-uncertainty, {type(thing).__name__} is not known here: use from_weights or "
        "from_sampler"
    )


def _swag(model: nn.Module, thing: Any) -> Posterior:
    """The Gaussian that the package draws from: its low-rank part has its own noise by parameter.

    It has all of the variance on the diagonal, where the paper has half of it.
    """
    if not thing.fit:
        raise InputError("this SWAG has taken in no weights yet")
    network = holding(model, thing.core_model.state_dict())
    space = ParameterSpace(network, lambda *_: True)
    means, variances, factors = [], [], []
    for name in space.names:
        mean = thing.swag_stats[f"{thing.prfx}{name}_mean"]
        square = thing.swag_stats[f"{thing.prfx}{name}_sq_mean"]
        means.append(mean.reshape(-1))
        variances.append((square - mean**2).clamp(thing.var_clamp).reshape(-1))
        if not thing.diag_covariance:
            rows: Tensor = thing.swag_stats[f"{thing.prfx}{name}_covariance_sqrt"]
            factors.append(rows.T / math.sqrt(thing.max_num_models - 1))
    mean = torch.cat(means).to(space.vector())
    scale = (thing.scale * torch.cat(variances)).sqrt().to(mean)
    low_rank = mean.new_zeros(space.size, 0)
    if factors:
        low_rank = torch.block_diag(*factors)  # type: ignore[no-untyped-call]
    return Posterior(space, Gaussian(mean, scale, math.sqrt(thing.scale) * low_rank.to(mean)))


def _members(thing: Any) -> list[dict[str, Tensor]]:
    """The weights of each member: W o (s r^T), and its bias."""
    members = []
    layers = dict(thing.core_model.named_modules())
    grouped = {name: layer for name, layer in layers.items() if hasattr(layer, "r_group")}
    inside = tuple(f"{name}." for name in grouped)
    for member in range(thing.num_estimators):
        state = {n: v for n, v in thing.core_model.state_dict().items() if not n.startswith(inside)}
        for name, layer in grouped.items():
            shared = layer.linear if hasattr(layer, "linear") else layer.conv
            rates = torch.outer(layer.s_group[member].view(-1), layer.r_group[member].view(-1))
            rates = rates.view(*rates.shape, *[1] * (shared.weight.ndim - 2))
            state[f"{name}.weight"] = (shared.weight * rates).detach()
            if layer.bias is not None:
                state[f"{name}.bias"] = layer.bias[member].detach()
        members.append(state)
    return members


def _mc_dropout(model: nn.Module, thing: Any, samples: int, seed: int) -> Posterior:
    """Draws of masks, each on the columns of the linear layer after a dropout layer.

    The package draws a mask for each example; a weight sample has one mask for all.
    """
    network = holding(model, thing.core_model.state_dict())
    columns: dict[str, float] = {}
    active = set(map(id, thing.filtered_modules))
    masked = set()
    for name, layer in thing.core_model.named_modules():
        inside = list(layer.named_children()) if isinstance(layer, nn.Sequential) else []
        for (_, dropout), (key, following) in zip(inside, [*inside[1:], ("", None)], strict=False):
            if isinstance(dropout, _DropoutNd) and id(dropout) in active:
                masked.add(id(dropout) if isinstance(following, nn.Linear) else -1)
                columns[f"{name}.{key}.weight".removeprefix(".")] = dropout.p
    if masked != active:
        raise InputError(
            "a dropout layer is not followed by a linear layer in an nn.Sequential, so its masks "
            "are no masks of weights: use from_sampler"
        )
    for layer in network.modules():
        if isinstance(layer, _DropoutNd):
            layer.p = 0.0  # its noise is in the weights
    weights = {name: p.detach() for name, p in network.named_parameters() if name in columns}

    def draw(generator: torch.Generator) -> dict[str, Tensor]:
        drawn = {}
        for name, weight in weights.items():
            keep = 1.0 - columns[name]
            mask = torch.rand(weight.shape[1], generator=generator) < keep
            drawn[name] = weight * (mask / keep).to(weight)
        return drawn

    return from_sampler(network, draw, samples=samples, seed=seed, parameters=list(weights))
