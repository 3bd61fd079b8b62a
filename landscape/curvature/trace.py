"""The trace of a symmetric operator with its standard error: Hutchinson's estimator and Hutch++."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from landscape.curvature.lanczos import Eigenvalues
from landscape.curvature.operator import Matvec, check_finite
from landscape.curvature.probes import PILOT, Estimate, average, check_budget, signs


def hutchinson(
    matvec: Matvec,
    size: int,
    *,
    products: int | None = None,
    tolerance: float | None = None,
    deflate: Eigenvalues | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Estimate:
    """Hutchinson's estimate of tr A with random signs as probes (Hutchinson 1990).

    With ``deflate``, eigenpairs already known are taken out exactly and only the rest is estimated,
    tr A = sum_i lambda_i + tr (I - V V^T) A (I - V V^T): a network's few large eigenvalues make
    most of the variance. That is unbiased whether or not the pairs have converged, because each
    value is its vector's Rayleigh quotient.

    Args:
        matvec: v -> A v on vectors of shape (size,).
        size: n.
        products: Number of probes, at least 2, by default 30; with a tolerance at most so many, by
            default 1,000. When it reaches n, the operator is multiplied out exactly instead.
        tolerance: Standard error to reach, relative to the trace. The number of probes is decided
            from a pilot of 10 that is then thrown away: stopping by the estimate itself would bias
            it. ``converged`` says whether the tolerance was met.
        deflate: Result of ``lanczos`` on the same operator.
        seed: Of the probes.
        dtype: Type of the probes.
        device: Where they are.

    Raises:
        InputError: too few products, or a tolerance that is not positive.
        LandscapeError: a product is not finite.
    """
    budget = check_budget(products, tolerance)
    known, base = _known(deflate, size, dtype, device)
    return average(
        lambda v: _quadratic(matvec, v),
        known,
        base,
        budget=budget,
        tolerance=tolerance,
        seed=seed,
    )


def hutch_pp(
    matvec: Matvec,
    size: int,
    *,
    products: int | None = None,
    tolerance: float | None = None,
    deflate: Eigenvalues | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Estimate:
    """The Hutch++ estimate of tr A (Meyer, Musco, Musco & Woodruff, arXiv 2010.09649).

    A third of the products go into A S for random signs S, whose span Q holds most of a matrix with
    few large eigenvalues; a third into tr Q^T A Q, exactly; the last into Hutchinson's estimate of
    the trace of (I - Q Q^T) A (I - Q Q^T), whose independent probes give the standard error.

    Args:
        matvec: v -> A v on vectors of shape (size,).
        size: n.
        products: As for ``hutchinson``, and at least 3. Memory is a third of it times n.
        tolerance: As for ``hutchinson``; S then has 10 columns.
        deflate: Result of ``lanczos`` on the same operator; Q is orthogonal to it.
        seed: Of the probes.
        dtype: Type of the probes.
        device: Where they are.

    Raises:
        InputError: too few products, or a tolerance that is not positive.
        LandscapeError: a product is not finite.
    """
    budget = check_budget(products, tolerance)
    known, base = _known(deflate, size, dtype, device)
    columns = min(budget // 3 if tolerance is None else PILOT, size - len(known))
    rest = check_budget(budget - 2 * columns, tolerance)
    if columns == 0 or (tolerance is None and budget >= size):
        return hutchinson(
            matvec,
            size,
            products=products,
            tolerance=tolerance,
            deflate=deflate,
            seed=seed,
            dtype=dtype,
            device=device,
        )
    generator = torch.Generator(device).manual_seed(seed)
    images = torch.stack([matvec(signs(known, generator)) for _ in range(columns)])
    check_finite(images)
    # Householder's Q is orthonormal whatever the rank, and begins with the known directions.
    basis = torch.linalg.qr(torch.cat([known, images]).T)[0].T
    base += sum(float(_quadratic(matvec, row)) for row in basis[len(known) :])
    found = average(
        lambda v: _quadratic(matvec, v),
        basis,
        base,
        budget=rest,
        tolerance=tolerance,
        seed=int(torch.randint(2**62, (), generator=generator, device=device)),
    )
    return replace(found, products=found.products + 2 * columns)


def _known(
    deflate: Eigenvalues | None, size: int, dtype: torch.dtype, device: torch.device | str
) -> tuple[Tensor, float]:
    if deflate is None:
        return torch.zeros(0, size, dtype=dtype, device=device), 0.0
    return deflate.vectors.to(dtype=dtype, device=device), float(deflate.values.sum())


def _quadratic(matvec: Matvec, vector: Tensor) -> Tensor:
    value = vector @ matvec(vector)
    check_finite(value)
    return value
