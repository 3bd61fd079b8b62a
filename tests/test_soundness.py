"""Networks whose second derivatives cannot be trusted are refused, and no others."""

from collections.abc import Callable

import pytest
import torch
from cases import classification, joined, mlp
from torch import Tensor, nn

from landscape import bilinear
from landscape.curvature import top_eigenvalues, trace
from landscape.curvature.matrices import Matrix
from landscape.errors import InputError, LandscapeError
from landscape.objective import Objective


def test_a_second_derivative_that_is_wrong_in_torch_is_not_believed() -> None:
    # torch 2.13: trace -1.8 with a standard error of 0 where differences of gradients say -0.3.
    model = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)).double()
    for scale in (0.01, 1.0, 100.0):  # the last saturates the softmax
        objective = Objective(model, classification())
        w = scale * objective.space.vector()
        # This matrix takes no second derivative of a layer: it is right.
        trace(objective, w, matrix="gauss-newton", products=5)
        with pytest.raises(LandscapeError, match="the Hessian is not symmetric"):
            trace(objective, w, products=5)


def test_a_second_derivative_that_is_wrong_here_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = (nn.Conv1d(1, 2, 2), nn.Tanh(), nn.Conv1d(2, 2, 2), nn.Flatten(), nn.Linear(4, 3))
    model = nn.Sequential(*layers).double()
    batches = [(x[:, None], y) for x, y in classification()]
    forward = bilinear._Convolution.forward

    def wrong(self: object, *args: object, linear: bool) -> object:
        return (2 if linear else 1) * forward(self, *args, linear=linear)  # type: ignore[arg-type]

    monkeypatch.setattr(bilinear._Convolution, "forward", wrong)
    objective = Objective(model, batches)
    with pytest.raises(LandscapeError, match="disagrees with torch's own"):
        objective.hessian(objective.space.vector())(objective.space.vector())


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


def test_weights_at_which_the_loss_is_not_finite_answer_nothing() -> None:
    objective = Objective(Noisy(), classification())
    w = objective.space.vector()
    objective.hessian_product(torch.full_like(w, torch.nan), w)
    with pytest.raises(InputError, match="random in evaluation mode"):
        objective.hessian_product(w, w)


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
