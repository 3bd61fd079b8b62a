"""Curvature of a network's loss at given weights, by either backend."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from landscape.curvature import pyhessian
from landscape.curvature.estimators.density import Density, lanczos_quadrature, smooth
from landscape.curvature.estimators.diagonal import Diagonal, estimate_diagonal
from landscape.curvature.estimators.frobenius import estimate_squared_frobenius
from landscape.curvature.estimators.lanczos import (
    Eigenvalues,
    Which,
    check_request,
    check_which,
    lanczos,
)
from landscape.curvature.estimators.probes import Estimate, check_budget
from landscape.curvature.estimators.trace import hutch_pp, hutchinson, krylov_aware
from landscape.curvature.matrices import Matrix, check_matrix, product_by
from landscape.curvature.not_finite import explained
from landscape.errors import InputError
from landscape.objective.objective import Objective

Backend = Literal["lanczos", "pyhessian"]
BACKENDS = ("lanczos", "pyhessian")
Estimator = Literal["krylov", "hutch++", "hutchinson"]
_ESTIMATORS = {"krylov": krylov_aware, "hutch++": hutch_pp, "hutchinson": hutchinson}


@explained
def top_eigenvalues(
    objective: Objective,
    w: Tensor,
    k: int = 5,
    *,
    which: Which = "largest",
    matrix: Matrix = "hessian",
    tolerance: float = 1e-3,
    max_matvecs: int | None = None,
    max_basis: int | None = None,
    keep_space: bool = False,
    seed: int = 0,
    backend: Backend = "lanczos",
) -> Eigenvalues:
    """The k extreme eigenvalues of an objective's curvature at w.

    Args:
        objective: Whose curvature.
        w: Weights, shape (P,).
        k: How many.
        which: See ``lanczos``; PyHessian has only its own (largest magnitude).
        matrix: ``"hessian"``, ``"gauss-newton"`` or ``"empirical-fisher"``; see ``GaussNewton``.
        tolerance: Relative residual at which a pair has converged; see ``lanczos``.
        max_matvecs: Budget of matvecs.
        max_basis: Vectors kept at most, by default 2 k + 30; PyHessian keeps k.
        keep_space: Keep what else the search has found out, from which a trace that is deflated by
            the answer gains; see ``Eigenvalues``. PyHessian has nothing to keep.
        seed: Of the starting vector.
        backend: ``"lanczos"``, or ``"pyhessian"`` for that package's power iteration.

    Returns:
        Values (k,) with residuals, in the loss's units.

    Raises:
        InputError: a setting is out of range.
        LandscapeError: a product is not finite.
    """
    check_backend(backend, matrix)
    check_request(objective.size, k, tolerance)
    check_which(which)
    if backend == "pyhessian":
        if which == "smallest":
            raise InputError("PyHessian cannot find smallest eigenvalues; use backend='lanczos'")
        return pyhessian.top_eigenvalues(
            objective, w, k, which=which, tolerance=tolerance, max_matvecs=max_matvecs, seed=seed
        )
    return lanczos(
        product_by(matrix, objective, w),
        objective.size,
        k,
        which=which,
        tolerance=tolerance,
        max_matvecs=max_matvecs,
        max_basis=max_basis,
        keep_space=keep_space,
        seed=seed,
        dtype=w.dtype,
        device=w.device,
    )


@explained
def trace(
    objective: Objective,
    w: Tensor,
    *,
    matvecs: int | None = None,
    tolerance: float | None = None,
    estimator: Estimator = "krylov",
    matrix: Matrix = "hessian",
    deflate: Eigenvalues | None = None,
    seed: int = 0,
    backend: Backend = "lanczos",
) -> Estimate:
    """The trace of an objective's curvature at w, with its standard error.

    Args:
        objective: Whose curvature.
        w: Weights, shape (P,).
        matvecs: Products to spend, by default 30; with a tolerance at most so many, by
            default 1,000.
        tolerance: Relative standard error to reach; see ``hutchinson``.
        estimator: ``"krylov"``, ``"hutch++"`` or ``"hutchinson"``, which needs by far the most
            matvecs and the memory of none; see ``krylov_aware``. PyHessian has only the last.
        matrix: See ``top_eigenvalues``.
        deflate: Eigenpairs at the same w, which lower the variance; see ``hutchinson``.
        seed: Of the probes.
        backend: ``"lanczos"`` for ours, or ``"pyhessian"``, which has Hutchinson's estimator with a
            fixed number of matvecs and takes no ``deflate``.

    Raises:
        InputError: a setting is out of range.
        LandscapeError: a product is not finite.
    """
    check_backend(backend, matrix)
    if estimator not in _ESTIMATORS:
        raise InputError(f"unknown estimator '{estimator}'; known: {', '.join(_ESTIMATORS)}")
    if backend == "pyhessian":
        if estimator == "hutch++" or tolerance is not None or deflate is not None:
            raise InputError(
                "PyHessian has only Hutchinson's estimator with fixed matvecs and nothing taken "
                "out; use backend='lanczos'"
            )
        budget = check_budget(matvecs, None)
        return pyhessian.trace(objective, w, matvecs=budget, seed=seed)
    return _ESTIMATORS[estimator](
        product_by(matrix, objective, w),
        objective.size,
        matvecs=matvecs,
        tolerance=tolerance,
        deflate=deflate,
        seed=seed,
        dtype=w.dtype,
        device=w.device,
    )


@explained
def diagonal(
    objective: Objective,
    w: Tensor,
    *,
    matrix: Matrix = "hessian",
    matvecs: int | None = None,
    seed: int = 0,
) -> Diagonal:
    """The diagonal of an objective's curvature at w, each entry with its standard error.

    Args:
        objective: Whose curvature.
        w: Weights, shape (P,).
        matrix: See ``top_eigenvalues``.
        matvecs: Products to spend, by default 30; see ``estimate_diagonal``.
        seed: Of the probes.

    Raises:
        InputError: fewer than 2 matvecs.
        LandscapeError: a product is not finite.
    """
    return estimate_diagonal(
        product_by(matrix, objective, w),
        objective.size,
        matvecs=matvecs,
        seed=seed,
        dtype=w.dtype,
        device=w.device,
    )


@explained
def squared_frobenius(
    objective: Objective,
    w: Tensor,
    *,
    matrix: Matrix = "hessian",
    matvecs: int | None = None,
    tolerance: float | None = None,
    deflate: Eigenvalues | None = None,
    seed: int = 0,
) -> Estimate:
    """The squared Frobenius norm of an objective's curvature at w, with its standard error.

    Args:
        objective: Whose curvature.
        w: Weights, shape (P,).
        matrix: See ``top_eigenvalues``.
        matvecs: As for ``trace``.
        tolerance: As for ``trace``.
        deflate: Eigenpairs at the same w; see ``estimate_squared_frobenius``.
        seed: Of the probes.

    Raises:
        InputError: a setting is out of range.
        LandscapeError: a product is not finite.
    """
    return estimate_squared_frobenius(
        product_by(matrix, objective, w),
        objective.size,
        matvecs=matvecs,
        tolerance=tolerance,
        deflate=deflate,
        seed=seed,
        dtype=w.dtype,
        device=w.device,
    )


@explained
def spectral_density(
    objective: Objective,
    w: Tensor,
    *,
    matrix: Matrix = "hessian",
    probes: int = 10,
    steps: int = 80,
    deflate: Eigenvalues | None = None,
    grid: Tensor | None = None,
    width: float | None = None,
    seed: int = 0,
) -> Density:
    """The density of an objective's curvature eigenvalues at w, with a band over probes.

    PyHessian 0.1 has no backend for this: it calls ``torch.eig``, which torch no longer has.

    Args:
        objective: Whose curvature.
        w: Weights, shape (P,).
        matrix: See ``top_eigenvalues``.
        probes: At least 2.
        steps: Products a probe; see ``lanczos_quadrature``.
        deflate: Eigenpairs at the same w, which have no error then; see ``lanczos_quadrature``.
        grid: Where; see ``smooth``.
        width: Of the Gaussian kernel; see ``smooth``.
        seed: Of the probes.

    Raises:
        InputError: a setting is out of range.
        LandscapeError: a product is not finite.
    """
    found = lanczos_quadrature(
        product_by(matrix, objective, w),
        objective.size,
        probes=probes,
        steps=steps,
        deflate=deflate,
        seed=seed,
        dtype=w.dtype,
        device=w.device,
    )
    return smooth(found, grid, width)


def check_backend(backend: str, matrix: str) -> None:
    """Refuse a backend or matrix that is unknown, or a backend that lacks the matrix.

    Raises:
        InputError: it is so.
    """
    if backend not in BACKENDS:
        raise InputError(f"unknown backend '{backend}'; known: {', '.join(BACKENDS)}")
    check_matrix(matrix)
    if backend == "pyhessian" and matrix != "hessian":
        raise InputError("PyHessian has only the Hessian; use backend='lanczos'")
