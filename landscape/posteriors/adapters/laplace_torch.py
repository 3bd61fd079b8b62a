"""laplace-torch: ``Laplace`` of all weights, of the last layer, or of a subnetwork."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors.adapters.common import holding, kinds_of
from landscape.posteriors.imported import from_gaussian
from landscape.posteriors.kronecker import Block, Kronecker
from landscape.posteriors.posterior import Posterior
from landscape.posteriors.samples import Samples


def read(model: nn.Module, thing: Any, *, samples: int, seed: int) -> Posterior:
    """The Gaussian of a Laplace approximation; see ``dispatch.from_object``."""
    kinds = kinds_of(thing)
    structure = {"FullLaplace", "KronLaplace", "DiagLaplace"} & kinds
    if not structure:
        raise InputError(
            f"of laplace-torch, {type(thing).__name__} has no Gaussian over weights that is known "
            "here: use 'full', 'kron' or 'diag', or from_sampler"
        )
    if not isinstance(thing.mean, Tensor) or not thing.n_data:
        raise InputError("this Laplace approximation is not fitted: call its fit first")
    if "LLLaplace" in kinds:
        inner = thing.model.model  # a wrapper that finds the last layer
        chosen = list(thing.model.last_layer.parameters())
    else:
        inner, chosen = thing.model, list(thing.params)
    own = set(map(id, chosen))
    names = [name for name, parameter in inner.named_parameters() if id(parameter) in own]
    network, mean = holding(model, inner.state_dict()), thing.mean.detach()
    if "SubnetLaplace" in kinds:
        generator = torch.Generator(mean.device).manual_seed(seed)
        drawn = thing.sample(samples, generator).detach()
        return Posterior(ParameterSpace(network, names), Samples(drawn))
    if "KronLaplace" in kinds:
        precision = thing.posterior_precision
        blocks = [
            _block(*parts, damping=precision.damping)
            for parts in zip(
                precision.eigenvectors,
                precision.eigenvalues,
                precision.deltas.detach().expand(len(precision.eigenvalues)),
                strict=True,
            )
        ]
        return Posterior(ParameterSpace(network, names), Kronecker(mean, tuple(blocks)))
    if "DiagLaplace" in kinds:
        scale = thing.posterior_variance.detach().sqrt()
        return from_gaussian(network, mean, scale=scale, parameters=names)
    covariance = thing.posterior_covariance.detach()
    symmetric = (covariance + covariance.T) / 2
    return from_gaussian(network, mean, covariance=symmetric, parameters=names)


def _block(
    vectors: tuple[Tensor, ...], values: tuple[Tensor, ...], delta: Tensor, *, damping: bool
) -> Block:
    """N(0, (Q1 x Q2 diag(l1 x l2 + delta) (Q1 x Q2)^T)^-1), or with one factor."""
    left = vectors[0].detach()
    if len(vectors) == 1:
        precision = values[0].detach()[:, None] + delta
        return Block(left, left.new_ones(1, 1), precision.rsqrt())
    first, second = (part.detach() for part in values)
    if damping:
        precision = torch.outer(first + delta.sqrt(), second + delta.sqrt())
    else:
        precision = torch.outer(first, second) + delta
    return Block(left, vectors[1].detach(), precision.rsqrt())
