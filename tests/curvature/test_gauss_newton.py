"""Matvecs of the Gauss-Newton matrix and the empirical Fisher against dense matrices."""

import pytest
import torch
from cases import classification, columns, dense_hessian, joined, mlp, shuffled, squared_error
from torch import Tensor, nn
from torch.func import jacrev

from landscape.curvature import EmpiricalFisher, GaussNewton
from landscape.errors import InputError
from landscape.models import build
from landscape.objective.objective import Objective


def real(batches: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    return [(x, y.double()) for x, y in batches]


def convnet() -> Objective:
    model = build("convnet", input_shape=(1, 4, 4), classes=3, width=2).double()
    return Objective(model, [(x.view(-1, 1, 4, 4), y) for x, y in classification(features=16)])


OBJECTIVES = {
    "cross-entropy": lambda: Objective(mlp(), classification()),
    "its mean": lambda: Objective(mlp(), classification(), nn.CrossEntropyLoss()),
    "squares": lambda: Objective(mlp(classes=1), real(classification()), squared_error),
    "one example": lambda: Objective(mlp(), classification(examples=1)),
    "some parameters": lambda: Objective(
        mlp(), classification(), parameters=["0.weight", "2.bias"]
    ),
    "convnet": convnet,
    "weight norm": lambda: Objective(
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3).double())),
        classification(),
    ),
}


def dense(objective: Objective, w: Tensor, matrix: type[GaussNewton]) -> Tensor:
    """Example by example, all Jacobians and centres written out."""
    x, y = joined(list(objective.batches))
    total = torch.zeros(len(w), len(w), dtype=w.dtype)
    for index in range(len(y)):
        inputs, target = x[index : index + 1], y[index : index + 1]
        jacobian = jacrev(lambda v, x=inputs: objective.space.call(v, x)[0])(w)
        outputs = objective.space.call(w, inputs)[0]
        loss = lambda f, t=target: objective.criterion(f[None], t)[0]  # noqa: E731
        if matrix is GaussNewton:
            total += jacobian.T @ torch.func.hessian(loss)(outputs) @ jacobian
        else:
            gradient = torch.func.grad(loss)(outputs) @ jacobian
            total += torch.outer(gradient, gradient)
    return total / len(y)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of the dense one
@pytest.mark.parametrize("matrix", [GaussNewton, EmpiricalFisher])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_products_are_those_of_the_dense_matrix(name: str, matrix: type[GaussNewton]) -> None:
    objective = OBJECTIVES[name]()
    w = objective.space.vector()
    found = columns(matrix(objective, w), len(w))
    torch.testing.assert_close(found, dense(objective, w, matrix), rtol=1e-9, atol=1e-12)


def test_softmax_regression_has_its_hessian_for_a_gauss_newton_matrix() -> None:
    objective = Objective(nn.Linear(4, 3).double(), classification())
    w = objective.space.vector()
    torch.testing.assert_close(columns(GaussNewton(objective, w), 15), dense_hessian(objective, w))


def test_memory_decides_what_is_kept_and_not_what_is_found() -> None:
    data = shuffled(classification())
    w = Objective(mlp(), data).space.vector()
    v = torch.linspace(-1, 1, len(w), dtype=torch.float64)
    kept, fresh = (GaussNewton(Objective(mlp(), data), w, memory=m) for m in (1 << 20, 3000))
    for _ in range(2):
        torch.testing.assert_close(kept(v), fresh(v))
    assert kept._graphs is not None
    assert fresh._graphs is None


def test_a_loss_that_is_linear_in_the_outputs_has_no_gauss_newton_matrix() -> None:
    linear = Objective(nn.Linear(4, 1).double(), classification(), lambda out, _: out[:, 0])
    w = linear.space.vector()
    assert float(GaussNewton(linear, w)(w).norm()) == 0
    assert float(EmpiricalFisher(linear, w)(w).norm()) > 0


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3).double()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x), x


def test_outputs_of_another_form_are_refused() -> None:
    pair = Objective(
        Pair(), classification(), lambda out, y: nn.functional.cross_entropy(out[0], y)
    )
    total = Objective(nn.Linear(4, 3).double(), classification(), lambda out, y: out / len(y))
    total.space.module.register_forward_hook(lambda module, args, out: out.sum())
    for objective in (pair, total):
        with pytest.raises(InputError, match="first axis is the example"):
            GaussNewton(objective, objective.space.vector())(objective.space.vector())
    with pytest.raises(InputError, match="no batch"):
        GaussNewton(Objective(mlp(), []), torch.zeros(43).double())(torch.zeros(43))
