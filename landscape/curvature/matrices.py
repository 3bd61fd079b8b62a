"""The curvature matrices of an objective, by name."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from landscape.errors import InputError
from landscape.objective.mean_loss import MeanLoss
from landscape.objective.operators.base import Operator
from landscape.objective.operators.finite_difference import DifferenceHessian
from landscape.objective.operators.fisher import EmpiricalFisher
from landscape.objective.operators.gauss_newton import GaussNewton
from landscape.objective.operators.graphs import GraphOperator
from landscape.objective.operators.hessian import Hessian

Matrix = Literal["hessian", "gauss-newton", "empirical-fisher"]
Method = Literal["double-backward", "finite-difference"]
MATRICES: dict[str, type[GraphOperator]] = {
    matrix.matrix: matrix for matrix in (Hessian, GaussNewton, EmpiricalFisher)
}
"""Operators of an objective at given weights, by the name that ``matrix=`` takes."""


def operator_at(
    objective: MeanLoss | Operator,
    w: Tensor | None = None,
    matrix: Matrix = "hessian",
    method: Method = "double-backward",
) -> Operator:
    """A matrix of an objective at w; an operator in the objective's place is returned as it is.

    Args:
        objective: The objective, or an operator.
        w: Weights, shape (P,); the model's own if ``None``.
        matrix: ``"hessian"``, ``"gauss-newton"`` or ``"empirical-fisher"``.
        method: ``"finite-difference"`` for the Hessian by differences of gradients; see
            ``DifferenceHessian``.

    Raises:
        InputError: an unknown name, weights or another matrix beside an operator, or differences
            for another matrix.
    """
    check_matrix(matrix, method)
    if isinstance(objective, Operator):
        if w is not None or matrix != "hessian":
            raise InputError("an operator is one matrix at fixed weights: leave w and matrix out")
        return objective
    if method == "finite-difference":
        return DifferenceHessian(objective, w)
    return MATRICES[matrix](objective, w)


def matrix_name(matrix: str, method: str) -> str:
    """The matrix as results name it, with the method if its matvecs are not exact."""
    return matrix if method == "double-backward" else f"{matrix}, {method}"


def check_matrix(matrix: str, method: str = "double-backward") -> None:
    """Refuse an unknown matrix or method, and a method that does not give the matrix.

    Raises:
        InputError: a name is unknown, or differences are asked for another matrix.
    """
    if matrix not in MATRICES:
        raise InputError(f"unknown matrix '{matrix}'; known: {', '.join(MATRICES)}")
    if method not in get_args(Method):
        raise InputError(f"unknown method '{method}'; known: {', '.join(get_args(Method))}")
    if method == "finite-difference" and matrix != "hessian":
        raise InputError(f"differences of gradients give the Hessian, not matrix='{matrix}'")
