"""The trace of a symmetric operator with its standard error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.curvature.lanczos import Eigenvalues
from landscape.curvature.operator import Matvec, check_finite
from landscape.errors import InputError


@dataclass(frozen=True)
class Trace:
    """An estimate of a trace.

    Attributes:
        value: The estimate, unbiased.
        standard_error: Its standard error, from the spread of the probes; 0 where the operator was
            multiplied out exactly.
        products: How many times the operator was applied for it.
    """

    value: float
    standard_error: float
    products: int


def hutchinson(
    matvec: Matvec,
    size: int,
    *,
    products: int = 30,
    deflate: Eigenvalues | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Trace:
    """Hutchinson's estimate of tr A with Rademacher probes (Hutchinson 1990).

    With ``deflate``, eigenpairs already known are taken out exactly and only the rest is estimated,
    tr A = sum_i lambda_i + tr (I - V V^T) A (I - V V^T): a network's few large eigenvalues make
    most of the variance. That is unbiased whether or not the pairs have converged, because each
    value is its vector's Rayleigh quotient. The number of probes is fixed beforehand: a rule that
    stops when the running mean stands still would bias the estimate.

    Args:
        matvec: v -> A v on vectors of shape (size,).
        size: n.
        products: Number of probes, at least 2. When it reaches n, the operator is multiplied out
            exactly instead.
        deflate: Result of ``lanczos`` on the same operator.
        seed: Of the probes.
        dtype: Type of the probes.
        device: Where they are.

    Raises:
        InputError: fewer than 2 products.
        LandscapeError: a product is not finite.
    """
    check_probes(products)
    known = torch.zeros(0, size, dtype=dtype, device=device)
    base = 0.0
    if deflate is not None:
        known, base = deflate.vectors.to(known), float(deflate.values.sum())
    generator = torch.Generator(device).manual_seed(seed)

    def quadratic(vector: Tensor) -> float:
        value = (vector @ matvec(vector)).double()
        check_finite(value)
        return float(value)

    if products >= size:
        identity = torch.eye(size, dtype=dtype, device=device)
        return Trace(sum(quadratic(row) for row in identity), 0.0, size)
    estimates = torch.empty(products, dtype=torch.float64)
    for index in range(products):
        signs = torch.randint(0, 2, (size,), generator=generator, device=device)
        probe = 2 * signs.to(dtype) - 1
        estimates[index] = quadratic(probe - known.T @ (known @ probe))
    error = float(estimates.std() / products**0.5)
    return Trace(base + float(estimates.mean()), error, products)


def check_probes(products: int) -> None:
    """Refuse a number of probes that has no spread.

    Raises:
        InputError: fewer than 2.
    """
    if products < 2:
        raise InputError(f"a trace needs at least 2 products to know its error, not {products}")
