"""The diagonal of a symmetric operator, each entry with its standard error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.curvature.estimators.probes import check_budget, signs, units
from landscape.objective.operators.base import Matvec, Operator, as_operator, check_finite


@dataclass(frozen=True)
class Diagonal:
    """An estimate of a diagonal.

    Attributes:
        values: Unbiased estimates, shape (n,); float64.
        standard_errors: Standard errors by the spread over probes, shape (n,); 0 where the operator
            was multiplied out exactly.
        matvecs: Number of matvecs taken.
    """

    values: Tensor
    standard_errors: Tensor
    matvecs: int


def estimate_diagonal(
    operator: Operator | Matvec,
    size: int | None = None,
    *,
    matvecs: int | None = None,
    seed: int = 0,
) -> Diagonal:
    """Diag A = E v * (A v) over random signs v (Bekas, Kokiopoulou & Saad 2007).

    The variance of entry i is the sum of the squares of row i off the diagonal.

    Args:
        operator: A, an operator or a function v -> A v.
        size: n, beside a function.
        matvecs: Number of probes, at least 2, by default 30. From n on, the operator is multiplied
            out exactly instead.
        seed: Seed of the probes.

    Raises:
        InputError: fewer than 2 matvecs.
        LandscapeError: a matvec is not finite.

    Examples:
        >>> entries = torch.tensor([2.0, -1.0, 4.0])
        >>> estimate_diagonal(lambda v: entries * v, 3, matvecs=2).values.tolist()
        [2.0, -1.0, 4.0]
    """
    operator = as_operator(operator, size)
    count = check_budget(matvecs, None)
    like = operator.zeros(1)[0]
    mean = like.double()
    if count >= operator.size:
        for index, row in enumerate(units(like)):
            mean[index] = (operator @ row)[index]
        check_finite(mean)
        return Diagonal(mean, torch.zeros_like(mean), operator.size)
    generator = operator.generator(seed)
    squares = torch.zeros_like(mean)
    for index in range(count):
        probe = signs(like, generator)
        # Welford's recurrence: a mean of squares less a squared mean would cancel.
        away = (probe * (operator @ probe)).double() - mean
        mean += away / (index + 1)
        squares += away**2 * (index / (index + 1))
    check_finite(mean)
    return Diagonal(mean, (squares / (count - 1) / count).sqrt(), count)
