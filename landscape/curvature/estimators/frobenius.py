"""The squared Frobenius norm of a symmetric operator: the sum of its squared eigenvalues."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.curvature.estimators.deflation import check_pairs, known_pairs, part_along
from landscape.curvature.estimators.krylov import length
from landscape.curvature.estimators.lanczos import Eigenvalues
from landscape.curvature.estimators.probes import Estimate, check_budget, signs, units
from landscape.objective.operators.base import Matvec, Operator, as_operator, check_finite

_PILOT = 10
# 9 over the 10 % quantile of chi-squared with 9 degrees of freedom: a normal pilot of 10 makes the
# number of probes large enough nine times in ten.
_CAUTION = 2.16


def estimate_squared_frobenius(
    operator: Operator | Matvec,
    size: int | None = None,
    *,
    matvecs: int | None = None,
    tolerance: float | None = None,
    deflate: Eigenvalues | None = None,
    seed: int = 0,
) -> Estimate:
    """||A||_F^2 = tr A^2 = E ||A v||^2 over random signs v: one matvec a probe, not two.

    A few large eigenvalues make the estimate's distribution so skewed that its standard error is
    too small too often: a 95 % interval then covers the truth nine times in ten. Deflate them.

    Args:
        operator: A, an operator or a function v -> A v.
        size: n, beside a function.
        matvecs: Number of probes; see ``hutchinson``.
        tolerance: Relative standard error to reach; see ``hutchinson``. The pilot has 10 probes.
        deflate: Result of one ``lanczos`` search on the same operator. The squares of its values,
            and twice the squares of its residuals, are taken out exactly. It is not used where the
            operator is multiplied out.
        seed: Seed of the probes.

    Raises:
        InputError: too few matvecs, a tolerance that is not positive, or pairs to deflate that are
            of another operator.
        LandscapeError: a matvec is not finite.

    Examples:
        >>> estimate_squared_frobenius(lambda v: 3 * v, 4, matvecs=4)
        Estimate(value=36.0, standard_error=0.0, matvecs=4, converged=True, error=0.0)
    """
    operator = as_operator(operator, size)
    size = operator.size
    budget = check_budget(matvecs, tolerance)
    pairs = known_pairs(deflate, operator)
    known = pairs.vectors
    # A residual is orthogonal to all vectors of its search: an entry beside the known block.
    base = float((pairs.values**2 + 2 * pairs.residuals**2).sum())
    generator, tags = operator.generator(seed), operator.generator(seed + 1)

    def without_known(vector: Tensor) -> Tensor:
        return vector - known.T @ (known @ vector)

    def draw(count: int) -> Tensor:
        squares = []
        for index in range(count):
            probe = without_known(signs(known, generator))
            if index == 0 and len(known):
                # One probe has a part along the converged pairs, to check that they are A's.
                probe = probe + part_along(pairs, tags)
            image = operator @ probe
            if index == 0 and len(known):
                check_pairs(pairs, probe, image)
            squares.append(length(without_known(image)) ** 2)
        values = torch.stack(squares).cpu()
        values[0] -= (pairs.residuals[pairs.converged] ** 2).sum()  # that part's, in the mean
        check_finite(values)
        return values

    spent, count = 0, budget
    if tolerance is not None and size > _PILOT:
        pilot, spent = draw(_PILOT), _PILOT
        target = tolerance * (base + float(pilot.mean()))
        wanted = _CAUTION * float(pilot.var()) / target**2 if target > 0 else math.inf
        count = min(budget - spent, size if wanted >= size else max(2, math.ceil(wanted)))
    if count >= size:
        exact = torch.stack([length(operator @ row) for row in units(known)]).cpu() ** 2
        check_finite(exact)
        return Estimate(float(exact.sum()), 0.0, spent + size)
    values = draw(count)
    value, error = base + float(values.mean()), float(values.std() / count**0.5)
    met = tolerance is None or error <= tolerance * value
    return Estimate(value, error, spent + count, met)
