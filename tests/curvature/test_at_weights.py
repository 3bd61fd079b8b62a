"""Curvature of networks against dense matrices, by both backends."""

import math
import warnings

import pyhessian
import pytest
import torch
from cases import Quadratic, classification, columns, dense_hessian, joined, mlp, quadratic
from torch import Tensor, nn

from landscape.curvature import (
    MATRICES,
    diagonal,
    spectral_density,
    squared_frobenius,
    top_eigenvalues,
    trace,
)
from landscape.curvature.at_weights import Backend
from landscape.curvature.matrices import Matrix, operator_at
from landscape.errors import InputError, LandscapeError, LandscapeWarning, NotFiniteError
from landscape.models import build
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace


def convnet() -> Objective:
    model = build("convnet", input_shape=(1, 4, 4), classes=3, width=2).double()
    batches = [(x.view(-1, 1, 4, 4), y) for x, y in classification(features=16)]
    return Objective(model, batches)


OBJECTIVES = {
    "tanh": lambda: Objective(mlp(), classification()),
    "convnet": convnet,
    "one example": lambda: Objective(mlp(), classification(examples=1)),
    "some parameters": lambda: Objective(
        mlp(), classification(), parameters=["0.weight", "2.bias"]
    ),
}
each = pytest.mark.parametrize("name", OBJECTIVES)


@each
def test_lanczos_finds_the_ends_of_the_dense_spectrum(name: str) -> None:
    objective = OBJECTIVES[name]()
    w = objective.space.vector()
    truth = torch.linalg.eigvalsh(dense_hessian(objective, w))
    by_size = truth[truth.abs().argsort(descending=True)]
    for which, expected in (
        ("largest", truth.flip(0)[:5]),
        ("smallest", truth[:5]),
        ("magnitude", by_size[:5]),
    ):
        found = top_eigenvalues(objective, w, 5, which=which, tolerance=1e-8)
        torch.testing.assert_close(found.values, expected, rtol=1e-7, atol=1e-9)
        images = torch.stack([objective.hessian_product(w, v) for v in found.vectors])
        residuals = (images - found.values[:, None] * found.vectors).norm(dim=1)
        torch.testing.assert_close(found.residuals, residuals, rtol=0.1, atol=1e-9)


def test_eigenvectors_are_those_of_the_dense_hessian() -> None:
    objective = OBJECTIVES["tanh"]()
    w = objective.space.vector()
    truth = torch.linalg.eigh(dense_hessian(objective, w)).eigenvectors.flip(1)[:, :3]
    found = top_eigenvalues(objective, w, 3, tolerance=1e-9).vectors
    torch.testing.assert_close((found @ truth).abs(), torch.eye(3, dtype=torch.float64))


def test_single_precision_is_enough_for_the_default_tolerance() -> None:
    double = OBJECTIVES["tanh"]()
    w = double.space.vector()
    single = Objective(mlp().float(), classification())
    truth = torch.linalg.eigvalsh(dense_hessian(double, w)).flip(0)[:5]
    found = top_eigenvalues(single, w.float(), 5)
    torch.testing.assert_close(found.values, truth, rtol=1e-3, atol=0)
    theirs = top_eigenvalues(single, w.float(), 1, max_matvecs=500, backend="pyhessian")
    torch.testing.assert_close(theirs.values, truth[:1], rtol=1e-2, atol=0)
    assert trace(single, w.float(), matvecs=43).value == pytest.approx(
        trace(double, w, matvecs=43).value, rel=1e-5
    )


@pytest.mark.parametrize("backend", ["lanczos", "pyhessian"])
def test_a_budget_too_small_is_kept_and_said(backend: Backend) -> None:
    objective = OBJECTIVES["tanh"]()
    w = objective.space.vector()
    found = top_eigenvalues(objective, w, 3, tolerance=1e-9, max_matvecs=6, backend=backend)
    assert found.matvecs <= 6 + 1  # PyHessian reads the data once more than it multiplies
    assert not found.converged.any()
    assert bool((found.values.diff() <= 0).all())
    images = torch.stack([objective.hessian_product(w, v) for v in found.vectors])
    residuals = (images - found.values[:, None] * found.vectors).norm(dim=1)
    torch.testing.assert_close(found.residuals, residuals)


@each
def test_the_trace_is_that_of_the_dense_hessian(name: str) -> None:
    objective = OBJECTIVES[name]()
    w = objective.space.vector()
    truth = float(dense_hessian(objective, w).trace())
    exact = trace(objective, w, matvecs=objective.size)
    assert exact.value == pytest.approx(truth)
    assert exact.standard_error == 0
    top = top_eigenvalues(objective, w, 5)
    estimate = trace(objective, w, matvecs=15, deflate=top)
    assert abs(estimate.value - truth) <= 4 * estimate.standard_error


@each
def test_pyhessian_agrees_where_it_can(name: str) -> None:
    objective = OBJECTIVES[name]()
    w = objective.space.vector()
    truth = torch.linalg.eigvalsh(dense_hessian(objective, w)).flip(0)
    found = top_eigenvalues(objective, w, 1, tolerance=1e-9, max_matvecs=2000, backend="pyhessian")
    torch.testing.assert_close(found.values, truth[:1], rtol=1e-4, atol=0)
    image = objective.hessian_product(w, found.vectors[0])
    residual = (image - found.values[0] * found.vectors[0]).norm()
    torch.testing.assert_close(found.residuals[0], residual)
    estimate = trace(objective, w, matvecs=60, backend="pyhessian")
    assert estimate.matvecs == 60
    assert abs(estimate.value - float(truth.sum())) <= 4 * estimate.standard_error


@each
def test_trace_diagonal_and_norm_are_those_of_the_dense_hessian(name: str) -> None:
    objective = OBJECTIVES[name]()
    w = objective.space.vector()
    dense = dense_hessian(objective, w)
    for estimator in ("hutchinson", "hutch++"):
        found = trace(objective, w, matvecs=20, estimator=estimator)
        assert abs(found.value - float(dense.trace())) <= 5 * found.standard_error
    exact = squared_frobenius(objective, w, matvecs=objective.size)
    assert exact.value == pytest.approx(float((dense**2).sum()))
    found = squared_frobenius(objective, w, tolerance=0.2, matvecs=30)
    assert abs(found.value - exact.value) <= 5 * found.standard_error
    entries = diagonal(objective, w, matvecs=objective.size).values
    torch.testing.assert_close(entries, dense.diag())
    rough = diagonal(objective, w, matvecs=20, seed=1)
    assert float(((rough.values - entries).abs() - 7 * rough.standard_errors).max()) <= 1e-9


@pytest.mark.parametrize("matrix", MATRICES)
def test_every_measure_is_of_the_matrix_asked_for(matrix: Matrix) -> None:
    objective = OBJECTIVES["tanh"]()
    w = objective.space.vector()
    dense = columns(operator_at(objective, w, matrix), objective.size)
    truth = torch.linalg.eigvalsh(dense).flip(0)
    top = top_eigenvalues(objective, w, 3, matrix=matrix, tolerance=1e-8)
    torch.testing.assert_close(top.values, truth[:3])
    everything = {"matrix": matrix, "matvecs": objective.size}
    assert trace(objective, w, **everything).value == pytest.approx(float(truth.sum()))
    assert squared_frobenius(objective, w, **everything).value == pytest.approx(
        float((truth**2).sum())
    )
    torch.testing.assert_close(diagonal(objective, w, **everything).values, dense.diag())
    density = spectral_density(objective, w, matrix=matrix, probes=2, steps=43)
    assert float(density.quadrature.nodes.max()) == pytest.approx(float(truth[0]), rel=1e-6)
    found = [trace(objective, w, matrix=m, matvecs=43).value for m in MATRICES if m != matrix]
    assert float(truth.sum()) not in [pytest.approx(value, rel=1e-3) for value in found]


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
    theirs = top_eigenvalues(given, w, 1, tolerance=1e-9, max_matvecs=1000, backend="pyhessian")
    torch.testing.assert_close(theirs.values, ours.values, rtol=1e-4, atol=0)
    assert float(top_eigenvalues(objective, w, 1).values[0]) != pytest.approx(float(ours.values[0]))


def test_pyhessian_leaves_the_global_generator_alone_and_refuses_what_it_cannot() -> None:
    objective = OBJECTIVES["tanh"]()
    w = objective.space.vector()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, again = (trace(objective, w, matvecs=3, seed=4, backend="pyhessian") for _ in range(2))
    assert first == again
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(InputError, match="smallest"):
        top_eigenvalues(objective, w, 1, which="smallest", backend="pyhessian")
    with pytest.raises(InputError, match="which is one of largest"):
        top_eigenvalues(objective, w, 1, which="top", backend="pyhessian")  # type: ignore[arg-type]
    by_size = top_eigenvalues(objective, w, 4, which="magnitude", backend="pyhessian").values.abs()
    assert by_size.tolist() == sorted(by_size.tolist(), reverse=True)
    top = top_eigenvalues(objective, w, 1)
    for settings in ({"estimator": "hutch++"}, {"tolerance": 0.1}, {"deflate": top}):
        with pytest.raises(InputError, match="only Hutchinson's estimator with fixed matvecs"):
            trace(objective, w, backend="pyhessian", **settings)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="PyHessian has only the Hessian"):
        trace(objective, w, matrix="gauss-newton", backend="pyhessian")
    with pytest.raises(InputError, match="unknown matrix 'kfac'; known: hessian, gauss-newton"):
        top_eigenvalues(objective, w, matrix="kfac")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown estimator 'xtrace'; known: krylov, hutch"):
        trace(objective, w, estimator="xtrace")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown backend 'numpy'"):
        trace(objective, w, backend="numpy")  # type: ignore[arg-type]
    named = Objective(nn.Linear(4, 3).double(), [({"input": x}, y) for x, y in classification()])
    with pytest.raises(InputError, match="one tensor of inputs"):
        top_eigenvalues(named, named.space.vector(), 1, backend="pyhessian")
    flat = Objective(nn.Linear(4, 1).double(), classification(), lambda out, _: out[:, 0])
    with pytest.raises(LandscapeError, match=r"PyHessian failed .*; use backend='lanczos'"):
        top_eigenvalues(flat, flat.space.vector(), 1, backend="pyhessian")
    for budget in (-5, 0, 1):
        with pytest.raises(InputError, match=f"max_matvecs must be at least k = 2, not {budget}"):
            top_eigenvalues(objective, w, 2, max_matvecs=budget, backend="pyhessian")


def test_pyhessian_refuses_a_network_of_which_a_layer_has_no_part_in_the_loss() -> None:
    model = nn.Linear(4, 3).double()
    model.register_parameter("idle", nn.Parameter(torch.ones(2).double()))
    objective = Objective(model, classification())
    with (
        pytest.warns(LandscapeWarning, match="no gradient reaches these parameters, .*: idle"),
        pytest.raises(InputError, match="a loss that depends on every inferred parameter"),
    ):
        top_eigenvalues(objective, objective.space.vector(), 2, backend="pyhessian")


@pytest.mark.parametrize("backend", ["lanczos", "pyhessian"])
def test_bad_requests_are_refused_by_both_backends(backend: Backend) -> None:
    objective, w = OBJECTIVES["tanh"](), ParameterSpace(mlp()).vector()
    for k, tolerance, message in ((0, 1e-3, "k must"), (44, 1e-3, "k must"), (1, 0.0, "tolerance")):
        with pytest.raises(InputError, match=message):
            top_eigenvalues(objective, w, k, tolerance=tolerance, backend=backend)
    with pytest.raises(InputError, match="at least 2 matvecs"):
        trace(objective, w, matvecs=1, backend=backend)
    for function in (top_eigenvalues, trace):
        with pytest.raises(InputError, match="no batch"):
            function(Objective(mlp(), []), w, backend=backend)
        with pytest.raises(LandscapeError, match="the weights hold NaN"):
            function(objective, w * torch.nan, backend=backend)


def test_a_trace_that_stops_when_its_mean_stands_still_is_biased_and_ours_does_not() -> None:
    # v^T 1 1^T v is 1 three times in four and 9 once: two ones in a row end PyHessian's own rule.
    objective = quadratic(torch.ones(3, 3, dtype=torch.float64))
    w = torch.zeros(3, dtype=torch.float64)

    def stopped(seed: int) -> list[float]:
        torch.manual_seed(seed)
        module, data = Quadratic(torch.ones(3, 3).double()), (torch.zeros(1, 1), torch.zeros(1))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Using backward.. with create_graph=True")
            raw = pyhessian.hessian(module, lambda out, _: out.mean(), data=data, cuda=False)
        return raw.trace(maxIter=20)  # type: ignore[no-any-return]

    with torch.random.fork_rng():
        early = torch.tensor([sum(found) / len(found) for found in map(stopped, range(250))])
    fixed = [trace(objective, w, matvecs=20, seed=s, backend="pyhessian") for s in range(40)]
    values = torch.tensor([found.value for found in fixed])
    assert {found.matvecs for found in fixed} == {20}
    assert float(early.mean() + 4 * early.std() / 250**0.5) < 3
    assert float((values.mean() - 3).abs()) < 4 * float(values.std()) / 40**0.5


def test_a_product_that_is_not_finite_says_why() -> None:
    x, y = joined(classification())
    hole = x.clone()
    hole[3, 1] = math.nan
    real = torch.randn(len(x), 3, dtype=torch.float64)
    missing = real.clone()
    missing[2, 0] = math.nan

    def masked(outputs: Tensor, targets: Tensor) -> Tensor:
        squares = (outputs.tanh() - targets).abs().sqrt()
        return torch.where(targets.isnan(), 0.0, squares).sum(1)

    def rooted(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs * (targets > 9)).square().sum(1).sqrt() + outputs[:, 0]

    def risen(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets, reduction="none").exp().exp()

    w = ParameterSpace(mlp()).vector()
    for data, loss, at, reason in (
        ((hole, y), "cross_entropy", w, "the loss is nan: batch 1 holds NaN"),
        ((x, missing), "gaussian", w, "the loss is nan: batch 1 holds NaN"),
        ((x, missing), masked, w, "a mask in the loss keeps out of its value but not of its deriv"),
        ((x, real), rooted, w, "its gradient is not finite: a root, a norm or a division"),
        ((x, y), risen, 100 * w, "the loss is inf at these weights"),
        ((x, y), "cross_entropy", w * math.nan, "the weights hold NaN or infinity"),
    ):
        objective = Objective(mlp(), [data], loss)
        with pytest.raises(NotFiniteError, match=reason):
            trace(objective, at)
