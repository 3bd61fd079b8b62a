"""Matvecs by differences of gradients, for operations without a second derivative."""

from typing import Any

import pytest
import torch
from cases import classification, columns, dense_hessian, mlp
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from landscape.curvature import top_eigenvalues, trace
from landscape.errors import InputError, LandscapeError
from landscape.objective.objective import Objective


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
