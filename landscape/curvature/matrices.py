"""Which curvature matrix of an objective, by its name."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from landscape.curvature.estimators.operator import Matvec
from landscape.errors import InputError
from landscape.objective.objective import Objective
from landscape.objective.operators.gauss_newton import GaussNewton

Matrix = Literal["hessian", "gauss-newton", "empirical-fisher"]
MATRICES = ("hessian", "gauss-newton", "empirical-fisher")


def product_by(matrix: Matrix, objective: Objective, w: Tensor) -> Matvec:
    """V -> A v for a matrix of an objective at w, shape (P,).

    Raises:
        InputError: an unknown name.
    """
    check_matrix(matrix)
    if matrix == "hessian":
        return objective.hessian(w)
    return GaussNewton(objective, w, centre="hessian" if matrix == "gauss-newton" else "gradient")


def check_matrix(matrix: str) -> None:
    """Refuse what is no name of a matrix.

    Raises:
        InputError: it is none.
    """
    if matrix not in MATRICES:
        raise InputError(f"unknown matrix '{matrix}'; known: {', '.join(MATRICES)}")
