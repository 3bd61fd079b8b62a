"""Averages over random sign vectors: what the estimates of a trace and a norm have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.errors import InputError

PILOT = 10
# 9 over the 10 % quantile of chi-squared with 9 degrees of freedom: a normal pilot of 10 makes the
# number of probes large enough nine times in ten.
_CAUTION = 2.16
_PRODUCTS, _MOST = 30, 1000


@dataclass(frozen=True)
class Estimate:
    """An estimate with its error.

    Attributes:
        value: The estimate, unbiased.
        standard_error: Its standard error, from the spread of the probes; 0 where the operator was
            multiplied out exactly.
        products: How many times the operator was applied for it.
        converged: Whether the tolerance asked for was met; true where none was.
    """

    value: float
    standard_error: float
    products: int
    converged: bool = True


def average(
    form: Callable[[Tensor], Tensor],
    known: Tensor,
    base: float,
    *,
    budget: int,
    tolerance: float | None,
    seed: int,
) -> Estimate:
    """Base + tr P M P for a quadratic form v -> v^T M v, P orthogonal to the known directions.

    The number of probes never depends on the values that are averaged: it is the budget, or it is
    decided from a pilot that is then thrown away. So the average is unbiased; one that goes on
    until its own spread, or its own change, looks small enough is not.

    Args:
        form: Costs one product.
        known: Orthonormal rows, shape (k, n).
        base: What belongs to the known directions.
        budget: Products to spend; with a tolerance, at most.
        tolerance: Relative standard error to reach.
        seed: Of the probes.
    """
    size = known.shape[1]
    generator = torch.Generator(known.device).manual_seed(seed)

    def without_known(vector: Tensor) -> Tensor:
        return vector - known.T @ (known @ vector)

    def draw(count: int) -> Tensor:
        values = [form(without_known(signs(known, generator))) for _ in range(count)]
        return torch.stack(values).double().cpu()

    spent, count = 0, budget
    if tolerance is not None and size > PILOT:
        pilot = draw(PILOT)
        spent = PILOT
        target = tolerance * abs(base + float(pilot.mean()))
        wanted = _CAUTION * float(pilot.var()) / target**2 if target > 0 else math.inf
        count = min(budget - spent, size if wanted >= size else max(2, math.ceil(wanted)))
    if count >= size:
        exact = [form(without_known(row)).double() for row in torch.eye(size).to(known)]
        return Estimate(base + float(sum(exact)), 0.0, spent + size)
    estimates = draw(count)
    value, error = base + float(estimates.mean()), float(estimates.std() / count**0.5)
    met = tolerance is None or error <= tolerance * abs(value)
    return Estimate(value, error, spent + count, met)


def signs(like: Tensor, generator: torch.Generator) -> Tensor:
    """Independent -1 and +1 with equal probability, shape (n,) for ``like`` of shape (..., n)."""
    size = like.shape[-1]
    return 2 * torch.randint(0, 2, (size,), generator=generator, device=like.device).to(like) - 1


def check_budget(products: int | None, tolerance: float | None) -> int:
    """The number of products meant by what was asked for.

    Raises:
        InputError: too few products to know an error, or a tolerance that is not positive.
    """
    if tolerance is None:
        least, default = 2, _PRODUCTS
    else:
        least, default = PILOT + 2, _MOST
        if not tolerance > 0:
            raise InputError(f"tolerance must be positive, not {tolerance}")
    budget = default if products is None else products
    if budget < least:
        raise InputError(
            f"an estimate needs at least {least} products to know its error, not {budget}"
        )
    return budget
