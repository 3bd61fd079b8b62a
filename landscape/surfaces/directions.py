"""Directions in parameter space that span a plane."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors.gaussian import normal


def filter_normalised(space: ParameterSpace, w: Tensor, generator: torch.Generator) -> Tensor:
    """A random direction drawn from N(0, I), scaled filter by filter to the norm of w's filters.

    Follows Li et al. (arXiv 1712.09913): a filter is a row of a weight's first axis; parameters of
    one axis (biases, normalisation layers) get zero, as in their published code.

    Args:
        space: The parameter space.
        w: The centre, shape (P,).
        generator: Generator of the draw; on the CPU for the same direction on every device.

    Returns:
        Shape (P,). Two draws are not orthogonal to each other.
    """
    drawn = normal(w.numel(), w, generator)
    parts = space.unflatten(drawn)
    for name, weight in space.unflatten(w).items():
        if weight.ndim < 2:
            parts[name] = torch.zeros_like(weight)
            continue
        rows, filters = parts[name].flatten(1), weight.flatten(1)
        scale = filters.norm(dim=1) / rows.norm(dim=1).clamp_min(torch.finfo(w.dtype).tiny)
        parts[name] = (rows * scale[:, None]).view_as(weight)
    return space.flatten(parts)


def orthonormal_pair(first: Tensor, second: Tensor, *, noise: float = 0.0) -> Tensor:
    """An orthonormal basis (2, P) of the span of two vectors, by Gram-Schmidt in float64.

    Args:
        first: First vector, shape (P,).
        second: Second vector, shape (P,).
        noise: Length that roundings reach; a shorter vector counts as zero.

    Raises:
        InputError: the two do not span a plane.
    """
    u, v = first.double(), second.double()
    u_norm, v_norm = u.norm(), v.norm()
    u = u / u_norm
    v = v - u * (u @ v)
    v = v - u * (u @ v)
    eps = torch.finfo(first.dtype).eps
    if not bool(u_norm > noise) or not bool(v.norm() > max(100 * eps * float(v_norm), noise)):
        raise InputError(
            "the two directions span no plane: one is zero, or they lie on one line; use another "
            "kind of plane, or other samples"
        )
    return torch.stack([u, v / v.norm()]).to(first)
