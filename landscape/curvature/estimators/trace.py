"""The trace of a symmetric operator with its standard error.

Hutchinson's estimator averages v^T A v over random signs v; its variance is at most twice the sum
of the squared eigenvalues. A network's few large eigenvalues make nearly all of that, so the two
others take the trace within a space Q that holds them exactly, and average over what is left,

    tr A = tr Q^T A Q + tr (I - Q Q^T) A (I - Q Q^T),

which is unbiased whatever Q is: Hutch++ makes Q of the images of random vectors, and the
Krylov-aware estimator of the Krylov space of one, which needs half the matvecs for twice as much.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from landscape.curvature.estimators.deflation import allowance, check_pairs, known_pairs, part_along
from landscape.curvature.estimators.krylov import krylov
from landscape.curvature.estimators.lanczos import Eigenvalues
from landscape.curvature.estimators.operator import Matvec, check_finite
from landscape.curvature.estimators.probes import Estimate, check_budget, signs, units

_COLUMNS = 10
"""Of Hutch++'s sketch where the number of matvecs is not given."""

_PILOT = 5
_STUDENT = 1.533  # 90 % quantile for the pilot's degrees of freedom

_STEPS = 40
"""Of the Krylov space at most, where the number of matvecs is not given."""


def hutchinson(
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
    """Hutchinson's estimate of tr A with random signs as probes (Hutchinson 1990).

    With ``deflate``, eigenpairs already known are taken out exactly and only the rest is estimated,
    tr A = sum_i lambda_i + tr (I - V V^T) A (I - V V^T). That is unbiased whether or not the pairs
    have converged, because each value is its vector's Rayleigh quotient; so all pairs of their
    ``space`` are taken out, if it was kept. Where the operator is multiplied out they are not used.

    Args:
        matvec: v -> A v on vectors of shape (size,).
        size: n.
        matvecs: Number of probes, at least 2, by default 30; with a tolerance at most so many, by
            default 1,000. When it reaches n, the operator is multiplied out exactly instead.
        tolerance: Standard error to reach, relative to the trace. The number of probes is decided
            from a pilot of 5 that is then thrown away: stopping by the estimate itself would bias
            it. ``converged`` says whether the tolerance was met, as it is nine times in ten.
        deflate: Result of ``lanczos`` on the same operator.
        seed: Of the probes.
        dtype: Type of the probes.
        device: Where they are.

    Raises:
        InputError: too few matvecs, a tolerance that is not positive, or pairs to deflate that are
            of another operator.
        LandscapeError: a product is not finite.
    """
    budget = check_budget(matvecs, tolerance)
    pairs = _known(deflate, size, dtype, device)
    known, base = pairs.vectors, float(pairs.values.sum())
    return _rest(matvec, known, base, pairs, budget=budget, tolerance=tolerance, seed=seed)


def hutch_pp(
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
    """The Hutch++ estimate of tr A (Meyer, Musco, Musco & Woodruff, arXiv 2010.09649).

    A third of the matvecs go into A S for random signs S, whose span Q holds most of a matrix with
    few large eigenvalues; a third into tr Q^T A Q, exactly; the last into Hutchinson's estimate of
    the trace of (I - Q Q^T) A (I - Q Q^T), whose independent probes give the standard error.

    Args:
        matvec: v -> A v on vectors of shape (size,).
        size: n.
        matvecs: As for ``hutchinson``. Memory is a third of it times n.
        tolerance: As for ``hutchinson``; S then has 10 columns, or fewer for a small budget.
        deflate: Result of ``lanczos`` on the same operator; Q is orthogonal to it.
        seed: Of the probes.
        dtype: Type of the probes.
        device: Where they are.

    Raises:
        InputError: too few matvecs, a tolerance that is not positive, or pairs to deflate that are
            of another operator.
        LandscapeError: a product is not finite.
    """
    budget = check_budget(matvecs, tolerance)
    pairs = _known(deflate, size, dtype, device)
    known, base = pairs.vectors, float(pairs.values.sum())
    sketched = budget // 3 if tolerance is None else min(_COLUMNS, (budget - _PILOT - 2) // 2)
    columns = min(sketched, (budget - 2) // 2, size - len(known))
    rest = budget - 2 * columns
    if columns <= 0 or (tolerance is None and budget >= size):
        return hutchinson(
            matvec,
            size,
            matvecs=matvecs,
            tolerance=tolerance,
            deflate=deflate,
            seed=seed,
            dtype=dtype,
            device=device,
        )
    generator = torch.Generator(device).manual_seed(seed)
    images = torch.stack([matvec(signs(known, generator)) for _ in range(columns)])
    check_finite(images)
    images = images / images.abs().amax().clamp_min(torch.finfo(dtype).tiny)  # QR squares them
    # Householder's Q is orthonormal whatever the rank, and begins with the known directions.
    basis = torch.linalg.qr(torch.cat([known, images]).T)[0].T
    base += float(sum(row @ matvec(row) for row in basis[len(known) :]))
    seed = int(torch.randint(2**62, (), generator=generator, device=device))
    found = _rest(matvec, basis, base, pairs, budget=rest, tolerance=tolerance, seed=seed)
    return replace(found, matvecs=found.matvecs + 2 * columns)


def krylov_aware(
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
    """A Krylov-aware estimate of tr A (Chen & Hallman, arXiv 2205.01736), with blocks of one.

    Some of the matvecs go into Lanczos' recurrence from a random vector, whose basis Q holds the
    ends of the spectrum and whose tridiagonal matrix is Q^T A Q, at no further product; the rest
    into Hutchinson's estimate of the trace of (I - Q Q^T) A (I - Q Q^T).

    Args:
        matvec: v -> A v on vectors of shape (size,).
        size: n.
        matvecs: As for ``hutchinson``. Half of them are Lanczos steps, whose memory is that number
            times n.
        tolerance: As for ``hutchinson``. There are Lanczos steps then, at most 40, as long as each
            saves more than one probe.
        deflate: Result of ``lanczos`` on the same operator; Q is orthogonal to it.
        seed: Of the starting vector and the probes.
        dtype: Type of the vectors.
        device: Where they are.

    Raises:
        InputError: too few matvecs, a tolerance that is not positive, or pairs to deflate that are
            of another operator.
        LandscapeError: a product is not finite.

    Example:
        >>> diagonal = torch.cat([torch.tensor([900.0, 90.0]), torch.linspace(0, 1, 998)])
        >>> found = krylov_aware(lambda v: diagonal * v, 1000, tolerance=0.01)
        >>> round(found.value / float(diagonal.sum()), 2), found.matvecs < 30
        (1.0, True)
    """
    budget = check_budget(matvecs, tolerance)
    pairs = _known(deflate, size, dtype, device)
    known, base = pairs.vectors, float(pairs.values.sum())
    rest = _PILOT + 2 if tolerance is not None else 2 if budget < size else budget
    steps = min(_STEPS if tolerance is not None else budget // 2, budget - rest, size - len(known))
    basis = torch.cat([known, known.new_empty(steps, size)])
    generator = torch.Generator(device).manual_seed(seed)
    start = torch.randn(size, dtype=dtype, device=device, generator=generator)
    spent, first, saved = 0, 0.0, math.inf
    for alpha, beta in krylov(matvec, start, basis, allowance(pairs)):
        base, spent, before = base + alpha, spent + 1, saved
        first = first or base + (size - 1) * alpha  # n v^T A v, which is one probe's estimate
        if tolerance is not None:
            # What the sum of squares of the rest is less for this step, in probes.
            target = tolerance * max(abs(base), abs(first))
            saved = 2 * (alpha**2 + 2 * beta**2) / target**2 if target > 0 else math.inf
            if spent > 2 and max(saved, before) < 1:
                break
    seed = int(torch.randint(2**62, (), generator=generator, device=device))
    basis, budget = basis[: len(known) + spent], budget - spent
    if len(basis) == size and (spent or budget < size):
        if len(known):
            # Nothing is left to probe, and a Krylov space does not see the pairs' values.
            probe = known.T @ signs(pairs.values.to(known), generator)
            check_pairs(pairs, probe, matvec(probe))
            spent += 1
        return Estimate(base, 0.0, spent)
    found = _rest(matvec, basis, base, pairs, budget=budget, tolerance=tolerance, seed=seed)
    return replace(found, matvecs=found.matvecs + spent)


def _known(
    deflate: Eigenvalues | None, size: int, dtype: torch.dtype, device: torch.device | str
) -> Eigenvalues:
    pairs = None if deflate is None else deflate.space or deflate
    return known_pairs(pairs, torch.zeros(0, size, dtype=dtype, device=device))


def _rest(
    matvec: Matvec,
    known: Tensor,
    base: float,
    pairs: Eigenvalues,
    *,
    budget: int,
    tolerance: float | None,
    seed: int,
) -> Estimate:
    """Base + the trace of M = P A P for P orthogonal to the known rows, by Hutchinson.

    v^T M v is the sum of d_i = v_i (M v)_i. Its variance is twice the sum of theirs, because each
    product M_ij v_i v_j is in two of them, and that is known far better: from two probes already,
    where the spread of two sums says next to nothing.

    The first probe also shows whether the ``pairs`` among the known rows are A's. Those that have
    converged have a part in it, of random signs s: that adds v^T R s for their residuals R, whose
    mean is zero and whose variance is theirs.
    """
    size = known.shape[1]
    generator, tags = (torch.Generator(known.device).manual_seed(seed + each) for each in range(2))

    def without_known(vector: Tensor) -> Tensor:
        return vector - known.T @ (known @ vector)

    def draw(count: int) -> tuple[float, float, float]:
        """Mean of the values, their variance, and how much larger that might be."""
        mean = torch.zeros(size, dtype=torch.float64, device=known.device)
        spread, sizes = mean.new_zeros(()), []
        for index in range(count):
            probe = signs(known, generator)
            inside = without_known(probe)
            if index == 0 and len(pairs.values):
                inside = inside + part_along(pairs, tags)
            image = matvec(inside)
            if index == 0 and len(pairs.values):
                check_pairs(pairs, inside, image)
            away = (probe * without_known(image)).double()
            sizes.append(away @ away)
            away -= mean
            mean += away / (index + 1)  # Welford's recurrence
            spread += (away @ away) * (index / (index + 1))
        found = torch.stack([mean.sum(), 2 * spread / (count - 1), *sizes]).cpu()
        check_finite(found)
        value, variance, *squares = found.tolist()
        scatter = float(found[2:].std()) / count**0.5
        average = sum(squares) / count
        return value, variance, 1 + _STUDENT * scatter / average if average > 0 else 1.0

    spent, count = 0, budget
    if tolerance is not None and size > _PILOT:
        value, variance, caution = draw(_PILOT)
        spent, target = _PILOT, tolerance * abs(base + value)
        wanted = caution * variance / target**2 if target > 0 else math.inf
        count = min(budget - spent, size if wanted >= size else max(2, math.ceil(wanted)))
    if count >= size:
        exact = torch.stack([row @ matvec(row) for row in units(known)]).double().cpu()
        check_finite(exact)
        return Estimate(float(exact.sum()), 0.0, spent + size)
    value, variance, _ = draw(count)
    error = math.sqrt(variance / count)
    met = tolerance is None or error <= tolerance * abs(base + value)
    return Estimate(base + value, error, spent + count, met)
