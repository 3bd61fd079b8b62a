"""Known eigenpairs that are taken out of an operator, after a check that they are its own."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from landscape.curvature.estimators.krylov import check_known, length
from landscape.curvature.estimators.lanczos import Eigenvalues
from landscape.curvature.estimators.probes import signs
from landscape.errors import InputError
from landscape.objective.operators.base import Operator, check_finite


def known_pairs(deflate: Eigenvalues | None, operator: Operator) -> Eigenvalues:
    """The pairs to take out, none for ``None``, with vectors in the operator's type.

    Args:
        deflate: Result of ``lanczos``.
        operator: The operator.

    Raises:
        InputError: the pairs have another number of dimensions.
    """
    if deflate is None:
        values = torch.zeros(0, dtype=torch.float64)
        return Eigenvalues(values, values, operator.zeros(0), values > 0, 0)
    if deflate.vectors.shape[-1] != operator.size:
        raise InputError(
            f"the pairs to deflate are of {deflate.vectors.shape[-1]} dimensions, the operator of "
            f"{operator.size}: measure them on the same parameters"
        )
    return replace(deflate, vectors=deflate.vectors.to(operator.device, operator.dtype))


def allowance(pairs: Eigenvalues) -> Tensor:
    """Largest allowed distance of matvecs from each pair's A v = lambda v; see ``check_known``.

    For random signs z, |r . z| is more than 10 |r| once in 10^21. Where the operator is nothing but
    the pairs, their values alone tell how large its rounding errors are: those of float32, in which
    the pairs may have been measured.
    """
    rounding = torch.finfo(torch.float32).eps ** 0.5
    largest = pairs.values.abs().max() if len(pairs.values) else 0.0
    allowed: Tensor = 10 * pairs.residuals + rounding * largest
    return allowed


def check_pairs(pairs: Eigenvalues, probe: Tensor, image: Tensor) -> None:
    """Refuse pairs of another operator than the one that took ``probe`` to ``image``.

    Raises:
        InputError: the pairs are of another operator.
        LandscapeError: the image is not finite.
    """
    before, after = (pairs.vectors @ probe).double(), (pairs.vectors @ image).double()
    numbers = torch.cat([before, after, length(image)[None]]).cpu()
    check_finite(numbers)
    before, after = numbers[:-1].view(2, -1)
    away = (after - pairs.values * before).abs()
    check_known(away, allowance(pairs), float(numbers[-1]), image.dtype)


def part_along(pairs: Eigenvalues, generator: torch.Generator) -> Tensor:
    """A probe's part along the converged pairs, with random signs, shape (n,)."""
    values, converged = (tensor.to(pairs.vectors) for tensor in (pairs.values, pairs.converged))
    return pairs.vectors.T @ (signs(values, generator) * converged)
