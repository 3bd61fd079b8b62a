"""A posterior of a source task as the prior of a target task (arXiv 2406.15664, section 4.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from landscape.errors import InputError
from landscape.objective.copies import copy_module
from landscape.objective.parameters import ParameterSpace
from landscape.objective.subsets import head
from landscape.posteriors import Gaussian, Posterior


def adapt(
    source: Posterior,
    model: nn.Module,
    *,
    fresh: Sequence[str] | None = None,
    alpha: float = 1e-4,
    scale: float = 1.0,
) -> Posterior:
    """The prior of a target task: the source's Gaussian, and N(0, alpha I) on a fresh head.

    Parameters are matched by name and shape. The source's fixed parameters and its running
    statistics are copied. The fresh parameters are independent of the others: their rows of U are
    zero.

    Args:
        source: A Gaussian posterior (SWAG's, F-SWAG's, VI's, Laplace's) over all parameters of the
            source network, or over some of them.
        model: The target network; it is not changed.
        fresh: Names of the fresh parameters; those of the last linear layer if ``None``.
        alpha: Variance of the fresh parameters.
        scale: Factor on the source's covariance.

    Returns:
        A posterior over the source's inferred parameters and the fresh ones. Give it to ``fit`` as
        ``prior``, together with ``prior.network()``.

    Raises:
        InputError: the source is not Gaussian, a setting is not positive, or a parameter that is
            not fresh is missing in the source or has another shape there.

    Examples:
        >>> from landscape import posteriors
        >>> source = posteriors.isotropic(nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 10)), 0.1)
        >>> prior = adapt(source, nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3)))
        >>> prior.space.size, float(prior.gaussian.scale[-1])
        (27, 0.009999999776482582)
    """
    for name, value in (("alpha", alpha), ("scale", scale)):
        if not 0 < value < math.inf:
            raise InputError(f"{name} must be positive and finite, not {value}")
    old, q = source.space, source.gaussian
    anew = set(head(model) if fresh is None else fresh)
    network = copy_module(model).to(source.device)
    _take_over(network, source.network(), anew)
    inferred = {*old.names, *anew}
    space = ParameterSpace(network, lambda name, _: name in inferred)
    mean, scales = space.vector(), torch.full_like(space.vector(), math.sqrt(alpha))
    factor = mean.new_zeros(space.size, q.rank)
    theirs = dict(zip(old.names, old.slices, strict=True))
    for name, part in zip(space.names, space.slices, strict=True):
        if name in anew:
            mean[part] = 0.0
            continue
        scales[part] = math.sqrt(scale) * q.scale[theirs[name]]
        factor[part] = math.sqrt(scale) * q.factor[theirs[name]]
    return Posterior(space, Gaussian(mean, scales, factor), method="adapted")


def _take_over(target: nn.Module, source: nn.Module, fresh: set[str]) -> None:
    """Copy the source's parameters and buffers into the target, except the fresh ones."""
    unknown = sorted(fresh - {name for name, _ in target.named_parameters()})
    if unknown:
        raise InputError(f"the model has no parameter '{unknown[0]}' to start anew")
    theirs = {**dict(source.named_parameters()), **dict(source.named_buffers())}
    for name, tensor in (*target.named_parameters(), *target.named_buffers()):
        if name in fresh:
            continue
        if name not in theirs or theirs[name].shape != tensor.shape:
            other = tuple(theirs[name].shape) if name in theirs else "missing"
            raise InputError(
                f"'{name}' of shape {tuple(tensor.shape)} is {other} in the source network: use "
                "the same architecture, or name it in fresh"
            )
        tensor.data.copy_(theirs[name])
