"""Curvature of a network's loss at given weights, by either backend."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from landscape.curvature import pyhessian
from landscape.curvature.density import Density, lanczos_quadrature, smooth
from landscape.curvature.diagonal import Diagonal, estimate_diagonal
from landscape.curvature.frobenius import estimate_squared_frobenius
from landscape.curvature.lanczos import Eigenvalues, Which, check_request, lanczos
from landscape.curvature.probes import Estimate, check_budget
from landscape.curvature.trace import hutch_pp, hutchinson
from landscape.errors import InputError
from landscape.objective import Objective

Backend = Literal["lanczos", "pyhessian"]
BACKENDS = ("lanczos", "pyhessian")
Estimator = Literal["hutchinson", "hutch++"]
_ESTIMATORS = {"hutchinson": hutchinson, "hutch++": hutch_pp}


def top_eigenvalues(
    objective: Objective,
    w: Tensor,
    k: int = 5,
    *,
    which: Which = "largest",
    tolerance: float = 1e-3,
    max_products: int | None = None,
    seed: int = 0,
    backend: Backend = "lanczos",
) -> Eigenvalues:
    """The k extreme eigenvalues of the Hessian of an objective at w.

    Args:
        objective: Whose Hessian.
        w: Weights, shape (P,).
        k: How many.
        which: See ``lanczos``; PyHessian has only its own (largest magnitude).
        tolerance: Relative residual at which a pair has converged; see ``lanczos``.
        max_products: Budget of Hessian products.
        seed: Of the starting vector.
        backend: ``"lanczos"``, or ``"pyhessian"`` for that package's power iteration.

    Returns:
        Values (k,) with residuals, in the loss's units.

    Raises:
        InputError: a setting is out of range.
        LandscapeError: a Hessian product is not finite.
    """
    _check(backend)
    check_request(objective.size, k, tolerance)
    if backend == "pyhessian":
        if which == "smallest":
            raise InputError("PyHessian cannot find smallest eigenvalues; use backend='lanczos'")
        return pyhessian.top_eigenvalues(
            objective, w, k, tolerance=tolerance, max_products=max_products, seed=seed
        )
    return lanczos(
        objective.hessian(w),
        objective.size,
        k,
        which=which,
        tolerance=tolerance,
        max_products=max_products,
        seed=seed,
        dtype=w.dtype,
        device=w.device,
    )


def trace(
    objective: Objective,
    w: Tensor,
    *,
    products: int | None = None,
    tolerance: float | None = None,
    estimator: Estimator = "hutchinson",
    deflate: Eigenvalues | None = None,
    seed: int = 0,
    backend: Backend = "lanczos",
) -> Estimate:
    """The trace of the Hessian of an objective at w, with its standard error.

    Args:
        objective: Whose Hessian.
        w: Weights, shape (P,).
        products: Hessian products to spend, by default 30; with a tolerance at most so many, by
            default 1,000.
        tolerance: Relative standard error to reach; see ``hutchinson``.
        estimator: ``"hutchinson"`` or ``"hutch++"``.
        deflate: Eigenpairs at the same w, which lower the variance; see ``hutchinson``.
        seed: Of the probes.
        backend: ``"lanczos"`` for ours, or ``"pyhessian"``, which has Hutchinson's estimator with a
            fixed number of products and takes no ``deflate``.

    Raises:
        InputError: a setting is out of range.
        LandscapeError: a Hessian product is not finite.
    """
    _check(backend)
    if estimator not in _ESTIMATORS:
        raise InputError(f"unknown estimator '{estimator}'; known: {', '.join(_ESTIMATORS)}")
    if backend == "pyhessian":
        if estimator != "hutchinson" or tolerance is not None:
            raise InputError(
                "PyHessian has only Hutchinson's estimator with fixed products; use "
                "backend='lanczos'"
            )
        budget = check_budget(products, None)
        return pyhessian.trace(objective, w, products=budget, seed=seed)
    return _ESTIMATORS[estimator](
        objective.hessian(w),
        objective.size,
        products=products,
        tolerance=tolerance,
        deflate=deflate,
        seed=seed,
        dtype=w.dtype,
        device=w.device,
    )


def diagonal(
    objective: Objective, w: Tensor, *, products: int | None = None, seed: int = 0
) -> Diagonal:
    """The diagonal of the Hessian of an objective at w, each entry with its standard error.

    Args:
        objective: Whose Hessian.
        w: Weights, shape (P,).
        products: Hessian products to spend, by default 30; see ``estimate_diagonal``.
        seed: Of the probes.

    Raises:
        InputError: fewer than 2 products.
        LandscapeError: a Hessian product is not finite.
    """
    return estimate_diagonal(
        objective.hessian(w),
        objective.size,
        products=products,
        seed=seed,
        dtype=w.dtype,
        device=w.device,
    )


def squared_frobenius(
    objective: Objective,
    w: Tensor,
    *,
    products: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> Estimate:
    """The squared Frobenius norm of the Hessian of an objective at w, with its standard error.

    Args:
        objective: Whose Hessian.
        w: Weights, shape (P,).
        products: As for ``trace``.
        tolerance: As for ``trace``.
        seed: Of the probes.

    Raises:
        InputError: a setting is out of range.
        LandscapeError: a Hessian product is not finite.
    """
    return estimate_squared_frobenius(
        objective.hessian(w),
        objective.size,
        products=products,
        tolerance=tolerance,
        seed=seed,
        dtype=w.dtype,
        device=w.device,
    )


def spectral_density(
    objective: Objective,
    w: Tensor,
    *,
    probes: int = 10,
    steps: int = 80,
    deflate: Eigenvalues | None = None,
    grid: Tensor | None = None,
    width: float | None = None,
    seed: int = 0,
) -> Density:
    """The density of the Hessian's eigenvalues at w, with a band over probes.

    PyHessian 0.1 has no backend for this: it calls ``torch.eig``, which torch no longer has.

    Args:
        objective: Whose Hessian.
        w: Weights, shape (P,).
        probes: At least 2.
        steps: Hessian products a probe; see ``lanczos_quadrature``.
        deflate: Eigenpairs at the same w, which have no error then; see ``lanczos_quadrature``.
        grid: Where; see ``smooth``.
        width: Of the Gaussian kernel; see ``smooth``.
        seed: Of the probes.

    Raises:
        InputError: a setting is out of range.
        LandscapeError: a Hessian product is not finite.
    """
    found = lanczos_quadrature(
        objective.hessian(w),
        objective.size,
        probes=probes,
        steps=steps,
        deflate=deflate,
        seed=seed,
        dtype=w.dtype,
        device=w.device,
    )
    return smooth(found, grid, width)


def _check(backend: str) -> None:
    if backend not in BACKENDS:
        raise InputError(f"unknown backend '{backend}'; known: {', '.join(BACKENDS)}")
