"""Curvature of networks against dense matrices, by both backends."""

import pytest
import torch
from cases import classification, dense_hessian, mlp
from torch import nn

from landscape.curvature import top_eigenvalues, trace
from landscape.errors import InputError
from landscape.models import build
from landscape.objective import Objective


def convnet() -> Objective:
    model = build("convnet", input_shape=(1, 4, 4), classes=3, width=2).double()
    batches = [(x.view(-1, 1, 4, 4), y) for x, y in classification(features=16)]
    return Objective(model, batches)


OBJECTIVES = {
    "tanh": lambda: Objective(mlp(), classification()),
    "convnet": convnet,
    "one example": lambda: Objective(mlp(), classification(examples=1)),
    "some parameters": lambda: Objective(mlp(), classification(), random=["0.weight", "2.bias"]),
}
each = pytest.mark.parametrize("name", OBJECTIVES)


@each
def test_lanczos_finds_the_ends_of_the_dense_spectrum(name: str) -> None:
    objective = OBJECTIVES[name]()
    w = objective.space.vector()
    truth = torch.linalg.eigvalsh(dense_hessian(objective, w))
    for which, expected in (("largest", truth.flip(0)[:5]), ("smallest", truth[:5])):
        found = top_eigenvalues(objective, w, 5, which=which, tolerance=1e-8)
        torch.testing.assert_close(found.values, expected, rtol=1e-7, atol=1e-9)
        images = torch.stack([objective.hessian_product(w, v) for v in found.vectors])
        residuals = (images - found.values[:, None] * found.vectors).norm(dim=1)
        torch.testing.assert_close(found.residuals, residuals, rtol=0.1, atol=1e-9)


@each
def test_the_trace_is_that_of_the_dense_hessian(name: str) -> None:
    objective = OBJECTIVES[name]()
    w = objective.space.vector()
    truth = float(dense_hessian(objective, w).trace())
    exact = trace(objective, w, products=objective.size)
    assert exact.value == pytest.approx(truth)
    assert exact.standard_error == 0
    top = top_eigenvalues(objective, w, 5)
    estimate = trace(objective, w, products=15, deflate=top)
    assert abs(estimate.value - truth) <= 4 * estimate.standard_error


@each
def test_pyhessian_agrees_where_it_can(name: str) -> None:
    objective = OBJECTIVES[name]()
    w = objective.space.vector()
    truth = torch.linalg.eigvalsh(dense_hessian(objective, w)).flip(0)
    found = top_eigenvalues(objective, w, 1, tolerance=1e-9, max_products=2000, backend="pyhessian")
    torch.testing.assert_close(found.values, truth[:1], rtol=1e-4, atol=0)
    image = objective.hessian_product(w, found.vectors[0])
    residual = (image - found.values[0] * found.vectors[0]).norm()
    torch.testing.assert_close(found.residuals[0], residual)
    estimate = trace(objective, w, products=60, backend="pyhessian")
    assert estimate.products == 60
    assert abs(estimate.value - float(truth.sum())) <= 4 * estimate.standard_error


def test_a_scaled_loss_scales_everything() -> None:
    base = Objective(mlp(), classification())
    scaled = Objective(
        mlp(),
        classification(),
        lambda out, y: 3 * nn.functional.cross_entropy(out, y, reduction="none"),
    )
    w = base.space.vector()
    one, three = (top_eigenvalues(objective, w, 3) for objective in (base, scaled))
    torch.testing.assert_close(three.values, 3 * one.values)
    assert trace(scaled, w).value == pytest.approx(3 * trace(base, w).value)
    assert trace(scaled, w).standard_error == pytest.approx(3 * trace(base, w).standard_error)


def test_rescaling_relu_layers_changes_the_curvature_and_not_the_function() -> None:
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False))
    objective = Objective(model.double(), classification())
    w = objective.space.vector()
    parts = objective.space.unflatten(w)
    other = objective.space.flatten(
        {"0.weight": 4 * parts["0.weight"], "2.weight": parts["2.weight"] / 4}
    )
    torch.testing.assert_close(objective.loss(other), objective.loss(w))
    before, after = (float(top_eigenvalues(objective, v, 1).values[0]) for v in (w, other))
    assert after > 2 * before


def test_batch_size_and_order_change_nothing() -> None:
    w = Objective(mlp(), classification()).space.vector()
    found = [
        top_eigenvalues(Objective(mlp(), batches), w, 4, tolerance=1e-8).values
        for batches in (
            classification(batch=7),
            classification(batch=23),
            classification(batch=2)[::-1],
        )
    ]
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


def test_running_statistics_given_are_the_ones_used_by_both_backends() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).double()
    objective = Objective(model, classification())
    w = objective.space.vector()
    buffers = {name: value + 1 for name, value in objective.space.buffers().items()}
    given = objective.with_buffers(buffers)
    ours = top_eigenvalues(given, w, 1, tolerance=1e-8)
    theirs = top_eigenvalues(given, w, 1, tolerance=1e-9, max_products=1000, backend="pyhessian")
    torch.testing.assert_close(theirs.values, ours.values, rtol=1e-4, atol=0)
    assert float(top_eigenvalues(objective, w, 1).values[0]) != pytest.approx(float(ours.values[0]))


def test_pyhessian_leaves_the_global_generator_alone_and_refuses_what_it_cannot() -> None:
    objective = OBJECTIVES["tanh"]()
    w = objective.space.vector()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, again = (trace(objective, w, products=3, seed=4, backend="pyhessian") for _ in range(2))
    assert first == again
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(InputError, match="smallest"):
        top_eigenvalues(objective, w, 1, which="smallest", backend="pyhessian")
    with pytest.raises(InputError, match="unknown backend 'numpy'"):
        trace(objective, w, backend="numpy")  # type: ignore[arg-type]
    named = Objective(nn.Linear(4, 3).double(), [({"input": x}, y) for x, y in classification()])
    with pytest.raises(InputError, match="one tensor of inputs"):
        top_eigenvalues(named, named.space.vector(), 1, backend="pyhessian")
