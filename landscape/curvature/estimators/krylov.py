"""Lanczos' recurrence with full reorthogonalisation, one step at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.objective.operators.base import Operator, check_finite


def krylov(
    operator: Operator, start: Tensor, basis: Tensor, allowed: Tensor
) -> Iterator[tuple[float, float]]:
    """The entries of the tridiagonal T = V^T A V, one step and one matvec at a time.

    The columns v_1, v_2, ... of V are orthogonal to the known rows at the beginning of ``basis``,
    and are written into the rows after those. It ends when there are no more rows, or with
    beta = 0 where the space is invariant. All numbers of a step reach the host in one transfer.

    Args:
        operator: A.
        start: First vector of the space; its part along the known rows is taken out.
        basis: Basis, shape (k + m, n); the first k rows are known and orthonormal.
        allowed: Allowed distances of the known pairs, shape (k,); see ``check_known``.

    Yields:
        alpha_j = v_j . A v_j, and beta_j = ||A v_j - alpha_j v_j - beta_(j-1) v_(j-1)||.

    Raises:
        InputError: the matvecs show that the known rows are not A's eigenvectors.
        LandscapeError: a matvec is not finite.
    """
    known = len(allowed)
    vector, _ = orthogonalise(start, basis[:known])
    norm, largest = length(vector), 0.0
    leaks = torch.zeros(known, dtype=torch.float64)
    for row in range(known, len(basis)):
        basis[row] = vector / norm
        image = operator @ basis[row]
        vector, coefficients = orthogonalise(image, basis[: row + 1])
        norm = length(vector)
        ends = torch.stack([coefficients[-1], norm, length(image)])
        numbers = torch.cat([coefficients[:known], ends]).cpu()
        check_finite(numbers)
        alpha, beta, size = numbers[known:].tolist()
        largest = max(largest, size)
        if known:
            # u . A v_j is (A u - lambda u) . v_j: the squares add up to its residual's at most.
            leaks += numbers[:known] ** 2
            check_known(leaks.sqrt(), allowed, largest, image.dtype)
        if beta <= 10 * torch.finfo(image.dtype).eps * largest:
            yield alpha, 0.0  # what is left of the image is rounding
            return
        yield alpha, beta


def check_known(away: Tensor, allowed: Tensor, size: float, dtype: torch.dtype) -> None:
    """Refuse known eigenpairs that matvecs with A contradict.

    Args:
        away: |u . A z - lambda u . z| of each pair, which is |(A u - lambda u) . z|.
        allowed: Largest values of these that the pairs' own residuals allow.
        size: ||A z||.
        dtype: Type of the matvec, whose rounding is far below the root of its precision.

    Raises:
        InputError: the pairs are contradicted.
    """
    if not bool((away <= allowed + torch.finfo(dtype).eps ** 0.5 * size).all()):
        raise InputError(
            "the pairs to deflate are of another matrix or another point: measure them there"
        )


def length(vector: Tensor) -> Tensor:
    """||v|| in float64: squares of a loss in small or large units leave float32's range."""
    norm: Tensor = torch.linalg.vector_norm(vector, dtype=torch.float64)
    return norm


def orthogonalise(vector: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """``vector`` without its part in the orthonormal rows of ``basis``, and its coefficients there.

    The part is taken out twice: once leaves rounding errors that grow from step to step.
    """
    first = basis @ vector
    vector = vector - basis.T @ first
    second = basis @ vector
    vector = vector - basis.T @ second
    return vector, first.double() + second.double()
