"""Relative flatness and the Fisher-Rao norm against dense matrices and closed forms."""

import pytest
import torch
from cases import classification, dense_hessian, joined, mlp
from torch import Tensor, nn

from landscape.curvature import fisher_rao_norm, relative_flatness
from landscape.errors import InputError
from landscape.objective.objective import Objective


def relu(seed: int = 0, bias: bool = False) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Linear(4, 5, bias), nn.ReLU(), nn.Linear(5, 6, bias), nn.ReLU()
        return nn.Sequential(*layers, nn.Linear(6, 3, bias)).double()


def by_definition(objective: Objective, layer: str) -> float:
    """The double sum over the layer's units, from the dense Hessian."""
    space, w = objective.space, objective.space.vector()
    part = dict(zip(space.names, space.slices, strict=True))[layer]
    weight = space.unflatten(w)[layer].flatten(1)
    units, inputs = weight.shape
    hessian = dense_hessian(objective, w)[part, part].view(units, inputs, units, inputs)
    total = 0.0
    for s in range(units):
        for other in range(units):
            block = hessian[s, :, other, :]
            total += float(weight[s] @ weight[other] * block.trace())
    return total


@pytest.mark.parametrize("layer", ["0.weight", "2.weight"])
def test_relative_flatness_is_the_sum_over_pairs_of_units(layer: str) -> None:
    objective = Objective(mlp(), classification())
    truth = by_definition(objective, layer)
    exact = relative_flatness(objective, layer=layer, matvecs=25)
    assert exact.value == pytest.approx(truth)
    assert exact.standard_error == 0
    estimates = [relative_flatness(objective, layer=layer, matvecs=9, seed=s) for s in (0, 1)]
    for estimate in estimates:
        assert abs(estimate.value - truth) < 5 * estimate.standard_error


def test_relative_flatness_takes_the_last_weight_matrix_by_default() -> None:
    objective = Objective(mlp(), classification())
    own = relative_flatness(objective, matvecs=25)
    assert own.value == pytest.approx(by_definition(objective, "2.weight"))


def test_relative_flatness_of_a_convolution_has_output_channels_as_units() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(3, 3)
    model = nn.Sequential(*layers[:3], nn.Tanh(), layers[3]).double()
    objective = Objective(model, classification())
    found = relative_flatness(objective, layer="1.weight", matvecs=12)
    assert found.value == pytest.approx(by_definition(objective, "1.weight"))


def test_relative_flatness_of_two_linear_layers_by_hand() -> None:
    """L = (v u x - y)^2 / 2 with scalars has H = (u x)^2 for v, so kappa(v) = (v u x)^2."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    data = [(torch.tensor([[3.0]]).double(), torch.tensor([[1.0]]).double())]
    objective = Objective(model, data, lambda outputs, y: (outputs - y)[:, 0] ** 2 / 2)
    w = torch.tensor([0.5, 2.0]).double()
    for layer in ("0.weight", "1.weight"):
        assert relative_flatness(objective, w, layer).value == pytest.approx(9.0)
    # the gradient of the loss is (f - y) x (v, u): w . g = 2 f (f - y)
    assert fisher_rao_norm(objective, w) == pytest.approx(2 * 3 * 2)


def test_the_fisher_rao_norm_is_the_mean_square_of_the_slope_along_the_weights() -> None:
    objective = Objective(mlp(), classification())
    w = objective.space.vector()
    slopes = []
    for x, y in classification(batch=1):
        part = objective.on(objective.space, [(x, y)])
        slopes.append(float(w @ part.gradient(w)))
    truth = float(torch.tensor(slopes).square().mean().sqrt())
    assert fisher_rao_norm(objective, w) == pytest.approx(truth, rel=1e-6)


def test_of_a_relu_network_without_biases_it_is_known_from_the_outputs_alone() -> None:
    objective = Objective(relu(), classification())
    x, y = joined(classification())
    logits = objective.space.module(x).detach().requires_grad_()
    nn.functional.cross_entropy(logits, y, reduction="sum").backward()
    assert isinstance(logits.grad, Tensor)
    along = (logits * logits.grad).sum(1).detach()
    assert fisher_rao_norm(objective) == pytest.approx(3 * float(along.square().mean().sqrt()))


def test_a_layer_that_is_no_weight_matrix_is_refused_in_a_line() -> None:
    objective = Objective(mlp(), classification())
    for layer in ("2.bias", "4.weight"):
        with pytest.raises(InputError, match=f"'{layer}' among the inferred ones: 0.weight, 2.w"):
            relative_flatness(objective, layer=layer)
    biases = Objective(mlp(), classification(), parameters=["0.bias"])
    with pytest.raises(InputError, match="needs a weight matrix among the inferred ones: none"):
        relative_flatness(biases)
    for measure in (relative_flatness, fisher_rao_norm):
        with pytest.raises(InputError, match="not finite"):
            measure(objective, torch.full((objective.size,), torch.inf).double())
