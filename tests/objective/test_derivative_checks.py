"""Products that differences of first derivatives do not confirm are refused, or said to be what."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import classification, columns, joined, mlp
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from landscape.autograd import double_backward
from landscape.curvature import by_block, top_eigenvalues, trace
from landscape.curvature.matrices import MATRICES, Matrix, operator_at
from landscape.errors import InputError, LandscapeError, LandscapeWarning
from landscape.objective.objective import Objective


class Layered(nn.Module):
    """Two linear layers with a function between them."""

    def __init__(self, between: Callable[[Tensor], Tensor], hidden: int = 5) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, hidden), nn.Linear(hidden, 3)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.b(self.between(self.a(x)))
        return outputs


class Frugal(Function):
    """Softplus that keeps the sigmoid of its input: its second derivative is lost."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(torch.sigmoid(x))
        return nn.functional.softplus(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return grads[0] * slope


class Once(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * x.cos()


class Rounded(Function):
    """Straight through: the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (8 * x).round() / 8

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def objective(model: nn.Module, **settings: Any) -> Objective:
    return Objective(model.double(), classification(), **settings)


@pytest.mark.parametrize(
    ("function", "matrix"),
    [
        (Frugal.apply, "hessian"),  # symmetric, and wrong
        (Once.apply, "hessian"),
        (Once.apply, "gauss-newton"),
        (Once.apply, "empirical-fisher"),
    ],
)
@pytest.mark.parametrize("random", [None, ["a.weight", "a.bias"]])
def test_derivatives_that_a_function_drops_are_missed(
    function: Callable[[Tensor], Tensor], matrix: Matrix, random: list[str] | None
) -> None:
    found = objective(Layered(function), parameters=random)
    w = found.space.vector()
    for measure in (top_eigenvalues, trace):
        with pytest.raises(LandscapeError, match=r"matvecs are wrong, by .* for"):
            measure(found, w, matrix=matrix)


@pytest.mark.parametrize("backend", ["lanczos", "pyhessian"])
def test_torchs_wrong_derivative_of_weight_norm_is_put_right_or_refused(backend: str) -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)))
    found = objective(model)
    w = found.space.vector()
    if backend == "pyhessian":
        with pytest.raises(LandscapeError, match="torch's Hessian matvecs are wrong"):
            trace(found, w, matvecs=5, backend="pyhessian")
        return
    direction = torch.linspace(-1, 1, len(w), dtype=torch.float64)
    ahead, behind = (found.gradient(w + sign * 1e-6 * direction) for sign in (1, -1))
    product = found.hessian_product(w, direction)
    torch.testing.assert_close(product, (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_gradient_that_is_not_the_losss_is_said_to_be_none(matrix: Matrix) -> None:
    found = objective(Layered(Rounded.apply))
    with pytest.warns(LandscapeWarning, match="gradient is not the derivative of its loss"):
        top_eigenvalues(found, found.space.vector(), 1, matrix=matrix)


def test_a_derivative_that_is_not_symmetric_is_refused() -> None:
    class Mixed(Function):
        """A slope that depends on another input's value, as no function's does."""

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return grads[0] * (x.cos() + x.roll(1, 1))

    found = objective(Layered(Mixed.apply))
    with (
        pytest.warns(LandscapeWarning, match="gradient is not the derivative"),
        pytest.raises(LandscapeError, match="not symmetric: the gradient is not that of a loss"),
    ):
        top_eigenvalues(found, found.space.vector(), 1)


def test_a_forward_pass_in_lower_precision_is_said_to_be_one() -> None:
    def within(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return torch.tanh(x @ torch.eye(x.shape[1], dtype=x.dtype)).to(x.dtype)

    def cast(x: Tensor) -> Tensor:
        return torch.tanh(x.bfloat16()).to(x.dtype)

    data = [(x.float(), y) for x, y in classification()]
    for between, message in ((within, "off by .*% of their length"), (cast, "in bfloat16 inside")):
        found = Objective(Layered(between), data)
        with pytest.warns(LandscapeWarning, match=message):
            top_eigenvalues(found, found.space.vector(), 1)


def test_parameters_without_a_part_in_the_loss_are_named_once() -> None:
    model = Layered(torch.tanh)
    model.idle = nn.Linear(2, 2)
    found = objective(model)
    w = found.space.vector()
    with pytest.warns(LandscapeWarning, match=r"no gradient reaches .* idle\.weight, idle\.bias"):
        trace(found, w, matvecs=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace(found, w, matvecs=3)
        top_eigenvalues(found, w, 1)
    with pytest.warns(LandscapeWarning, match=r"idle\.weight"):
        blocks = by_block(objective(model), w)
    assert float(blocks["idle"].top.values[0]) == 0
    assert float(blocks["a"].top.values[0]) > 0


def test_a_loss_without_a_gradient_is_refused() -> None:
    found = objective(Layered(torch.tanh), loss=lambda outputs, _: outputs[:, 0] * 0)
    with pytest.raises(InputError, match="no gradient reaches any of the inferred parameters"):
        top_eigenvalues(found, found.space.vector(), 1)


@pytest.mark.parametrize(
    "layer",
    [
        nn.ReLU(),
        nn.Hardsigmoid(),
        nn.Hardswish(inplace=True),
        nn.Sequential(nn.Hardsigmoid(inplace=True), nn.Tanh()),
        nn.LayerNorm(6),
        nn.Softmax(1),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_through_layers_are_differences_of_gradients(
    layer: nn.Module, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    model = Layered(layer, hidden=6).to(dtype)
    found = Objective(model, [(x.to(dtype), y) for x, y in classification()])
    exact = Objective(Layered(layer, hidden=6).double(), classification())
    exact.space.module.load_state_dict({k: v.double() for k, v in model.state_dict().items()})
    w, v = found.space.vector(), torch.linspace(-1, 1, found.size, dtype=torch.float64)
    step = 1e-7 * v
    ahead, behind = (exact.gradient(w.double() + sign * step) for sign in (1, -1))
    product = found.hessian(w)(v.to(dtype)).double()
    torch.testing.assert_close(product, (ahead - behind) / 2e-7, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("norm", [nn.LayerNorm(6), nn.GroupNorm(2, 6), nn.BatchNorm1d(6)])
def test_normalisation_may_have_a_shift_and_no_scale(norm: nn.Module) -> None:
    norm.register_parameter("weight", None)
    nn.init.normal_(norm.bias)
    found = objective(Layered(nn.Sequential(norm, nn.Tanh()), hidden=6))
    w = found.space.vector()
    matrix = columns(found.hessian(w), len(w))
    for index in (0, len(w) // 2, len(w) - 1):
        step = torch.zeros_like(w)
        step[index] = 1e-6
        ahead, behind = found.gradient(w + step), found.gradient(w - step)
        torch.testing.assert_close(matrix[index], (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-8)


def test_a_second_derivative_that_is_wrong_here_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = (nn.Conv1d(1, 2, 2), nn.Tanh(), nn.Conv1d(2, 2, 2), nn.Flatten(), nn.Linear(4, 3))
    batches = [(x[:, None], y) for x, y in classification()]
    forward = double_backward._Convolution.forward

    def wrong(self: object, *args: object, linear: bool) -> object:
        return (2 if linear else 1) * forward(self, *args, linear=linear)  # type: ignore[arg-type]

    monkeypatch.setattr(double_backward._Convolution, "forward", wrong)
    found = Objective(nn.Sequential(*layers).double(), batches)
    with pytest.raises(LandscapeError, match=r"Hessian matvecs are wrong, by"):
        found.hessian(found.space.vector())(found.space.vector())


def test_kinks_by_construction_are_no_wrong_derivatives() -> None:
    """Blank inputs and biases of zero: the gradient jumps at the network's own weights."""
    model = nn.Sequential(nn.Linear(4, 50), nn.ReLU(), nn.Linear(50, 3)).double()
    nn.init.zeros_(model[0].bias)
    x, y = joined(classification())
    x[::2] = 0
    found = Objective(model, [(x, y)])
    w = found.space.vector()
    assert float(top_eigenvalues(found, w, 1).values[0]) > 0


def test_what_is_trusted_is_not_compared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = objective(mlp())
    w = found.space.vector()
    for matrix in MATRICES:
        operator_at(found, w, matrix)(w)
    monkeypatch.setattr("landscape.objective.derivative_checks._Comparison", None)
    for matrix in MATRICES:
        operator_at(found.with_buffers({}), w, matrix)(w)
