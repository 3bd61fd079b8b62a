"""Eigenpairs that are known already and taken out of an operator, if they are its own."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from landscape.curvature.estimators.krylov import check_known, length
from landscape.curvature.estimators.lanczos import Eigenvalues
from landscape.curvature.estimators.operator import check_finite
from landscape.curvature.estimators.probes import signs
from landscape.errors import InputError


def known_pairs(deflate: Eigenvalues | None, like: Tensor) -> Eigenvalues:
    """The pairs to take out of an operator, none for ``None``, with vectors like ``like``.

    Args:
        deflate: Result of ``lanczos``.
        like: Shape (..., n).

    Raises:
        InputError: they are not of R^n.
    """
    size = like.shape[-1]
    if deflate is None:
        values = torch.zeros(0, dtype=torch.float64)
        return Eigenvalues(values, values, like.new_zeros(0, size), values > 0, 0)
    if deflate.vectors.shape[-1] != size:
        raise InputError(
            f"the pairs to deflate are of {deflate.vectors.shape[-1]} dimensions, the operator of "
            f"{size}: measure them on the same parameters"
        )
    return replace(deflate, vectors=deflate.vectors.to(like))


def allowance(pairs: Eigenvalues) -> Tensor:
    """How far the matvecs with an operator may be from each of its pairs; see ``check_known``.

    Of random signs z, |r . z| is more than 10 |r| once in 10^21; and where nothing but the pairs is
    in the operator, their values alone tell how large its rounding errors are: those of float32,
    in which the pairs may have been measured.
    """
    rounding = torch.finfo(torch.float32).eps ** 0.5
    largest = pairs.values.abs().max() if len(pairs.values) else 0.0
    allowed: Tensor = 10 * pairs.residuals + rounding * largest
    return allowed


def check_pairs(pairs: Eigenvalues, probe: Tensor, image: Tensor) -> None:
    """Refuse pairs of another operator than the one that took ``probe``, of random signs, there.

    Raises:
        InputError: they are.
        LandscapeError: the image is not finite.
    """
    before, after = (pairs.vectors @ probe).double(), (pairs.vectors @ image).double()
    numbers = torch.cat([before, after, length(image)[None]]).cpu()
    check_finite(numbers)
    before, after = numbers[:-1].view(2, -1)
    away = (after - pairs.values * before).abs()
    check_known(away, allowance(pairs), float(numbers[-1]), image.dtype)


def part_along(pairs: Eigenvalues, generator: torch.Generator) -> Tensor:
    """What a probe gets along the pairs that have converged, of random signs, for ``check_pairs``.

    Returns:
        Shape (n,).
    """
    values, converged = (each.to(pairs.vectors) for each in (pairs.values, pairs.converged))
    return pairs.vectors.T @ (signs(values, generator) * converged)
