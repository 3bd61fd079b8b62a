"""Pyro: automatic guides that are points or Gaussians."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors.adapters.common import check_names, kinds_of
from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.imported import from_gaussian
from landscape.posteriors.point import Point
from landscape.posteriors.posterior import Posterior

_GAUSSIAN = {"AutoDiagonalNormal", "AutoMultivariateNormal", "AutoLowRankMultivariateNormal"}


def read(model: nn.Module, thing: Any, *, samples: int, seed: int) -> Posterior:
    """The Gaussian of a guide over the sites that are parameters; see ``dispatch.from_object``."""
    kinds = kinds_of(thing)
    if not kinds & {*_GAUSSIAN, "AutoDelta"}:
        raise InputError(
            f"the guide {type(thing).__name__} is no Gaussian that is known here: use from_sampler"
        )
    if thing.prototype_trace is None:
        raise InputError("this guide has seen no data: call it once, or train it")
    sites = [name for name, _ in thing.prototype_trace.iter_stochastic_nodes()]
    known = {name for name, _ in model.named_parameters()}
    names = [name for name, _ in model.named_parameters() if name in sites]
    check_names(model, names or sites, "the guide has the sites")
    for name in names:
        support = thing.prototype_trace.nodes[name]["fn"].support
        if getattr(support, "base_constraint", support) is not torch.distributions.constraints.real:
            raise InputError(f"the site '{name}' is constrained: it is no free weight")
    if "AutoDelta" in kinds:
        values = {name: value.detach() for name, value in thing.median().items() if name in known}
        space = ParameterSpace(model, names)
        return Posterior(space, Point(space.flatten(values)))
    begins, begin = {}, 0
    for site in sites:
        begins[site] = begin
        begin += thing._unconstrained_shapes[site].numel()
    index = torch.cat(
        [
            torch.arange(begins[name], begins[name] + model.get_parameter(name).numel())
            for name in names
        ]
    )
    with torch.no_grad():
        normal = thing.get_posterior()
        mean: Tensor = normal.mean[index]
        if "AutoMultivariateNormal" in kinds:
            covariance = normal.covariance_matrix[index][:, index]
            return from_gaussian(model, mean, covariance=covariance, parameters=names)
        if "AutoLowRankMultivariateNormal" in kinds:
            scale, factor = normal.cov_diag.sqrt()[index], normal.cov_factor[index]
            return Posterior(ParameterSpace(model, names), Gaussian(mean, scale, factor))
        return from_gaussian(model, mean, scale=normal.stddev[index], parameters=names)
