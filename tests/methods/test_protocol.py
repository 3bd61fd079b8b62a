"""The training protocol of the paper: warm-up epochs, early stopping, augmentation."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from problems import blobs, jittered, network
from torch import Tensor, nn

from landscape.methods import MAP, SAM, VI, Method
from landscape.tasks import Data


@pytest.mark.parametrize(("epochs", "warm"), [(150, 10), (300, 10), (60, 7), (15, 1)])
@pytest.mark.parametrize("per_epoch", [1, 2, 3, 7, 391])
def test_a_number_of_epochs_over_all_epochs_is_a_warm_up_of_as_many(
    epochs: int, warm: int, per_epoch: int
) -> None:
    method, steps = MAP(epochs=epochs, warmup=warm / epochs, learning_rate=1.0), epochs * per_epoch
    rates = [method.rate(step, steps) for step in range(steps)]
    first = rates.index(max(rates))
    assert (first, rates[first]) == (warm * per_epoch, 1.0)
    assert rates[: first + 1] == sorted(set(rates[: first + 1]))
    assert rates[first:] == sorted(rates[first:], reverse=True)


@pytest.mark.parametrize("method", [MAP(epochs=30, patience=3), VI(epochs=30, patience=3)])
def test_early_stopping_does_not_see_the_test_set(method: Method[Any]) -> None:
    task = blobs()
    wrong = Data(task.train.inputs, (task.train.targets + 1) % 3)
    poison = Data(torch.full_like(task.test.inputs, torch.nan), task.test.targets)
    ends = [
        method.fit(network(), replace(task, validation=wrong, test=test), seed=1, device="cpu")
        for test in (task.test, poison)
    ]
    assert len(ends[0].history["epoch"]) < 30
    assert torch.equal(ends[0].sample(2, 1), ends[1].sample(2, 1))


def test_augmentation_changes_each_training_batch_once_and_nothing_else() -> None:
    seen, plain = [], blobs()

    def augment(inputs: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(jittered(inputs, generator))
        return seen[-1]

    class Network(nn.Sequential):
        def forward(self, inputs: Tensor) -> Tensor:
            (trained if self.training else evaluated).append(inputs.clone())
            return super().forward(inputs)  # type: ignore[no-any-return]

    trained: list[Tensor] = []
    evaluated: list[Tensor] = []
    model = Network(*network(normalisation=True))  # type: ignore[misc]
    task = replace(plain, augment=augment)
    q = SAM(epochs=2, batch_size=10).fit(model, task, seed=1, device="cpu")
    assert len(seen) == 2 * 3
    passes = [inputs for inputs in trained if len(inputs) == 10]
    assert len(passes) == 2 * len(seen)  # both gradients of a step are of the same inputs
    for index, inputs in enumerate(seen):
        assert torch.equal(passes[2 * index], inputs)
        assert torch.equal(passes[2 * index + 1], inputs)
        assert not any(torch.equal(inputs, other) for other in seen[:index])
    known = {tuple(row) for row in plain.train.inputs.tolist()}
    assert len(evaluated) > 0
    assert all(tuple(row) in known for inputs in evaluated for row in inputs.tolist())
    hidden = q.space.unflatten(q.mean)
    outputs = nn.functional.linear(plain.train.inputs, hidden["0.weight"], hidden["0.bias"])
    torch.testing.assert_close(q.buffers(q.mean)["1.running_mean"], outputs.mean(0))
