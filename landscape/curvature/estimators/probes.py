"""Random sign vectors, and the result of an estimate with them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.errors import InputError

_DEFAULT, _DEFAULT_LIMIT, _LEAST = 30, 1000, 12


@dataclass(frozen=True)
class Estimate:
    """An estimate with its error.

    Attributes:
        value: The estimate, unbiased.
        standard_error: Standard error by the spread over probes; 0 where the operator was
            multiplied out exactly.
        matvecs: Number of matvecs taken.
        converged: Whether the tolerance was met; true without a tolerance.
        error: Relative error of the matvecs, such as of finite differences, which the standard
            error does not contain.
    """

    value: float
    standard_error: float
    matvecs: int
    converged: bool = True
    error: float = 0.0


def signs(like: Tensor, generator: torch.Generator) -> Tensor:
    """Independent -1 and +1 with equal probability, shape (n,) for ``like`` of shape (..., n)."""
    size = like.shape[-1]
    return 2 * torch.randint(0, 2, (size,), generator=generator, device=like.device).to(like) - 1


def units(like: Tensor) -> Iterator[Tensor]:
    """The unit vectors of R^n one after the other, for ``like`` of shape (..., n)."""
    for index in range(like.shape[-1]):
        vector = like.new_zeros(like.shape[-1])
        vector[index] = 1
        yield vector


def check_budget(matvecs: int | None, tolerance: float | None) -> int:
    """The number of matvecs to take, or with a tolerance the largest number.

    Raises:
        InputError: the matvecs are too few for a standard error, or the tolerance is not positive
            and finite.
    """
    if tolerance is None:
        least, default = 2, _DEFAULT
    else:
        least, default = _LEAST, _DEFAULT_LIMIT
        if not 0 < tolerance < math.inf:
            raise InputError(f"tolerance must be positive and finite, not {tolerance}")
    budget = default if matvecs is None else matvecs
    if budget < least:
        raise InputError(
            f"an estimate needs at least {least} matvecs to know its error, not {budget}"
        )
    return budget
