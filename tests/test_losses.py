"""Losses: sums over the examples of a batch, whatever the loss returns."""

from collections.abc import Callable

import pytest
import torch
from cases import (
    classification,
    joined,
    mlp,
)
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.losses import summed_loss
from landscape.objective import Objective
from landscape.parameters import ParameterSpace


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
        summed_loss("hinge")
    with pytest.raises(InputError, match="sums over examples"):
        summed_loss(nn.CrossEntropyLoss(reduction="sum"))
    with pytest.raises(InputError, match="class weights"):
        summed_loss(nn.CrossEntropyLoss(weight=torch.ones(3)))
    with pytest.raises(InputError, match="ignored class"):
        summed_loss(nn.CrossEntropyLoss(ignore_index=0))
    for wrong, shape in (
        (lambda outputs, _: outputs[:2, 0], r"\(2,\)"),
        (lambda outputs, _: outputs, r"\(4, 3\)"),
        (lambda outputs, targets: outputs[:, :1] - targets, r"\(4, 4\)"),  # a broadcast
    ):
        with pytest.raises(InputError, match=f"shape {shape} for 4 examples"):
            summed_loss(wrong)(outputs, targets)


def test_a_column_of_one_value_an_example_is_its_sum() -> None:
    values = torch.arange(4.0)[:, None]
    assert float(summed_loss(lambda outputs, _: outputs)(values, torch.zeros(4))) == 6


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
        summed_loss("cross_entropy")(outputs, targets)


def test_the_cross_entropy_of_probabilities_is_torchs() -> None:
    outputs, targets = torch.randn(6, 3), torch.randn(6, 3).softmax(1)
    expected = nn.functional.cross_entropy(outputs, targets, reduction="sum")
    torch.testing.assert_close(summed_loss("cross_entropy")(outputs, targets), expected)


def test_what_is_no_loss_is_refused() -> None:
    outputs = torch.randn(6, 3, requires_grad=True)
    with pytest.raises(InputError, match="must return a tensor, not a float"):
        summed_loss(lambda outputs, _: 1.0)(outputs, torch.zeros(6))
    with pytest.raises(InputError, match="cut off from the network's outputs"):
        summed_loss(lambda outputs, _: outputs.detach().sum(1))(outputs, torch.zeros(6))


def test_labels_that_are_no_class_are_refused() -> None:
    objective = Objective(mlp(), [(x, y + 2) for x, y in classification()])
    with pytest.raises(InputError, match=r"labels must be in \[0, 3\), .* not \[2, 4\]"):
        objective.loss(objective.space.vector())


@pytest.mark.parametrize("shape", [(6, 1), (6, 3), (5,), ()])
def test_labels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    targets = torch.zeros(shape).long()
    with pytest.raises(InputError, match=rf"labels of shape .* of shape \({6},\)"):
        summed_loss("cross_entropy")(torch.randn(6, 3), targets)


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
            return {"logits": self.inner(inputs)}

    objective = Objective(Two(), classification())
    with pytest.raises(InputError, match="needs one tensor of logits, not the network's dict"):
        objective.loss(objective.space.vector())
