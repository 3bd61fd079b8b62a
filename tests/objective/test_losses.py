"""Losses: sums over the examples of a batch, whatever the loss returns."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from cases import (
    classification,
    joined,
    mlp,
)
from torch import Tensor, nn

from landscape.curvature import expected_sharpness, m_sharpness
from landscape.curvature.matrices import Matrix, operator_at
from landscape.errors import InputError
from landscape.methods import MAP
from landscape.objective.losses import Criterion, Loss, NormalisedLogits, TemperedLogits
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import isotropic
from landscape.surfaces import surface
from landscape.tasks import arrays


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(reduction="none"),
        nn.functional.cross_entropy,
        lambda outputs, targets: nn.functional.cross_entropy(outputs, targets, reduction="none"),
    ],
)
def test_a_users_loss_may_return_the_mean_or_one_value_an_example(
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    w = ParameterSpace(mlp()).vector()
    own, named = Objective(mlp(), classification(), loss), Objective(mlp(), classification())
    torch.testing.assert_close(own.loss(w), named.loss(w))


def test_losses_that_are_no_mean_over_examples_are_refused() -> None:
    outputs, targets = torch.zeros(4, 3), torch.zeros(4, dtype=torch.long)
    with pytest.raises(InputError, match="unknown loss 'hinge'"):
        Criterion("hinge")
    with pytest.raises(InputError, match="sums over examples"):
        Criterion(nn.CrossEntropyLoss(reduction="sum"))
    for wrong, shape in (
        (lambda outputs, _: outputs[:2, 0], r"\(2,\)"),
        (lambda outputs, _: outputs, r"\(4, 3\)"),
        (lambda outputs, targets: outputs[:, :1] - targets, r"\(4, 4\)"),  # a broadcast
    ):
        with pytest.raises(InputError, match=f"shape {shape} for 4 examples"):
            Criterion(wrong)(outputs, targets)


def test_a_column_of_one_value_an_example_is_its_sum() -> None:
    values = torch.arange(4.0)[:, None]
    assert float(Criterion(lambda outputs, _: outputs)(values, torch.zeros(4))[0]) == 6


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [
        (torch.randn(6, 1), torch.ones(6, 1)),  # one logit
        (torch.randn(6, 3), 5 * torch.randn(6, 3)),  # a regression
        (torch.randn(6), torch.rand(6)),
        (torch.randn(6, 3), torch.rand(6)),
    ],
)
def test_the_cross_entropy_of_real_numbers_is_refused(outputs: Tensor, targets: Tensor) -> None:
    with pytest.raises(InputError, match="these targets are real numbers: pass loss='gaussian'"):
        Criterion("cross_entropy")(outputs, targets)


def test_the_cross_entropy_of_probabilities_is_torchs() -> None:
    outputs, targets = torch.randn(6, 3), torch.randn(6, 3).softmax(1)
    expected = nn.functional.cross_entropy(outputs, targets, reduction="sum")
    torch.testing.assert_close(Criterion("cross_entropy")(outputs, targets)[0], expected)


def test_what_is_no_loss_is_refused() -> None:
    outputs = torch.randn(6, 3, requires_grad=True)
    with pytest.raises(InputError, match="must return a tensor, not a float"):
        Criterion(lambda outputs, _: 1.0)(outputs, torch.zeros(6))
    with pytest.raises(InputError, match="cut off from the network's outputs"):
        Criterion(lambda outputs, _: outputs.detach().sum(1))(outputs, torch.zeros(6))


def test_labels_that_are_no_class_are_refused() -> None:
    objective = Objective(mlp(), [(x, y + 2) for x, y in classification()])
    with pytest.raises(InputError, match=r"labels must be in \[0, 3\), .* not in \[2, 4\]"):
        objective.loss(objective.space.vector())


@pytest.mark.parametrize("shape", [(6, 1), (6, 3), (5,), ()])
def test_labels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    targets = torch.zeros(shape).long()
    with pytest.raises(InputError, match=rf"labels of shape .* of shape \({6},\)"):
        Criterion("cross_entropy")(torch.randn(6, 3), targets)


def test_a_sum_over_examples_is_not_taken_for_a_mean() -> None:
    def total(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets, reduction="sum")

    objective = Objective(mlp(), classification(), total)
    with pytest.raises(InputError, match="sums over examples"):
        objective.loss(objective.space.vector())


def test_an_ignored_class_counts_the_same_however_batches_are_cut() -> None:
    x, y = joined(classification())
    y[::4] = -100
    whole, cut = (
        Objective(mlp(), list(zip(x.split(size), y.split(size), strict=True)), loss)
        for size, loss in ((23, nn.CrossEntropyLoss()), (7, nn.CrossEntropyLoss()))
    )
    w = whole.space.vector()
    torch.testing.assert_close(whole.loss(w), cut.loss(w))
    named = Objective(mlp(), list(cut.batches), "cross_entropy")
    torch.testing.assert_close(whole.loss(w), named.loss(w))


def test_labels_may_be_integers_of_any_size() -> None:
    x, y = joined(classification())
    losses = [Objective(mlp(), [(x, y.to(each))]) for each in (torch.uint8, torch.int32, y.dtype)]
    values = [float(each.loss(each.space.vector())) for each in losses]
    assert values[0] == values[1] == values[2]


def test_a_network_of_several_outputs_needs_a_loss_of_its_own() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp()

        def forward(self, inputs: Tensor) -> dict[str, Tensor]:
            return {"one": self.inner(inputs), "other": self.inner(inputs)}

    objective = Objective(Two(), classification())
    with pytest.raises(InputError, match="needs one tensor of logits, not the network's dict"):
        objective.loss(objective.space.vector())


def labelled(shape: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """Data of which a third of the labels is ignored, all of the last batch but one."""
    x, y = joined(classification())
    y = y.view(-1, *[1] * len(shape)).repeat(1, *shape)
    y = (y + torch.arange(y[0].numel()).view(shape)) % 3
    y[::3] = -100
    y[15:] = -100
    y[16] = 1
    return x, y


CRITERIA: dict[str, nn.Module] = {
    "ignored": nn.CrossEntropyLoss(),
    "another ignored": nn.CrossEntropyLoss(ignore_index=2),
    "weights": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.2])),
    "both": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.2]), ignore_index=0),
    "smooth": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.2]), label_smoothing=0.1),
}


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("size", [1, 7, 23])
def test_a_value_is_torchs_on_the_whole_data_set(name: str, reduction: str, size: int) -> None:
    x, y = labelled()
    criterion = copy.deepcopy(CRITERIA[name])
    if criterion.ignore_index != -100:
        y = y.clamp(min=0)
    model, batches = mlp(), list(zip(x.split(size), y.split(size), strict=True))
    truth = copy.deepcopy(criterion).double()(model(x), y)
    (gradient,) = [torch.cat([g.flatten() for g in torch.autograd.grad(truth, model.parameters())])]
    criterion.reduction = reduction
    objective = Objective(model, batches, criterion)
    w = objective.space.vector()
    torch.testing.assert_close(objective.loss(w), truth.detach())
    torch.testing.assert_close(objective.gradient(w), gradient)
    step = 1e-5 * gradient
    ahead, behind = (objective.gradient(w + sign * step) for sign in (1, -1))
    torch.testing.assert_close(objective.hessian_product(w, step), (ahead - behind) / 2)
    counts = y != criterion.ignore_index
    right = (model(x).argmax(1) == y)[counts].double().mean()
    assert objective.evaluate(w).accuracy == pytest.approx(float(right))
    assert objective.evaluate(w).loss == pytest.approx(float(truth.detach()))


@pytest.mark.parametrize(
    "loss",
    [
        nn.functional.cross_entropy,
        partial(nn.functional.cross_entropy, ignore_index=-100),
        "cross_entropy",
    ],
)
def test_torchs_functions_are_their_classes(loss: Loss) -> None:
    x, y = labelled()
    batches = list(zip(x.split(5), y.split(5), strict=True))
    w = ParameterSpace(mlp()).vector()
    found = Objective(mlp(), batches, loss).loss(w)
    torch.testing.assert_close(found, Objective(mlp(), batches, nn.CrossEntropyLoss()).loss(w))


class Pixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp(classes=12)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.inner(x).view(-1, 3, 2, 2)
        return outputs


def test_every_label_of_an_image_counts() -> None:
    x, y = labelled((2, 2))
    y[1, 0, 1] = -100
    objective = Objective(Pixels(), list(zip(x.split(5), y.split(5), strict=True)))
    w, outputs = objective.space.vector(), Pixels().double()
    outputs.load_state_dict(objective.space.module.state_dict())
    logits = outputs(x)
    truth = nn.functional.cross_entropy(logits, y)
    torch.testing.assert_close(objective.loss(w), truth.detach())
    right = (logits.argmax(1) == y)[y >= 0].double().mean()
    assert objective.evaluate(w).accuracy == pytest.approx(float(right))


@pytest.mark.parametrize(
    "criterion",
    [
        nn.MSELoss(),
        nn.MSELoss(reduction="none"),
        nn.L1Loss(),
        nn.SmoothL1Loss(),
        nn.HuberLoss(reduction="none"),
        nn.BCEWithLogitsLoss(weight=torch.tensor([1.0, 2.0, 3.0]).double()),
        nn.BCEWithLogitsLoss(weight=torch.tensor([1.0, 2.0, 3.0]).double(), reduction="none"),
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 3.0]).double()),
        nn.MultiLabelSoftMarginLoss(weight=torch.tensor([1.0, 2.0, 3.0]).double()),
        nn.KLDivLoss(reduction="batchmean"),
        nn.functional.mse_loss,
    ],
    ids=lambda loss: getattr(loss, "__name__", str(loss)),
)
def test_an_even_mean_is_torchs_too(criterion: nn.Module) -> None:
    x, _ = joined(classification())
    y = torch.rand(len(x), 3, dtype=torch.float64)
    whole = copy.deepcopy(criterion)
    if getattr(whole, "reduction", "") == "none":
        whole.reduction = "mean"
    objective = Objective(mlp(), list(zip(x.split(7), y.split(7), strict=True)), criterion)
    found = objective.loss(objective.space.vector())
    torch.testing.assert_close(found, whole(mlp()(x), y).detach())


@pytest.mark.parametrize("matrix", ["gauss-newton", "empirical-fisher"])
def test_matrices_of_examples_are_of_those_that_count(matrix: Matrix) -> None:
    x, y = labelled()
    batches = list(zip(x.split(7), y.split(7), strict=True))
    kept = y >= 0
    only = Objective(mlp(), [(x[kept], y[kept])])
    found = Objective(mlp(), batches)
    w, v = found.space.vector(), torch.ones(found.size, dtype=torch.float64)
    product, truth = (operator_at(each, w, matrix)(v) for each in (found, only))
    torch.testing.assert_close(product, truth)


def test_data_without_a_label_that_counts_are_refused() -> None:
    x, y = joined(classification())
    objective = Objective(mlp(), [(x, torch.full_like(y, -100))])
    w = objective.space.vector()
    for measure in (objective.loss, objective.gradient, objective.evaluate):
        with pytest.raises(InputError, match="no example of the data counts"):
            measure(w)


@pytest.mark.parametrize(
    "loss", [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(), nn.functional.mse_loss]
)
def test_a_loss_that_compares_every_output_with_every_target_is_refused(loss: Loss) -> None:
    x, _ = joined(classification())
    for shape in ((len(x), 1), (len(x),)):
        target = torch.randn(shape, dtype=torch.float64)
        for own in (loss, lambda outputs, targets: ((outputs - targets) ** 2).mean()):
            objective = Objective(mlp(classes=1), [(x, target)], own)
            w = objective.space.vector()
            if target.ndim == 2:
                assert float(objective.loss(w)) > 0
                continue
            with pytest.raises(InputError, match=r"outputs of shape .* and targets of shape"):
                objective.loss(w)


def test_a_loss_that_takes_one_column_as_it_comes_is_taken() -> None:
    x, _ = joined(classification())
    target = torch.randn(len(x), dtype=torch.float64)
    squares = Objective(mlp(classes=1), [(x, target[:, None])], nn.MSELoss())
    for loss in (
        lambda outputs, targets: ((outputs.squeeze(1) - targets) ** 2).mean(),
        lambda outputs, targets: (outputs[:, 0] - targets) ** 2,
    ):
        objective = Objective(mlp(classes=1), [(x, target)], loss)
        w = objective.space.vector()
        torch.testing.assert_close(objective.loss(w), squares.loss(w))


def test_weighted_means_by_a_function_are_refused_by_all_alike() -> None:
    def weighted(outputs: Tensor, targets: Tensor) -> Tensor:
        weight = torch.tensor([1.0, 9.0, 2.0]).to(outputs)
        return nn.functional.cross_entropy(outputs, targets, weight=weight)

    data, model = classification(), mlp()
    objective = Objective(model, data, weighted)
    w = objective.space.vector()
    posterior = isotropic(model, 0.1, mean=w)
    x, y = joined(data)
    task = arrays((x.float(), y), (x.float(), y), loss=weighted)
    for measure in (
        lambda: objective.loss(w),
        lambda: objective.gradient(w),
        lambda: objective.hessian_product(w, w),
        lambda: m_sharpness(objective, w),
        lambda: expected_sharpness(posterior, data, samples=2, loss=weighted),
        lambda: surface(posterior, data, plane="random", shape=(2, 2), loss=weighted),
        lambda: MAP(epochs=1, batch_size=7).fit(mlp().float(), task),
    ):
        with pytest.raises(InputError, match="not the mean over its examples"):
            measure()
    whole = Objective(model, [(x, y)], weighted)
    truth = nn.functional.cross_entropy(model(x), y, weight=torch.tensor([1.0, 9.0, 2.0]).double())
    torch.testing.assert_close(whole.loss(w), truth.detach())


def test_a_loss_that_fails_is_one_line() -> None:
    x, y = joined(classification())
    objective = Objective(mlp(), [(x, y.double())], nn.BCEWithLogitsLoss())
    with pytest.raises(
        InputError, match=r"the loss fails on outputs of shape \(23, 3\) with target"
    ):
        objective.loss(objective.space.vector())


NORMALISED_BY_HAND = (
    torch.tensor([[2.0, -1.0, -1.0], [0.0, 2.0, -2.0]]).double()
    / torch.tensor([[6.0], [8.0]]).double() ** 0.5
)


def test_normalised_logits_are_centred_and_of_length_one_over_the_temperature() -> None:
    logits = torch.tensor([[5.0, 2.0, 2.0], [1.0, 3.0, -1.0]]).double()
    labels = torch.tensor([0, 2])
    for temperature in (1.0, 0.25):
        total, weight = Criterion(NormalisedLogits(temperature))(logits, labels)
        truth = nn.functional.cross_entropy(NORMALISED_BY_HAND / temperature, labels)
        torch.testing.assert_close(total / weight, truth)
        torch.testing.assert_close(NormalisedLogits(temperature)(logits, labels), truth)
    tempered, _ = Criterion(TemperedLogits(0.5))(logits, labels)
    truth = nn.functional.cross_entropy(2 * logits, labels, reduction="sum")
    torch.testing.assert_close(tempered, truth)


@pytest.mark.parametrize("transformed", [NormalisedLogits, TemperedLogits])
def test_transformed_logits_are_counted_as_the_cross_entropy_of_them(
    transformed: type[TemperedLogits],
) -> None:
    logits = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.randint(4, (6, 5), generator=torch.Generator().manual_seed(1))
    labels[0, :3] = 7
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0]).double()
    loss = nn.CrossEntropyLoss(weight=weights, ignore_index=7, label_smoothing=0.1)
    criterion = Criterion(transformed(0.3, loss))
    parts = [criterion(logits[rows], labels[rows]) for rows in (slice(0, 1), slice(1, 6))]
    value = sum(total for total, _ in parts) / sum(weight for _, weight in parts)
    torch.testing.assert_close(value, loss(transformed(0.3).transform(logits), labels))
    assert criterion.ignore_index == 7


@pytest.mark.parametrize("matrix", ["hessian", "gauss-newton", "empirical-fisher"])
def test_every_matrix_is_that_of_the_transformed_logits(matrix: Matrix) -> None:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = mlp()

        def forward(self, inputs: Tensor) -> Tensor:
            logits = self.network(inputs)
            centred = logits - logits.mean(1, keepdim=True)
            return 2 * centred / centred.square().sum(1, keepdim=True).sqrt()

    inside = Objective(mlp(), classification(), NormalisedLogits(0.5))
    outside = Objective(Normalised(), classification())
    v = torch.randn(inside.size, generator=torch.Generator().manual_seed(0)).double()
    products = [operator_at(each, None, matrix) @ v for each in (inside, outside)]
    if matrix == "gauss-newton":  # which takes the logits themselves, or what is done to them
        dense = dense_gauss_newton(inside)
        torch.testing.assert_close(products[0], dense @ v)
        return
    torch.testing.assert_close(*products)
    assert inside.evaluate().accuracy == outside.evaluate().accuracy


def dense_gauss_newton(objective: Objective) -> Tensor:
    x, y = joined(list(objective.batches))
    w = objective.space.vector()
    jacobian = torch.func.jacrev(lambda v: objective.space.call(v, x))(w)
    logits = objective.space.call(w, x)
    curvatures = [
        torch.func.hessian(lambda f, label=label: objective.criterion(f[None], label)[0])(row)
        for row, label in zip(logits, y.split(1), strict=True)
    ]
    return torch.stack([j.T @ c @ j for j, c in zip(jacobian, curvatures, strict=True)]).mean(0)


def test_another_loss_on_the_same_weights_and_data() -> None:
    objective = Objective(mlp(), classification())
    normalised = objective.with_loss(NormalisedLogits())
    own = Objective(mlp(), classification(), NormalisedLogits())
    w = objective.space.vector()
    torch.testing.assert_close(normalised.loss(w), own.loss(w))
    torch.testing.assert_close(normalised.loss(2 * w), own.loss(2 * w))
    assert float(objective.loss(w)) != float(normalised.loss(w))


def test_logits_that_cannot_be_transformed_are_refused_in_a_line() -> None:
    for loss in ("gaussian", nn.MSELoss(), nn.NLLLoss(), lambda outputs, _: outputs[:, 0]):
        with pytest.raises(InputError, match="takes no logits of classes"):
            Criterion(NormalisedLogits(loss=loss))
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="temperature must be positive and finite"):
            TemperedLogits(wrong)
    with pytest.raises(InputError, match="no logits of classes"):
        Criterion(TemperedLogits(1.0, NormalisedLogits()))
    one = classification(classes=1)
    with pytest.raises(InputError, match="at least two classes"):
        Objective(mlp(classes=1), one, TemperedLogits(2.0)).loss()
    with pytest.raises(InputError, match="two classes cannot be normalised"):
        Objective(mlp(classes=2), one, NormalisedLogits()).loss()
