"""Operators: one interface for an objective's matrices and for plain functions."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import classification, columns, generator, mlp, operator_of, symmetric
from torch import Tensor

import landscape as ls
from landscape.curvature import (
    MATRICES,
    EmpiricalFisher,
    FunctionOperator,
    GaussNewton,
    Hessian,
    Operator,
    by_block,
    diagonal,
    estimate_diagonal,
    estimate_squared_frobenius,
    hutch_pp,
    hutchinson,
    krylov_aware,
    lanczos,
    lanczos_quadrature,
    m_sharpness,
    restrict,
    spectral_density,
    squared_frobenius,
    top_eigenvalues,
    trace,
)
from landscape.errors import InputError

MATRIX = symmetric(torch.linspace(-1, 3, 12))
ESTIMATORS: list[Callable[..., Any]] = [
    lanczos,
    hutchinson,
    hutch_pp,
    krylov_aware,
    estimate_diagonal,
    estimate_squared_frobenius,
    lanczos_quadrature,
]


def objective() -> ls.Objective:
    return ls.Objective(mlp(), classification())


@pytest.mark.parametrize("matrix", [Hessian, GaussNewton, EmpiricalFisher])
def test_an_operator_multiplies_vectors_and_matrices_and_counts(matrix: type[Hessian]) -> None:
    loss = objective()
    operator = matrix(loss)
    assert (operator.size, operator.dtype, str(operator.device)) == (43, torch.float64, "cpu")
    assert operator.matvecs == 0
    vectors = torch.randn(43, 3, generator=generator(), dtype=torch.float64)
    images = operator @ vectors
    assert operator.matvecs == 3
    for column, image in zip(vectors.T, images.T, strict=True):
        torch.testing.assert_close(operator @ column, image)
        torch.testing.assert_close(operator.matvec(column), image)
        torch.testing.assert_close(operator(column), image)
    assert operator.matvecs == 12
    assert (operator @ vectors[:, :0]).shape == (43, 0)
    dense = columns(matrix(loss, loss.space.vector(), memory=0), 43)
    torch.testing.assert_close(images, dense @ vectors)
    assert not images.requires_grad
    for wrong in (vectors[:-1, 0], vectors[:-1], vectors[None], vectors[0, 0]):
        with pytest.raises(InputError, match=r"a vector to multiply has shape \(43,\)"):
            operator @ wrong


def test_a_function_is_an_operator_in_the_type_that_it_says() -> None:
    double = MATRIX.double().requires_grad_()
    operator = FunctionOperator(lambda v: double @ v, 12, dtype=torch.float64)
    identity = torch.eye(12)
    torch.testing.assert_close(operator @ identity, double.detach())
    assert not (operator @ identity[0]).requires_grad
    assert isinstance(operator, Operator)
    assert lanczos(operator, k=2).vectors.dtype == torch.float64


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimators_take_an_operator_or_a_function_and_a_size(
    estimator: Callable[..., Any],
) -> None:
    by_function = estimator(lambda v: MATRIX @ v, 12)
    operator = operator_of(MATRIX)
    for by_operator in (estimator(operator), estimator(operator_of(MATRIX), 12)):
        for name, value in vars(by_function).items():
            torch.testing.assert_close(getattr(by_operator, name), value, rtol=0, atol=0)
    assert operator.matvecs == by_function.matvecs
    with pytest.raises(InputError, match="pass an Operator, or a function v -> A v and its size n"):
        estimator(lambda v: MATRIX @ v)
    with pytest.raises(InputError, match="the operator has 12 dimensions, not 5: leave the size"):
        estimator(operator, 5)
    with pytest.raises(InputError, match=r"a matrix is an Operator or a function .* not a Tensor"):
        estimator(MATRIX, 12)
    with pytest.raises(InputError, match=r"returns shape \(11,\) for a vector of shape \(12,\)"):
        estimator(lambda v: v[1:], 12)
    with pytest.raises(InputError, match="the size of an operator must be at least 1"):
        estimator(lambda v: v, 0)


def same(one: object, other: object) -> None:
    if isinstance(one, Tensor | float | int):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    elif isinstance(one, dict):
        for name, value in one.items():
            same(value, other[name])  # type: ignore[index]
    elif hasattr(one, "__dataclass_fields__"):
        for name, value in vars(one).items():
            same(value, getattr(other, name))


@pytest.mark.parametrize(
    "measure",
    [
        ls.Objective.loss,
        ls.Objective.gradient,
        ls.Objective.evaluate,
        top_eigenvalues,
        trace,
        diagonal,
        squared_frobenius,
        spectral_density,
        by_block,
        m_sharpness,
    ],
)
def test_without_weights_it_is_the_models_own(measure: Callable[..., Any]) -> None:
    loss = objective()
    w = loss.space.vector()
    same(measure(loss), measure(loss, w))
    away = measure(loss, w + 0.1)
    with pytest.raises(AssertionError):
        same(measure(loss), away)


def test_matrices_without_weights_are_at_the_models_own() -> None:
    loss = objective()
    w = loss.space.vector()
    for name, matrix in MATRICES.items():
        assert matrix.matrix == name
        torch.testing.assert_close(matrix(loss) @ w, matrix(loss, w) @ w, rtol=0, atol=0)
    torch.testing.assert_close(loss.hessian() @ w, loss.hessian_product(w, w))
    part = restrict(loss, names="2.bias")
    torch.testing.assert_close(part.space.vector(), w[-3:])
    assert isinstance(part, ls.Objective)


def test_the_short_call_finds_the_eigenvalues() -> None:
    top = ls.curvature.top_eigenvalues(objective(), k=5)
    dense = columns(objective().hessian(), 43)
    torch.testing.assert_close(
        top.values, torch.linalg.eigvalsh(dense).flip(0)[:5], rtol=1e-5, atol=0
    )


def test_measures_take_an_operator_in_place_of_the_objective() -> None:
    loss = objective()
    operator = GaussNewton(loss)
    same(top_eigenvalues(operator, k=3), top_eigenvalues(loss, k=3, matrix="gauss-newton"))
    same(trace(operator), trace(loss, matrix="gauss-newton"))
    same(trace(loss.hessian(), backend="pyhessian"), trace(loss, backend="pyhessian"))
    for settings in ({"w": loss.space.vector()}, {"matrix": "gauss-newton"}):
        with pytest.raises(InputError, match="leave w and matrix out"):
            diagonal(operator, **settings)
    for other in (operator, operator_of(MATRIX)):
        with pytest.raises(InputError, match="PyHessian has only an objective's Hessian"):
            top_eigenvalues(other, k=1, backend="pyhessian")
    with pytest.raises(ls.LandscapeError, match="a matvec is not finite"):
        trace(operator_of(MATRIX * torch.nan))
