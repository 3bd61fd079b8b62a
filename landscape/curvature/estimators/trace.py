"""The trace of a symmetric operator with its standard error.

Hutchinson's estimator averages v^T A v over random signs v; its variance is at most twice the sum
of the squared eigenvalues. A network's few large eigenvalues make nearly all of that sum. So the
two others compute the trace within a space Q of large directions exactly, and estimate the rest,

    tr A = tr Q^T A Q + tr (I - Q Q^T) A (I - Q Q^T),

which is unbiased for every Q. Hutch++ makes Q of the images of random vectors. The Krylov-aware
estimator makes Q of the Krylov space of one vector: twice as large a space for half the matvecs.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from landscape.curvature.estimators.deflation import allowance, check_pairs, known_pairs, part_along
from landscape.curvature.estimators.krylov import krylov
from landscape.curvature.estimators.lanczos import Eigenvalues
from landscape.curvature.estimators.memory_plan import plan_basis
from landscape.curvature.estimators.probes import Estimate, check_budget, signs, units
from landscape.objective.operators.base import Matvec, Operator, as_operator, check_finite

_COLUMNS = 10
"""Columns of Hutch++'s sketch with a tolerance."""

_PILOT = 5
_STUDENT = 1.533  # 90 % quantile for the pilot's degrees of freedom

_STEPS = 40
"""Largest number of Lanczos steps with a tolerance."""


def hutchinson(
    operator: Operator | Matvec,
    size: int | None = None,
    *,
    matvecs: int | None = None,
    tolerance: float | None = None,
    deflate: Eigenvalues | None = None,
    seed: int = 0,
) -> Estimate:
    """Hutchinson's estimate of tr A with random signs as probes (Hutchinson 1990).

    With ``deflate``, known eigenpairs are taken out exactly and only the rest is estimated,
    tr A = sum_i lambda_i + tr (I - V V^T) A (I - V V^T). That is unbiased whether or not the pairs
    have converged, because each value is its vector's Rayleigh quotient. So all pairs of their
    ``space`` are taken out, if it was kept. Where the operator is multiplied out they are not used.

    Args:
        operator: A, an operator or a function v -> A v.
        size: n, beside a function.
        matvecs: Number of probes, at least 2, by default 30; with a tolerance the largest number,
            by default 1,000. From n on, the operator is multiplied out exactly instead.
        tolerance: Standard error to reach, relative to the trace. A pilot of 5 probes decides how
            many follow, and is not used otherwise: stopping by the estimate itself would bias it.
            The tolerance is met nine times in ten; ``converged`` says whether it was.
        deflate: Result of ``lanczos`` on the same operator.
        seed: Seed of the probes.

    Raises:
        InputError: too few matvecs, a tolerance that is not positive, or pairs to deflate that are
            of another operator.
        LandscapeError: a matvec is not finite.
    """
    operator = as_operator(operator, size)
    budget = check_budget(matvecs, tolerance)
    pairs = _known(deflate, operator)
    return _rest(operator, pairs.vectors, _trace(pairs), pairs, budget, tolerance, seed)


def hutch_pp(
    operator: Operator | Matvec,
    size: int | None = None,
    *,
    matvecs: int | None = None,
    tolerance: float | None = None,
    deflate: Eigenvalues | None = None,
    seed: int = 0,
) -> Estimate:
    """The Hutch++ estimate of tr A (Meyer, Musco, Musco & Woodruff, arXiv 2010.09649).

    A third of the matvecs go into A S for random signs S, whose span Q holds most of a matrix with
    few large eigenvalues; a third into tr Q^T A Q, exactly; the last into Hutchinson's estimate of
    the trace of (I - Q Q^T) A (I - Q Q^T), whose independent probes give the standard error.

    Args:
        operator: A, an operator or a function v -> A v.
        size: n, beside a function.
        matvecs: Number of matvecs; see ``hutchinson``. Memory is a third of it times n.
        tolerance: Relative standard error to reach; see ``hutchinson``. S then has 10 columns, or
            fewer for a small budget.
        deflate: Result of ``lanczos`` on the same operator; Q is orthogonal to it.
        seed: Seed of the probes.

    Raises:
        InputError: too few matvecs, a tolerance that is not positive, or pairs to deflate that are
            of another operator.
        LandscapeError: a matvec is not finite.
    """
    operator = as_operator(operator, size)
    budget = check_budget(matvecs, tolerance)
    pairs = _known(deflate, operator)
    known, base = pairs.vectors, _trace(pairs)
    sketched = budget // 3 if tolerance is None else min(_COLUMNS, (budget - _PILOT - 2) // 2)
    columns = min(sketched, (budget - 2) // 2, operator.size - len(known))
    columns = _fitting(operator, columns, copies=3)
    if columns <= 0 or (tolerance is None and budget >= operator.size):
        return _rest(operator, known, base, pairs, budget, tolerance, seed)
    generator = operator.generator(seed)
    images = torch.stack([operator @ signs(known, generator) for _ in range(columns)])
    check_finite(images)
    # QR squares the images: they are scaled to the size of one.
    images = images / images.abs().amax().clamp_min(torch.finfo(images.dtype).tiny)
    # Householder's Q is orthonormal whatever the rank, and begins with the known directions.
    basis = torch.linalg.qr(torch.cat([known, images]).T)[0].T
    base += float(sum(row @ (operator @ row) for row in basis[len(known) :]))
    seed = int(torch.randint(2**62, (), generator=generator, device=operator.device))
    estimate = _rest(operator, basis, base, pairs, budget - 2 * columns, tolerance, seed)
    return replace(estimate, matvecs=estimate.matvecs + 2 * columns)


def krylov_aware(
    operator: Operator | Matvec,
    size: int | None = None,
    *,
    matvecs: int | None = None,
    tolerance: float | None = None,
    deflate: Eigenvalues | None = None,
    seed: int = 0,
) -> Estimate:
    """A Krylov-aware estimate of tr A (Chen & Hallman, arXiv 2205.01736), with blocks of one.

    Some of the matvecs go into Lanczos' recurrence from a random vector. Its basis Q holds the ends
    of the spectrum, and its tridiagonal matrix is Q^T A Q, without another matvec. The rest go into
    Hutchinson's estimate of the trace of (I - Q Q^T) A (I - Q Q^T).

    Args:
        operator: A, an operator or a function v -> A v.
        size: n, beside a function.
        matvecs: Number of matvecs; see ``hutchinson``. Half of them are Lanczos steps, whose memory
            is their number times n.
        tolerance: Relative standard error to reach; see ``hutchinson``. There are at most 40
            Lanczos steps then, as long as each saves more than one probe.
        deflate: Result of ``lanczos`` on the same operator; Q is orthogonal to it.
        seed: Seed of the starting vector and the probes.

    Raises:
        InputError: too few matvecs, a tolerance that is not positive, or pairs to deflate that are
            of another operator.
        LandscapeError: a matvec is not finite.

    Examples:
        >>> diagonal = torch.cat([torch.tensor([900.0, 90.0]), torch.linspace(0, 1, 998)])
        >>> estimate = krylov_aware(lambda v: diagonal * v, 1000, tolerance=0.01)
        >>> round(estimate.value / float(diagonal.sum()), 2), estimate.matvecs < 30
        (1.0, True)
    """
    operator = as_operator(operator, size)
    size = operator.size
    budget = check_budget(matvecs, tolerance)
    pairs = _known(deflate, operator)
    known, base = pairs.vectors, _trace(pairs)
    rest = _PILOT + 2 if tolerance is not None else 2 if budget < size else budget
    steps = min(_STEPS if tolerance is not None else budget // 2, budget - rest, size - len(known))
    steps = _fitting(operator, steps)
    basis = torch.cat([known, operator.zeros(steps)])
    generator = operator.generator(seed)
    start = operator.normal(generator)
    spent, first, saved = 0, 0.0, math.inf
    for alpha, beta in krylov(operator, start, basis, allowance(pairs)):
        base, spent, before = base + alpha, spent + 1, saved
        first = first or base + (size - 1) * alpha  # n v^T A v, which is one probe's estimate
        if tolerance is not None:
            # How much this step lowers the sum of squares of the rest, in probes.
            target = tolerance * max(abs(base), abs(first))
            saved = 2 * (alpha**2 + 2 * beta**2) / target**2 if target > 0 else math.inf
            if spent > 2 and max(saved, before) < 1:
                break
    seed = int(torch.randint(2**62, (), generator=generator, device=operator.device))
    basis, budget = basis[: len(known) + spent], budget - spent
    if len(basis) == size and (spent or budget < size):
        if len(known):
            # Nothing is left to probe, and a Krylov space does not depend on the pairs' values.
            probe = known.T @ signs(pairs.values.to(known), generator)
            check_pairs(pairs, probe, operator @ probe)
            spent += 1
        return Estimate(base, 0.0, spent)
    estimate = _rest(operator, basis, base, pairs, budget, tolerance, seed)
    return replace(estimate, matvecs=estimate.matvecs + spent)


def _fitting(operator: Operator, wanted: int, copies: int = 1) -> int:
    """The number of vectors that fit into memory: with fewer the standard error is larger."""
    if wanted <= 1:
        return wanted
    plan = plan_basis(
        operator.size,
        operator.dtype,
        operator.device,
        wanted=wanted,
        least=1,
        what="an estimate of the trace",
        copies=copies,
    )
    return plan.vectors


def _known(deflate: Eigenvalues | None, operator: Operator) -> Eigenvalues:
    return known_pairs(None if deflate is None else deflate.space or deflate, operator)


def _trace(pairs: Eigenvalues) -> float:
    return float(pairs.values.sum())


def _rest(
    operator: Operator,
    known: Tensor,
    base: float,
    pairs: Eigenvalues,
    budget: int,
    tolerance: float | None,
    seed: int,
) -> Estimate:
    """Base + the trace of M = P A P for P orthogonal to the known rows, by Hutchinson.

    v^T M v is the sum of d_i = v_i (M v)_i. Its variance is twice the sum of the variances of d_i,
    because each product M_ij v_i v_j is in two of them. That sum is known far better: two probes
    are enough, while the spread of two values of v^T M v says next to nothing.

    The first probe also shows whether the ``pairs`` among the known rows are A's. The converged
    pairs have a part in it, of random signs s. That adds v^T R s for their residuals R, whose mean
    is zero and whose variance is theirs.
    """
    size = operator.size
    generator, tags = operator.generator(seed), operator.generator(seed + 1)

    def without_known(vector: Tensor) -> Tensor:
        return vector - known.T @ (known @ vector)

    def draw(count: int) -> tuple[float, float, float]:
        """Mean and variance of v^T M v, and a factor by which the variance may be too small."""
        mean = torch.zeros(size, dtype=torch.float64, device=known.device)
        squares, sizes = mean.new_zeros(()), []
        for index in range(count):
            probe = signs(known, generator)
            inside = without_known(probe)
            if index == 0 and len(pairs.values):
                inside = inside + part_along(pairs, tags)
            image = operator @ inside
            if index == 0 and len(pairs.values):
                check_pairs(pairs, inside, image)
            away = (probe * without_known(image)).double()
            sizes.append(away @ away)
            away -= mean
            mean += away / (index + 1)  # Welford's recurrence
            squares += (away @ away) * (index / (index + 1))
        numbers = torch.stack([mean.sum(), 2 * squares / (count - 1), *sizes]).cpu()
        check_finite(numbers)
        value, variance, *lengths = numbers.tolist()
        scatter = float(numbers[2:].std()) / count**0.5
        average = sum(lengths) / count
        return value, variance, 1 + _STUDENT * scatter / average if average > 0 else 1.0

    spent, count = 0, budget
    if tolerance is not None and size > _PILOT:
        value, variance, caution = draw(_PILOT)
        spent, target = _PILOT, tolerance * abs(base + value)
        wanted = caution * variance / target**2 if target > 0 else math.inf
        count = min(budget - spent, size if wanted >= size else max(2, math.ceil(wanted)))
    if count >= size:
        exact = torch.stack([row @ (operator @ row) for row in units(known)]).double().cpu()
        check_finite(exact)
        return Estimate(float(exact.sum()), 0.0, spent + size)
    value, variance, _ = draw(count)
    error = math.sqrt(variance / count)
    met = tolerance is None or error <= tolerance * abs(base + value)
    return Estimate(base + value, error, spent + count, met)
