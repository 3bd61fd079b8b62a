"""Convolutions, batch normalisation and ReLU by their own second derivative: torch's, exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cases import generator
from torch import Tensor, nn

from landscape import Objective
from landscape.autograd import double_backward
from landscape.autograd.double_backward import BilinearLayers
from landscape.curvature import GaussNewton


def draw(*shape: int, seed: int = 0) -> Tensor:
    values = torch.randn(shape, generator=generator(seed), dtype=torch.float64)
    return values.requires_grad_()


def normalise(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    statistics = torch.tensor([1.0, -2.0]).double(), torch.tensor([0.5, 3.0]).double()
    return nn.functional.batch_norm(x, *statistics, w, b, eps=0.1)


CASES: dict[str, tuple[Callable[..., Tensor], tuple[int, ...], tuple[int, ...]]] = {
    "1d": (lambda x, w, b: torch.conv1d(x, w, b, padding=1), (2, 2, 5), (2, 2, 3)),
    "2d": (nn.functional.conv2d, (2, 2, 4, 5), (2, 2, 3, 2)),
    "stride": (
        lambda x, w, b: torch.conv2d(x, w, b, 2, (1, 0)),
        (2, 3, 5, 4),
        (2, 3, 3, 3),
    ),
    "groups": (
        lambda x, w, b: torch.conv2d(x, w, bias=b, dilation=2, groups=2),
        (2, 4, 5, 5),
        (2, 2, 2, 2),
    ),
    "3d": (lambda x, w, b: torch.conv3d(x, w, b, padding=[1]), (1, 1, 2, 2, 2), (2, 1, 2, 2, 2)),
    "batch norm": (normalise, (3, 2, 2, 2), (2,)),
    "batch norm of vectors": (normalise, (4, 2), (2,)),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_first_and_second_derivatives_are_those_of_finite_differences(
    case: str, bias: bool
) -> None:
    layer, x_shape, w_shape = CASES[case]
    arguments = [draw(*x_shape), draw(*w_shape, seed=1)] + [draw(2, seed=2)] * bias

    def ours(*values: Tensor) -> Tensor:
        with BilinearLayers():
            return layer(*values, *[None] * (3 - len(values)))

    output = ours(*arguments)
    assert type(output.grad_fn).__name__ == "_ForwardBackward"
    torch.testing.assert_close(output, layer(*arguments, *[None] * (not bias)))
    assert torch.autograd.gradcheck(ours, arguments)
    assert torch.autograd.gradgradcheck(ours, arguments)


class Network(nn.Module):
    """A convolution, statistics and a residual branch, in float64 and smooth."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Conv2d(1, 3, 3, padding=1)
            self.norm = nn.BatchNorm2d(3)
            self.second = nn.Conv2d(3, 3, 3, padding=1, bias=False)
            self.head = nn.Linear(3, 3)
        self.norm.running_mean.uniform_(-1, 1, generator=generator())
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).tanh()
        return self.head((x + self.second(x).tanh()).mean((2, 3)))


def batches() -> list[tuple[Tensor, Tensor]]:
    x = torch.randn(6, 1, 4, 4, generator=generator(), dtype=torch.float64)
    return [(x[:4], torch.tensor([0, 1, 2, 0])), (x[4:], torch.tensor([1, 1]))]


@pytest.mark.parametrize(
    "random",
    [
        None,
        ["first.bias"],
        ["first.weight"],
        ["norm.bias"],
        ["norm.weight"],
        ["second.weight"],
        ["head.bias"],
    ],
)
def test_products_are_those_of_torch_whichever_parameters_are_random(
    random: list[str] | None,
) -> None:
    objective = Objective(Network(), batches(), parameters=random)
    w = objective.space.vector()
    v = torch.randn(w.shape, generator=generator(5), dtype=w.dtype)
    x, y = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    leaf = w.clone().requires_grad_()
    loss = nn.functional.cross_entropy(objective.space.call(leaf, x), y)
    (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
    (truth,) = torch.autograd.grad(gradient, leaf, v)
    operator = objective.hessian(w)
    for _ in range(2):
        torch.testing.assert_close(operator(v), truth)
    jacobian = torch.autograd.functional.jacobian(lambda at: objective.space.call(at, x), w)
    p = objective.space.call(w, x).softmax(1)
    centre = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    expected = torch.einsum("nap,nab,nbq,q->p", jacobian, centre, jacobian, v) / len(x)
    torch.testing.assert_close(GaussNewton(objective, w)(v), expected)


def test_what_is_kept_does_not_see_the_modules_statistics_change() -> None:
    objective = Objective(Network(), batches())
    operator = objective.hessian(objective.space.vector())
    v = torch.ones(objective.size, dtype=torch.float64)
    before = operator(v)
    objective.space.module.norm.running_var.mul_(5)
    torch.testing.assert_close(operator(v), before)


def test_what_is_unusual_is_left_to_torch() -> None:
    x, w = torch.randn(2, 1, 4, 4), torch.ones(2, 1, 3, 3, requires_grad=True)
    norm = nn.BatchNorm2d(1)
    with BilinearLayers():
        with torch.autocast("cpu", torch.bfloat16):
            lower = torch.conv2d(x, w)
        others = [
            torch.conv2d(x, w, padding="same"),
            torch.conv2d(x[0], w),
            torch.vmap(lambda one: torch.conv2d(one[None], w)[0])(x),
            norm(x),
        ]
    assert lower.dtype == torch.bfloat16
    for output in [lower, *others]:
        assert "_ForwardBackward" not in type(output.grad_fn).__name__


@pytest.mark.parametrize("inplace", [True, False])
def test_large_relus_make_no_zeros(inplace: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(double_backward, "_LARGE", 6)
    x = draw(2, 3)

    def ours(x: Tensor) -> Tensor:
        y = x.sin()
        with BilinearLayers():
            z = nn.functional.relu(y, inplace=inplace)
        assert (z is y) == inplace
        return z * y

    assert "ReLU" in type(ours(x).grad_fn.next_functions[0][0]).__name__
    assert torch.autograd.gradcheck(ours, x)
    assert torch.autograd.gradgradcheck(ours, x)
    with BilinearLayers():
        small, view = x[0].sin(), x.sin()
        assert type(small.relu().grad_fn).__name__ == "ReluBackward0"
        nn.functional.relu(view[0:2], inplace=True)  # of a view: torch's, which changes it, too
        assert torch.equal(view, x.sin().relu())
        zero = torch.zeros(6, requires_grad=True)
        for of in (torch.relu, Tensor.relu):
            (gradient,) = torch.autograd.grad(of(zero).sum(), zero)
            assert type(of(zero).grad_fn).__name__ == "_ReLUBackward"
            assert not gradient.any()
