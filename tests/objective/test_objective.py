"""The objective's loss, gradient and Hessian against formulas and dense derivatives."""

from collections.abc import Callable, Iterable

import pytest
import torch
from cases import (
    Noisy,
    Once,
    classification,
    columns,
    dense_hessian,
    generator,
    joined,
    mlp,
    quadratic,
    shuffled,
    squared_error,
    symmetric,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from landscape.curvature import EmpiricalFisher, GaussNewton, Hessian, by_block, top_eigenvalues
from landscape.errors import InputError, LandscapeWarning
from landscape.objective.batches import Batch
from landscape.objective.objective import Objective
from landscape.objective.operators.graphs import GraphOperator
from landscape.objective.parameters import ParameterSpace


def test_the_hessian_of_softmax_regression_is_its_formula() -> None:
    batches = classification()
    x, _ = joined(batches)
    objective = Objective(nn.Linear(4, 3, bias=False).double(), batches)
    w = torch.randn(12, dtype=torch.float64)
    p = torch.softmax(x @ w.view(3, 4).T, 1)
    covariance = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    truth = torch.einsum("nab,ni,nj->aibj", covariance, x, x).reshape(12, 12) / len(x)
    torch.testing.assert_close(columns(objective.hessian(w), 12), truth)


def test_the_hessian_of_linear_regression_is_its_formula() -> None:
    batches = [(x, y.double()) for x, y in classification()]
    x, _ = joined(batches)
    objective = Objective(nn.Linear(4, 1, bias=False).double(), batches, squared_error)
    for w in (torch.zeros(4).double(), torch.ones(4).double()):
        torch.testing.assert_close(columns(objective.hessian(w), 4), x.T @ x / len(x))


def test_the_hessian_of_a_quadratic_is_its_matrix() -> None:
    matrix = symmetric(torch.tensor([3.0, 1.0, 0.0, -2.0], dtype=torch.float64))
    objective = quadratic(matrix)
    w = torch.randn(4, dtype=torch.float64)
    torch.testing.assert_close(columns(objective.hessian(w), 4), matrix)
    torch.testing.assert_close(objective.gradient(w), matrix @ w)
    torch.testing.assert_close(objective.loss(w), 0.5 * w @ matrix @ w)


@pytest.mark.parametrize("memory", [0, 3000, 1 << 30])  # of about 4,400 bytes in all
def test_products_are_the_dense_hessian_however_much_is_kept(memory: int) -> None:
    objective = Objective(mlp(), classification())
    w = objective.space.vector()
    operator = objective.hessian(w, memory=memory)
    truth = dense_hessian(objective, w)
    for _ in range(2):  # the second time from what was kept
        torch.testing.assert_close(columns(operator, objective.size), truth)
    v = torch.randn_like(w)
    torch.testing.assert_close(objective.hessian_product(w, v), truth @ v)


@pytest.mark.parametrize("memory", [0, 2000, 3000, 1 << 30])
def test_a_shuffled_loader_gives_the_products_of_the_whole_data(memory: int) -> None:
    objective = Objective(mlp(), shuffled(classification()))
    w = objective.space.vector()
    v = torch.randn(w.shape, generator=generator(4), dtype=w.dtype)
    operator = objective.hessian(w, memory=memory)
    truth = dense_hessian(objective, w) @ v
    for _ in range(4):
        torch.testing.assert_close(operator(v), truth)
    whole = Objective(mlp(), classification())
    torch.testing.assert_close(objective.gradient(w), whole.gradient(w))
    torch.testing.assert_close(objective.loss(w), whole.loss(w))


@pytest.mark.parametrize("matrix", [Hessian, GaussNewton, EmpiricalFisher])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_that_change_from_pass_to_pass_are_refused(
    matrix: type[GraphOperator], dtype: torch.dtype
) -> None:
    data = [(x.to(dtype), y) for x, y in classification()]
    x, y = joined(data)
    other_examples = DataLoader(TensorDataset(x, y), batch_size=7, shuffle=True, drop_last=True)

    def product(batches: Iterable[Batch], network: nn.Module) -> Callable[[Tensor], Tensor]:
        objective = Objective(network.to(dtype), batches)
        return matrix(objective, memory=0)

    v = torch.ones(Objective(mlp(), data).size, dtype=dtype)
    for batches in (Noisy(data), other_examples):
        operator = product(batches, mlp())
        operator(v)
        with pytest.raises(InputError, match="two passes over the data give different losses"):
            operator(v)
    certain = mlp()
    with torch.no_grad():  # its losses are of the size of their rounding errors
        certain[-1].bias[0] += 30
    zeros = [(x, torch.zeros_like(y)) for x, y in data]
    for batches, network in ((shuffled(data), mlp()), (shuffled(zeros), certain)):
        operator = product(batches, network)
        for _ in range(5):
            operator(v)


def test_graphs_are_kept_if_they_fit_and_recomputed_if_not() -> None:
    for memory, passes in ((1 << 30, 1), (3000, 3), (0, 3)):
        batches = Once(classification())
        objective = Objective(mlp(), batches)
        operator = objective.hessian(objective.space.vector(), memory=memory)
        for _ in range(3):
            operator(objective.space.vector())
        assert (batches.passes, operator.matvecs) == (passes, 3)


@pytest.mark.parametrize("batch", [1, 5, 7, 22, 23])
def test_batches_count_by_their_examples(batch: int) -> None:
    whole = Objective(mlp(), classification(batch=23))
    parts = Objective(mlp(), classification(batch=batch)[::-1])
    w, v = whole.space.vector(), torch.randn(whole.size, dtype=torch.float64)
    torch.testing.assert_close(parts.loss(w), whole.loss(w))
    torch.testing.assert_close(parts.gradient(w), whole.gradient(w))
    torch.testing.assert_close(parts.hessian_product(w, v), whole.hessian_product(w, v))
    assert parts.evaluate(w).accuracy == pytest.approx(whole.evaluate(w).accuracy)


def test_a_loss_linear_in_the_weights_has_no_curvature() -> None:
    objective = Objective(
        nn.Linear(4, 1).double(), classification(), lambda outputs, _: outputs[:, 0]
    )
    w = objective.space.vector()
    assert float(objective.hessian(w)(torch.ones_like(w)).norm()) == 0


def test_inputs_may_be_tuples_dicts_or_not_contiguous() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3).double()

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.layer(left + right)

    x, y = joined(classification())
    strided = torch.empty(4, len(x), dtype=torch.float64).T.copy_(x)
    w = torch.randn(15, dtype=torch.float64)
    truth = Objective(nn.Linear(4, 3).double(), [(2 * x, y)]).gradient(w)
    for inputs in ((x, x), [x, x], {"right": x, "left": x}, (strided, strided)):
        torch.testing.assert_close(Objective(Sum(), [(inputs, y)]).gradient(w), truth)


def test_evaluation_mode_is_used_and_running_statistics_are_not_touched() -> None:
    model = nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.9), nn.Linear(5, 3)
    ).double()
    objective = Objective(model, classification())
    w = objective.space.vector()
    before = objective.space.buffers()
    losses = {float(objective.loss(w)) for _ in range(3)}
    objective.hessian_product(w, w)
    assert len(losses) == 1
    for name, value in objective.space.buffers().items():
        assert torch.equal(value, before[name])
    model.eval()
    x, y = joined(classification())
    assert losses.pop() == pytest.approx(float(nn.functional.cross_entropy(model(x), y).detach()))


def test_the_users_model_is_left_alone() -> None:
    model = nn.Sequential(mlp(), nn.BatchNorm1d(3)).double().train()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    objective = Objective(model, classification())
    w = torch.ones(objective.size).double()
    objective.hessian_product(w, objective.gradient(w))
    objective.evaluate(w)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(bool((p.grad == 7).all()) and p.requires_grad for p in model.parameters())


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.encoder(x, src_key_padding_mask=mask).mean(1))
        return outputs


def test_the_loss_and_its_gradient_are_of_one_function_where_attention_is_masked() -> None:
    x, mask = torch.randn(12, 6, 4), torch.arange(6)[None] >= torch.randint(3, 6, (12, 1))
    objective = Objective(Padded().double(), [((x.double(), mask), torch.arange(12) % 2)])
    w = objective.space.vector()
    gradient = objective.gradient(w)
    step = 1e-5 * gradient / gradient.norm()
    slope = (objective.loss(w + step) - objective.loss(w - step)) / 2e-5
    torch.testing.assert_close(slope, gradient.norm(), rtol=1e-6, atol=0)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_callers_autocast_changes_nothing() -> None:
    objective = Objective(mlp().float(), classification())
    w = objective.space.vector()

    def everything() -> list[Tensor]:
        top = top_eigenvalues(objective, w, 2)
        return [objective.loss(w), objective.gradient(w), top.values, top.vectors]

    apart = everything()
    with torch.autocast("cpu", torch.bfloat16):
        within = everything()
    for one, other in zip(apart, within, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


class Partly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.used(x)
        return outputs


def test_parameters_without_a_part_in_the_loss_have_no_curvature() -> None:
    objective = Objective(Partly().double(), classification())
    w = objective.space.vector()
    with pytest.warns(LandscapeWarning, match=r"unused\.weight, unused\.bias"):
        blocks = by_block(objective, w)
    assert float(blocks["unused"].top.values[0]) == 0
    assert float(blocks["used"].top.values[0]) > 0


def test_weights_and_vectors_that_do_not_fit_are_one_line() -> None:
    objective = Objective(mlp(), classification())
    w = objective.space.vector()
    for measure in (objective.loss, objective.gradient, lambda w: top_eigenvalues(objective, w, 1)):
        with pytest.raises(InputError, match=r"float32 for a network of torch.float64"):
            measure(w.float())
        with pytest.raises(InputError, match="a tensor, not a ndarray"):
            measure(w.numpy())
    for operator in (objective.hessian(w), GaussNewton(objective, w)):
        with pytest.raises(InputError, match="a vector to multiply has shape"):
            operator(w[:-1])


def test_nan_is_kept_and_is_no_right_answer() -> None:
    objective = Objective(mlp(), classification())
    found = objective.evaluate(torch.full((objective.size,), torch.nan).double())
    assert torch.tensor([found.loss, found.accuracy]).isnan().all()


def test_batches_that_cannot_be_read_twice_or_are_empty_are_refused() -> None:
    with pytest.raises(InputError, match="read only once"):
        Objective(mlp(), iter(classification()))
    with pytest.raises(InputError, match="batches is a NoneType; pass a list or a DataLoader"):
        Objective(mlp(), None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no batch"):
        Objective(mlp(), []).loss(ParameterSpace(mlp()).vector())
    assert Objective(mlp(), Once(classification())).loss(ParameterSpace(mlp()).vector()) > 0


def test_lower_precision_is_asked_for_and_its_error_known() -> None:
    batches = [(x.float(), y) for x, y in classification()]
    objective = Objective(mlp().float(), batches)
    w = objective.space.vector()
    v = torch.randn(w.shape, generator=generator())
    exact, lower = objective.hessian(w), objective.hessian(w, autocast=torch.bfloat16)
    assert lower.error is None
    error = float((lower(v) - exact(v)).norm() / exact(v).norm())
    assert (exact.error, lower.error) == (0.0, pytest.approx(error, rel=1e-4))
    assert 1e-4 < lower.error < 0.05
    assert lower(v).dtype == torch.float32
    assert lower.matvecs == 2


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_who_has_switched_gradients_off_gets_them(mode: Callable[[], object]) -> None:
    objective = Objective(mlp(), classification())
    w = objective.space.vector()
    truth = dense_hessian(objective, w)
    with mode():  # type: ignore[attr-defined]
        w = 1 * w
        torch.testing.assert_close(columns(objective.hessian(w), len(w)), truth)
        assert bool(objective.gradient(w).isfinite().all())


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"x": 1, "y": 2}, "targets must be a tensor .* not int"),
        ({"x": 1, "z": 2}, "a dict has its labels under one of .* this one has x, z"),
        ((torch.ones(2, 4), torch.zeros(2), torch.zeros(2)), "not a tuple of 3"),
        (torch.ones(2, 4), "not a Tensor"),
        ((torch.ones(2, 4).double(), [0, 1]), "targets must be a tensor .* not list"),
        ((torch.ones(2, 4).double(), torch.zeros(2).numpy()), "targets must be .* not ndarray"),
        ((torch.ones(4).double(), torch.tensor(0)), "single examples, not batches"),
    ],
)
def test_what_is_no_batch_is_refused(batch: object, message: str) -> None:
    objective = Objective(mlp(), [batch])  # type: ignore[list-item]
    with pytest.raises(InputError, match=message):
        objective.loss(objective.space.vector())


class OfPairs(nn.Module):
    """Takes two arguments, given as a tuple or by name."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left + right


@pytest.mark.parametrize(
    ("model", "inputs", "reason"),
    [
        (nn.Linear(5, 3), torch.ones(9, 4), r"of shape \(9, 4\): mat1 and mat2 shapes"),
        (nn.Linear(4, 3), torch.ones(9, 4).long(), "must have the same dtype"),
        (nn.Embedding(4, 3), torch.full((9,), 7), "index out of range"),
        (OfPairs(), torch.ones(9, 4), "missing 1 required positional argument"),
        (OfPairs(), {"left": torch.ones(9, 4), "wrong": torch.ones(9, 4)}, "'wrong'"),
    ],
)
def test_inputs_that_the_network_does_not_take_are_refused(
    model: nn.Module, inputs: object, reason: str
) -> None:
    model.register_parameter("own", nn.Parameter(torch.zeros(3)))
    objective = Objective(model, [(inputs, torch.zeros(9).long())])
    w = objective.space.vector()
    for compute in (
        objective.loss,
        objective.evaluate,
        objective.gradient,
        lambda w: objective.hessian(w)(w),
    ):
        with pytest.raises(InputError, match=f"the network does not take inputs .*{reason}"):
            compute(w)
