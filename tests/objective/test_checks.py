"""Networks whose second derivatives cannot be trusted are refused, and no others."""

from collections.abc import Callable

import pytest
import torch
from cases import classification, joined, mlp
from torch import Tensor, nn

from landscape.curvature import top_eigenvalues, trace
from landscape.curvature.matrices import Matrix
from landscape.errors import InputError
from landscape.objective.objective import Objective


class Noisy(nn.Module):
    """Dropout that evaluation does not switch off."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.inner(nn.functional.dropout(inputs, 0.5, training=True))
        return outputs


def test_a_network_that_is_random_in_evaluation_mode_is_refused() -> None:
    for matrix in ("hessian", "empirical-fisher"):
        objective = Objective(Noisy(), classification())
        with pytest.raises(InputError, match="random in evaluation mode"):
            top_eigenvalues(objective, objective.space.vector(), 1, matrix=matrix)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("saturation", [10.0, 30.0, 100.0, 1e4])
def test_a_network_that_fits_its_data_to_rounding_is_measured_all_the_same(
    saturation: float, dtype: torch.dtype
) -> None:
    x = joined(classification())[0].to(dtype)
    for seed in range(20):
        torch.manual_seed(seed)
        model = nn.Linear(4, 3, dtype=dtype)
        objective = Objective(model, [(x, model(x).argmax(1))])
        w = saturation * objective.space.vector()
        found = top_eigenvalues(objective, w, 1)
        assert bool(found.values.isfinite().all())


def test_a_layer_that_mixes_the_examples_of_a_batch_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, track_running_stats=False))
    with pytest.raises(InputError, match="layer '1' takes the statistics of its batch"):
        Objective(model, classification())


class Shared(nn.Module):
    """Noise, and an input that all examples share: what an example is, is not to be told."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, inputs: Tensor, scale: Tensor) -> Tensor:
        outputs: Tensor = self.inner(nn.functional.dropout(inputs * scale, 0.5))
        return outputs


def test_a_random_network_is_found_where_an_example_is_not_to_be_told() -> None:
    batches = [((x, torch.ones(4).double()), y) for x, y in classification()]
    objective = Objective(Shared(), batches)
    with pytest.raises(InputError, match="random in evaluation mode"):
        top_eigenvalues(objective, objective.space.vector(), 1)


class Centred(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.inner(inputs - inputs.mean(0))
        return outputs


WEIGHTS = torch.tensor([1.0, 9.0, 2.0]).double()
MIXING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "weighted": lambda outputs, y: nn.functional.cross_entropy(outputs, y, weight=WEIGHTS),
    "root": lambda outputs, y: nn.functional.cross_entropy(outputs, y).sqrt(),
    "sum": lambda outputs, y: nn.functional.cross_entropy(outputs, y, reduction="sum") + 1,
}


@pytest.mark.parametrize("loss", MIXING.values(), ids=MIXING)
@pytest.mark.parametrize("matrix", ["hessian", "gauss-newton"])
def test_a_loss_that_mixes_the_examples_of_a_batch_is_refused(
    loss: Callable[[Tensor, Tensor], Tensor], matrix: Matrix
) -> None:
    objective = Objective(mlp(), classification(), loss)
    with pytest.raises(InputError, match="not the mean over its examples"):
        top_eigenvalues(objective, objective.space.vector(), 1, matrix=matrix)


def test_a_network_that_mixes_the_examples_of_a_batch_is_refused() -> None:
    objective = Objective(Centred(), classification())
    with pytest.raises(InputError, match="not the mean over its examples"):
        top_eigenvalues(objective, objective.space.vector(), 1)


def test_an_operation_without_a_second_derivative_is_one_line() -> None:
    model = nn.Sequential(nn.EmbeddingBag(9, 4), nn.Tanh(), nn.Linear(4, 3))
    objective = Objective(model, [(torch.randint(9, (8, 5)), torch.arange(8) % 3)])
    for matrix in ("hessian", "gauss-newton"):
        with pytest.raises(InputError, match=r"no second derivative of one .*embedding_bag"):
            top_eigenvalues(objective, objective.space.vector(), 1, matrix=matrix)


def test_weights_too_coarse_for_curvature_are_refused() -> None:
    objective = Objective(nn.Linear(4, 3).bfloat16(), classification())
    for matrix in ("hessian", "gauss-newton"):
        with pytest.raises(InputError, match="float32 or float64, not bfloat16"):
            trace(objective, objective.space.vector(), matrix=matrix)
