"""Matvecs by differences of gradients, for operations without a second derivative."""

from typing import Any

import numpy as np
import pytest
import torch
from cases import Memory, classification, columns, dense_hessian, mlp
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from landscape.curvature import measure, top_eigenvalues, trace
from landscape.errors import InputError, LandscapeError
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Point, Posterior
from landscape.store import schema


class Once(torch.autograd.Function):
    """The sine, by a kernel that has one derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return slopes * x.cos()


class Kernel(nn.Module):
    def __init__(self, *, is_fused: bool) -> None:
        super().__init__()
        self.a, self.b, self.is_fused = nn.Linear(4, 5), nn.Linear(5, 3), is_fused

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x)
        outputs: Tensor = self.b(Once.apply(hidden) if self.is_fused else hidden.sin())
        return outputs


def pair(dtype: torch.dtype) -> tuple[Objective, Tensor]:
    """The objective of the kernel, and the Hessian of the same network without it."""
    torch.manual_seed(0)
    fused, plain = Kernel(is_fused=True), Kernel(is_fused=False)
    plain.load_state_dict(fused.state_dict())
    exact = Objective(plain.double(), classification())
    truth = dense_hessian(exact, exact.space.vector())
    return Objective(fused.to(dtype), classification()), truth


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-7), (torch.float32, 2e-3)])
def test_differences_are_the_hessian_of_a_kernel_without_one(
    dtype: torch.dtype, most: float
) -> None:
    objective, truth = pair(dtype)
    with pytest.raises(LandscapeError, match=r"once_differentiable.*method='finite-difference'"):
        top_eigenvalues(objective, k=1)
    operator = objective.hessian(method="finite-difference")
    assert operator.error is None
    product = columns(operator, objective.size).double()
    assert operator.error is not None
    assert 0 < operator.error < most
    for column, exact in zip(product.T, truth.T, strict=True):
        assert float((column - exact).norm()) <= max(5 * operator.error, 1e-9) * float(truth.norm())
    top = top_eigenvalues(operator, k=2, tolerance=10 * most)
    values = torch.linalg.eigvalsh(truth).flip(0)
    assert top.error == operator.error
    torch.testing.assert_close(top.values, values[:2], rtol=0, atol=5 * most * float(values[0]))
    total = trace(operator, matvecs=objective.size)
    assert total.error == operator.error
    assert total.value == pytest.approx(float(truth.trace()), rel=5 * most)


def test_a_matrix_that_is_exact_says_so() -> None:
    objective = Objective(mlp(), classification())
    assert top_eigenvalues(objective, k=1).error == 0
    assert trace(objective, matvecs=3).error == 0


def test_differences_across_a_kink_are_refused() -> None:
    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(3, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return (self.w - 1).abs().sum().expand(len(x), 1)

    objective = Objective(Step(), [(torch.zeros(2, 1), torch.zeros(2))], lambda o, _: o[:, 0])
    operator = objective.hessian(method="finite-difference")
    with pytest.raises(LandscapeError, match="differences of gradients do not agree"):
        operator(torch.ones(3, dtype=torch.float64))
    for wrong in ({"method": "magic"}, {"method": "finite-difference", "memory": 0}):
        with pytest.raises(InputError, match=r"unknown method|keep no graphs"):
            objective.hessian(**wrong)  # type: ignore[arg-type]


def test_a_posterior_is_measured_by_differences_and_the_result_has_their_error() -> None:
    objective, truth = pair(torch.float64)
    q = Posterior(objective.space, Point(objective.space.vector()))
    data, store = classification(), Memory()
    settings: dict[str, Any] = {"eigenvalues": 2, "tolerance": 1e-8, "trace_matvecs": 99}
    found = measure(q, data, **settings, method="finite-difference", store=store)
    exact = torch.linalg.eigvalsh(truth).flip(0)[:2].numpy()
    np.testing.assert_allclose(found.eigenvalues[0], exact, rtol=1e-6)
    assert found.trace[0] == pytest.approx(float(truth.trace()), rel=1e-6)
    assert found.matvec_error is not None
    assert 0 < found.matvec_error[0] < 1e-6
    variables, attributes = store.writes[-1][1:]
    assert schema.conform("samples", variables)["matvec_error"] == found.matvec_error
    assert attributes["matrix"] == "hessian, finite-difference"
    again = measure(q, data, **settings, method="finite-difference", store=store)
    assert (again.matvec_error, len(store.writes)) == (found.matvec_error, 1)


def test_what_differences_gave_is_not_taken_for_what_is_exact() -> None:
    model = mlp()
    q = Posterior(ParameterSpace(model), Point(ParameterSpace(model).vector()))
    store = Memory()
    by_differences = measure(q, classification(), method="finite-difference", store=store)
    exact = measure(q, classification(), store=store)
    assert exact.matvec_error is None
    np.testing.assert_allclose(exact.eigenvalues, by_differences.eigenvalues, rtol=1e-2)
    assert (exact.eigenvalues != by_differences.eigenvalues).any()
    assert len(store.writes) == 2


def test_differences_are_of_the_hessian_alone() -> None:
    model = mlp()
    q = Posterior(ParameterSpace(model), Point(ParameterSpace(model).vector()))
    for settings, message in (
        ({"matrix": "gauss-newton"}, "differences of gradients give the Hessian"),
        ({"backend": "pyhessian"}, "leave method= out"),
        ({"method": "forward"}, "unknown method 'forward'"),
    ):
        with pytest.raises(InputError, match=message):
            measure(q, classification(), **{"method": "finite-difference", **settings})
