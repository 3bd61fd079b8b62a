"""The curvature matrices of an objective, by name."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from landscape.errors import InputError
from landscape.objective.mean_loss import MeanLoss
from landscape.objective.operators.base import Operator
from landscape.objective.operators.fisher import EmpiricalFisher
from landscape.objective.operators.gauss_newton import GaussNewton
from landscape.objective.operators.graphs import GraphOperator
from landscape.objective.operators.hessian import Hessian

Matrix = Literal["hessian", "gauss-newton", "empirical-fisher"]
MATRICES: dict[str, type[GraphOperator]] = {
    matrix.matrix: matrix for matrix in (Hessian, GaussNewton, EmpiricalFisher)
}
"""Operators of an objective at given weights, by the name that ``matrix=`` takes."""


def operator_at(
    objective: MeanLoss | Operator, w: Tensor | None = None, matrix: Matrix = "hessian"
) -> Operator:
    """A matrix of an objective at w; an operator in the objective's place is returned as it is.

    Args:
        objective: The objective, or an operator.
        w: Weights, shape (P,); the model's own if ``None``.
        matrix: ``"hessian"``, ``"gauss-newton"`` or ``"empirical-fisher"``.

    Raises:
        InputError: an unknown name, or weights or another matrix beside an operator.
    """
    check_matrix(matrix)
    if isinstance(objective, Operator):
        if w is not None or matrix != "hessian":
            raise InputError("an operator is one matrix at fixed weights: leave w and matrix out")
        return objective
    return MATRICES[matrix](objective, w)


def check_matrix(matrix: str) -> None:
    """Refuse an unknown matrix.

    Raises:
        InputError: the name is unknown.
    """
    if matrix not in MATRICES:
        raise InputError(f"unknown matrix '{matrix}'; known: {', '.join(MATRICES)}")
