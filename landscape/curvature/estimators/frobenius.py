"""The squared Frobenius norm of a symmetric operator: the sum of its squared eigenvalues."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.curvature.estimators.deflation import check_pairs, known_pairs, part_along
from landscape.curvature.estimators.krylov import length
from landscape.curvature.estimators.lanczos import Eigenvalues
from landscape.curvature.estimators.operator import Matvec, check_finite
from landscape.curvature.estimators.probes import Estimate, check_budget, signs, units

_PILOT = 10
# 9 over the 10 % quantile of chi-squared with 9 degrees of freedom: a normal pilot of 10 makes the
# number of probes large enough nine times in ten.
_CAUTION = 2.16


def estimate_squared_frobenius(
    matvec: Matvec,
    size: int,
    *,
    matvecs: int | None = None,
    tolerance: float | None = None,
    deflate: Eigenvalues | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Estimate:
    """||A||_F^2 = tr A^2 = E ||A v||^2 over random signs v: one product a probe, not two.

    Few large eigenvalues make the estimate's distribution so skewed that its standard error is too
    small too often: an interval of 95 % then covers the truth nine times in ten. Deflate them.

    Args:
        matvec: v -> A v on vectors of shape (size,).
        size: n.
        matvecs: As for ``hutchinson``.
        tolerance: As for ``hutchinson``, with a pilot of 10.
        deflate: Result of ``lanczos`` on the same operator, from one search: the squares of its
            values, and of its residuals twice, are taken out exactly; not used where the operator
            is multiplied out.
        seed: Of the probes.
        dtype: Type of the probes.
        device: Where they are.

    Raises:
        InputError: too few matvecs, a tolerance that is not positive, or pairs to deflate that are
            of another operator.
        LandscapeError: a product is not finite.

    Example:
        >>> estimate_squared_frobenius(lambda v: 3 * v, 4, matvecs=4)
        Estimate(value=36.0, standard_error=0.0, matvecs=4, converged=True)
    """
    budget = check_budget(matvecs, tolerance)
    pairs = known_pairs(deflate, torch.zeros(0, size, dtype=dtype, device=device))
    known = pairs.vectors
    # A residual is orthogonal to all vectors of its search: an entry beside the known block.
    base = float((pairs.values**2 + 2 * pairs.residuals**2).sum())
    generator, tags = (torch.Generator(device).manual_seed(seed + each) for each in range(2))

    def without_known(vector: Tensor) -> Tensor:
        return vector - known.T @ (known @ vector)

    def draw(count: int) -> Tensor:
        squares = []
        for index in range(count):
            probe = without_known(signs(known, generator))
            if index == 0 and len(known):
                # Converged pairs have a part in one probe, which shows whether they are A's.
                probe = probe + part_along(pairs, tags)
            image = matvec(probe)
            if index == 0 and len(known):
                check_pairs(pairs, probe, image)
            squares.append(length(without_known(image)) ** 2)
        found = torch.stack(squares).cpu()
        found[0] -= (pairs.residuals[pairs.converged] ** 2).sum()  # that part's, in the mean
        check_finite(found)
        return found

    spent, count = 0, budget
    if tolerance is not None and size > _PILOT:
        pilot, spent = draw(_PILOT), _PILOT
        target = tolerance * (base + float(pilot.mean()))
        wanted = _CAUTION * float(pilot.var()) / target**2 if target > 0 else math.inf
        count = min(budget - spent, size if wanted >= size else max(2, math.ceil(wanted)))
    if count >= size:
        exact = torch.stack([length(matvec(row)) for row in units(known)]).cpu() ** 2
        check_finite(exact)
        return Estimate(float(exact.sum()), 0.0, spent + size)
    found = draw(count)
    value, error = base + float(found.mean()), float(found.std() / count**0.5)
    met = tolerance is None or error <= tolerance * value
    return Estimate(value, error, spent + count, met)
