"""Curvature of an objective at given weights, by our estimators or by PyHessian's.

Each function also takes an ``Operator`` in place of the objective and its weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Tensor

from landscape.curvature import pyhessian
from landscape.curvature.estimators.density import Density, lanczos_quadrature, smooth
from landscape.curvature.estimators.diagonal import Diagonal, estimate_diagonal
from landscape.curvature.estimators.frobenius import estimate_squared_frobenius
from landscape.curvature.estimators.lanczos import Eigenvalues, Which, lanczos
from landscape.curvature.estimators.probes import Estimate
from landscape.curvature.estimators.trace import hutch_pp, hutchinson, krylov_aware
from landscape.curvature.matrices import Matrix, check_matrix, operator_at
from landscape.curvature.not_finite import explained
from landscape.errors import InputError
from landscape.objective.mean_loss import MeanLoss
from landscape.objective.operators.base import Operator

Backend = Literal["lanczos", "pyhessian"]
BACKENDS = ("lanczos", "pyhessian")
Estimator = Literal["krylov", "hutch++", "hutchinson"]
_ESTIMATORS = {"krylov": krylov_aware, "hutch++": hutch_pp, "hutchinson": hutchinson}


def top_eigenvalues(
    objective: MeanLoss | Operator,
    w: Tensor | None = None,
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
        objective: The objective, or an operator.
        w: Weights, shape (P,); the model's own if ``None``.
        k: Number of eigenvalues.
        which: End of the spectrum; see ``lanczos``. PyHessian finds the largest magnitudes only.
        matrix: ``"hessian"``, ``"gauss-newton"`` or ``"empirical-fisher"``.
        tolerance: Relative residual at which a pair has converged; see ``lanczos``.
        max_matvecs: Largest number of matvecs.
        max_basis: Largest number of vectors kept, by default 2 k + 30; PyHessian keeps k.
        keep_space: Whether to keep the whole search space; a trace that is deflated by the result
            is then more accurate. See ``Eigenvalues``. PyHessian has none.
        seed: Seed of the starting vector.
        backend: ``"lanczos"``, or ``"pyhessian"`` for that package's power iteration.

    Returns:
        Values (k,) with residuals, in the loss's units.

    Raises:
        InputError: a setting is out of range.
        LandscapeError: a matvec is not finite.

    Examples:
        >>> import torch
        >>> import landscape as ls
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> objective = ls.Objective(torch.nn.Linear(2, 2, bias=False), data)
        >>> top = top_eigenvalues(objective, torch.zeros(4), k=2)
        >>> [round(value, 3) for value in top.values.tolist()]
        [0.25, 0.25]
    """
    check_backend(backend, matrix)
    operator = operator_at(objective, w, matrix)
    with explained(operator):
        if backend == "pyhessian":
            return pyhessian.top_eigenvalues(
                operator, k, which=which, tolerance=tolerance, max_matvecs=max_matvecs, seed=seed
            )
        return lanczos(
            operator,
            k=k,
            which=which,
            tolerance=tolerance,
            max_matvecs=max_matvecs,
            max_basis=max_basis,
            keep_space=keep_space,
            seed=seed,
        )


def trace(
    objective: MeanLoss | Operator,
    w: Tensor | None = None,
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
        objective: The objective, or an operator.
        w: Weights, shape (P,); the model's own if ``None``.
        matvecs: Number of matvecs, by default 30; with a tolerance the largest number, by default
            1,000.
        tolerance: Relative standard error to reach; see ``hutchinson``.
        estimator: ``"krylov"``, ``"hutch++"`` or ``"hutchinson"``. The last needs by far the most
            matvecs, but no memory; see ``krylov_aware``. PyHessian has only the last.
        matrix: Name of the matrix; see ``top_eigenvalues``.
        deflate: Eigenpairs at the same w, which lower the variance; see ``hutchinson``.
        seed: Seed of the probes.
        backend: ``"lanczos"`` for our estimators, or ``"pyhessian"`` for Hutchinson's estimator
            with a fixed number of matvecs and without ``deflate``.

    Raises:
        InputError: a setting is out of range.
        LandscapeError: a matvec is not finite.
    """
    check_backend(backend, matrix)
    if estimator not in _ESTIMATORS:
        raise InputError(f"unknown estimator '{estimator}'; known: {', '.join(_ESTIMATORS)}")
    operator = operator_at(objective, w, matrix)
    with explained(operator):
        if backend == "pyhessian":
            if estimator == "hutch++" or tolerance is not None or deflate is not None:
                raise InputError(
                    "PyHessian has only Hutchinson's estimator with fixed matvecs and nothing "
                    "taken out; use backend='lanczos'"
                )
            return pyhessian.trace(operator, matvecs=matvecs, seed=seed)
        estimate = _ESTIMATORS[estimator](
            operator, matvecs=matvecs, tolerance=tolerance, deflate=deflate, seed=seed
        )
        return replace(estimate, error=operator.error or 0.0)


def diagonal(
    objective: MeanLoss | Operator,
    w: Tensor | None = None,
    *,
    matrix: Matrix = "hessian",
    matvecs: int | None = None,
    seed: int = 0,
) -> Diagonal:
    """The diagonal of an objective's curvature at w, each entry with its standard error.

    Args:
        objective: The objective, or an operator.
        w: Weights, shape (P,); the model's own if ``None``.
        matrix: Name of the matrix; see ``top_eigenvalues``.
        matvecs: Number of matvecs, by default 30; see ``estimate_diagonal``.
        seed: Seed of the probes.

    Raises:
        InputError: fewer than 2 matvecs.
        LandscapeError: a matvec is not finite.
    """
    operator = operator_at(objective, w, matrix)
    with explained(operator):
        return estimate_diagonal(operator, matvecs=matvecs, seed=seed)


def squared_frobenius(
    objective: MeanLoss | Operator,
    w: Tensor | None = None,
    *,
    matrix: Matrix = "hessian",
    matvecs: int | None = None,
    tolerance: float | None = None,
    deflate: Eigenvalues | None = None,
    seed: int = 0,
) -> Estimate:
    """The squared Frobenius norm of an objective's curvature at w, with its standard error.

    Args:
        objective: The objective, or an operator.
        w: Weights, shape (P,); the model's own if ``None``.
        matrix: Name of the matrix; see ``top_eigenvalues``.
        matvecs: Number of matvecs; see ``trace``.
        tolerance: Relative standard error to reach; see ``trace``.
        deflate: Eigenpairs at the same w; see ``estimate_squared_frobenius``.
        seed: Seed of the probes.

    Raises:
        InputError: a setting is out of range.
        LandscapeError: a matvec is not finite.
    """
    operator = operator_at(objective, w, matrix)
    with explained(operator):
        estimate = estimate_squared_frobenius(
            operator, matvecs=matvecs, tolerance=tolerance, deflate=deflate, seed=seed
        )
        return replace(estimate, error=operator.error or 0.0)


def spectral_density(
    objective: MeanLoss | Operator,
    w: Tensor | None = None,
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

    PyHessian 0.1 cannot do this: it calls ``torch.eig``, which torch no longer has.

    Args:
        objective: The objective, or an operator.
        w: Weights, shape (P,); the model's own if ``None``.
        matrix: Name of the matrix; see ``top_eigenvalues``.
        probes: Number of probes, at least 2.
        steps: Number of matvecs for each probe; see ``lanczos_quadrature``.
        deflate: Eigenpairs at the same w, which then have no error; see ``lanczos_quadrature``.
        grid: Grid of eigenvalues; see ``smooth``.
        width: Width of the Gaussian kernel; see ``smooth``.
        seed: Seed of the probes.

    Raises:
        InputError: a setting is out of range.
        LandscapeError: a matvec is not finite.
    """
    operator = operator_at(objective, w, matrix)
    with explained(operator):
        quadrature = lanczos_quadrature(
            operator, probes=probes, steps=steps, deflate=deflate, seed=seed
        )
        return smooth(quadrature, grid, width)


def check_backend(backend: str, matrix: str) -> None:
    """Refuse an unknown backend or matrix, and a backend that lacks the matrix.

    Raises:
        InputError: one is unknown, or the backend lacks the matrix.
    """
    if backend not in BACKENDS:
        raise InputError(f"unknown backend '{backend}'; known: {', '.join(BACKENDS)}")
    check_matrix(matrix)
    if backend == "pyhessian" and matrix != "hessian":
        raise InputError("PyHessian has only the Hessian; use backend='lanczos'")
