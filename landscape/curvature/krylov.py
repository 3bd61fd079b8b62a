"""Lanczos' recurrence with full reorthogonalisation, one step at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from landscape.curvature.operator import Matvec, check_finite


def krylov(
    matvec: Matvec, start: Tensor, basis: Tensor, known: int
) -> Iterator[tuple[float, float]]:
    """The entries of the tridiagonal T = V^T A V, one step and one product at a time.

    The rows v_1, v_2, ... of V are orthogonal to the first ``known`` rows of ``basis``, and are
    written into the rows after those. It ends when there are no more rows, or with beta = 0 where
    the space is invariant. All of a step's numbers reach the host in one reading.

    Args:
        matvec: v -> A v on vectors of shape (n,).
        start: Of the space; what it has of the known rows is taken out.
        basis: Shape (known + m, n).
        known: How many rows are there already, orthonormal.

    Yields:
        alpha_j = v_j . A v_j, and beta_j = ||A v_j - alpha_j v_j - beta_(j-1) v_(j-1)||.

    Raises:
        LandscapeError: a product is not finite.
    """
    vector, _ = orthogonalise(start, basis[:known])
    norm, largest = vector.norm(), 0.0
    for row in range(known, len(basis)):
        basis[row] = vector / norm
        image = matvec(basis[row]).detach()
        vector, coefficients = orthogonalise(image, basis[: row + 1])
        norm = vector.norm()
        numbers = torch.stack([coefficients[-1], norm.double(), image.norm().double()]).cpu()
        check_finite(numbers)
        alpha, beta, size = numbers.tolist()
        largest = max(largest, size)
        if beta <= 10 * torch.finfo(image.dtype).eps * largest:
            yield alpha, 0.0  # what is left of the image is rounding
            return
        yield alpha, beta


def orthogonalise(vector: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """``vector`` less its part in the orthonormal rows of ``basis``, and the coefficients removed.

    Done twice: once leaves rounding errors that grow from step to step.
    """
    first = basis @ vector
    vector = vector - basis.T @ first
    second = basis @ vector
    vector = vector - basis.T @ second
    return vector, first.double() + second.double()
