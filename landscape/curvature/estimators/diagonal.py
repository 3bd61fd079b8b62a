"""The diagonal of a symmetric operator, each entry with its standard error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.curvature.estimators.operator import Matvec, check_finite
from landscape.curvature.estimators.probes import check_budget, signs, units


@dataclass(frozen=True)
class Diagonal:
    """An estimate of a diagonal.

    Attributes:
        values: Unbiased, shape (n,); float64.
        standard_errors: Of each, by the spread of the probes, shape (n,); 0 where the operator was
            multiplied out exactly.
        matvecs: How many times the operator was applied.
    """

    values: Tensor
    standard_errors: Tensor
    matvecs: int


def estimate_diagonal(
    matvec: Matvec,
    size: int,
    *,
    matvecs: int | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Diagonal:
    """Diag A = E v * (A v) over random signs v (Bekas, Kokiopoulou & Saad 2007).

    The variance of entry i is the sum of the squares of row i beside the diagonal.

    Args:
        matvec: v -> A v on vectors of shape (size,).
        size: n.
        matvecs: Number of probes, at least 2, by default 30. When it reaches n, the operator is
            multiplied out exactly instead.
        seed: Of the probes.
        dtype: Type of the probes.
        device: Where they are, and the results.

    Raises:
        InputError: fewer than 2 matvecs.
        LandscapeError: a product is not finite.

    Example:
        >>> entries = torch.tensor([2.0, -1.0, 4.0])
        >>> estimate_diagonal(lambda v: entries * v, 3, matvecs=2).values.tolist()
        [2.0, -1.0, 4.0]
    """
    count = check_budget(matvecs, None)
    mean = torch.zeros(size, dtype=torch.float64, device=device)
    if count >= size:
        for index, row in enumerate(units(mean.to(dtype))):
            mean[index] = matvec(row)[index]
        check_finite(mean)
        return Diagonal(mean, torch.zeros_like(mean), size)
    generator = torch.Generator(device).manual_seed(seed)
    squares = torch.zeros_like(mean)
    like = mean.to(dtype)
    for index in range(count):
        probe = signs(like, generator)
        # Welford's recurrence: a mean of squares less a squared mean would cancel.
        away = (probe * matvec(probe)).double() - mean
        mean += away / (index + 1)
        squares += away**2 * (index / (index + 1))
    check_finite(mean)
    return Diagonal(mean, (squares / (count - 1) / count).sqrt(), count)
