"""A module's parameters as one vector."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import classification, columns, joined, mlp
from torch import Tensor, nn
from torch.func import functional_call

from landscape.errors import InputError
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace


def test_a_vector_becomes_weights_and_back() -> None:
    model = mlp()
    space = ParameterSpace(model)
    w = space.vector()
    assert space.size == sum(p.numel() for p in model.parameters())
    assert torch.equal(space.flatten(space.unflatten(w)), w)
    assert torch.equal(w, nn.utils.parameters_to_vector(model.parameters()).detach())
    x, _ = joined(classification())
    v = torch.randn_like(w)
    nn.utils.vector_to_parameters(v, model.parameters())
    torch.testing.assert_close(space.call(v, x), model(x).detach())


def test_the_space_keeps_its_own_copy() -> None:
    model = mlp()
    space = ParameterSpace(model)
    before = space.vector()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(space.vector(), before)


def test_random_parameters_are_chosen_by_name_or_predicate() -> None:
    model = mlp()
    assert ParameterSpace(model, ["2.bias", "0.weight"]).names == ("0.weight", "2.bias")
    assert ParameterSpace(model, lambda _, p: p.ndim == 1).names == ("0.bias", "2.bias")
    model[0].requires_grad_(False)
    assert ParameterSpace(model).names == ("2.weight", "2.bias")
    for choice, message in (([], "no parameter is chosen"), (["3.bias"], "no parameter '3.bias'")):
        with pytest.raises(InputError, match=message):
            ParameterSpace(model, choice)


def test_the_hessian_over_some_parameters_is_a_block_of_the_whole() -> None:
    batches = classification()
    whole, part = Objective(mlp(), batches), Objective(mlp(), batches, parameters=["2.weight"])
    w, v = part.space.vector(), torch.randn(part.size, dtype=torch.float64)
    padded = whole.space.unflatten(torch.zeros(whole.size).double())
    padded["2.weight"] = v.view(3, 5)
    image = whole.hessian_product(whole.space.vector(), whole.space.flatten(padded))
    expected = whole.space.unflatten(image)["2.weight"].reshape(-1)
    torch.testing.assert_close(part.hessian_product(w, v), expected)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False).double()
        self.second = nn.Linear(4, 4, bias=False).double()
        self.second.weight = self.first.weight

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.first(inputs).tanh())


def test_tied_weights_are_one_parameter_with_both_derivatives() -> None:
    model, (x, y) = Tied(), joined(classification(classes=4))
    objective = Objective(model, [(x, y)])
    assert objective.size == 16
    w = objective.space.vector().requires_grad_()
    matrix = w.view(4, 4)
    loss = nn.functional.cross_entropy((x @ matrix.T).tanh() @ matrix.T, y)
    (truth,) = torch.autograd.grad(loss, w, create_graph=True)
    torch.testing.assert_close(objective.gradient(w.detach()), truth.detach())
    hessian = torch.stack([torch.autograd.grad(g, w, retain_graph=True)[0] for g in truth])
    torch.testing.assert_close(columns(objective.hessian(w), 16), hessian)


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(43,\), not \(44,\)"):
        ParameterSpace(mlp()).unflatten(torch.zeros(44))


def test_integer_inputs_stay_integers() -> None:
    space = ParameterSpace(nn.Embedding(5, 2).double())
    assert space.call(space.vector(), torch.tensor([1, 4])).shape == (2, 2)
    assert space.move(torch.zeros(2)).dtype == torch.float64


def test_training_mode_updates_the_buffers_given_and_no_others() -> None:
    space = ParameterSpace(nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)).double())
    x, _ = joined(classification())
    before, given = space.buffers(), space.buffers()
    space.call(space.vector(), x, training=True)
    assert torch.equal(space.buffers()["1.running_mean"], before["1.running_mean"])
    space.call(space.vector(), x, given, training=True)
    assert not torch.equal(given["1.running_mean"], before["1.running_mean"])
    assert torch.equal(space.buffers()["1.running_mean"], before["1.running_mean"])


class Convolutions(nn.Module):
    """Images of 3 channels to 4 classes; ``after`` is given the feature maps (B, 6, 4, 4)."""

    def __init__(self, after: nn.Module, pool: nn.Module | None = None) -> None:
        super().__init__()
        pool = nn.MaxPool2d(2) if pool is None else pool
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), pool)
        self.after = after
        self.layouts: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.features(x)
        self.layouts.append(maps.is_contiguous(memory_format=torch.channels_last))
        found: Tensor = self.after(maps)
        return found


class Viewing(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.view(len(maps), -1)


def usual(space: ParameterSpace, w: Tensor, inputs: Any, buffers: Any = None) -> Any:
    """The module's output as torch computes it, in the usual layout."""
    space.module.eval()
    arguments = ((), inputs) if isinstance(inputs, dict) else (inputs, None)
    return functional_call(space.module, {**space.unflatten(w), **(buffers or {})}, *arguments)


TRIAL = [True]  # on two examples


@pytest.mark.parametrize(
    ("after", "layouts"), [(nn.Flatten(), [True, True]), (Viewing(), [False, False])]
)
def test_predictions_run_channels_last_where_the_module_can(
    after: nn.Module, layouts: list[bool]
) -> None:
    space = ParameterSpace(Convolutions(nn.Sequential(after, nn.Linear(96, 4))))
    x, w = torch.randn(5, 3, 8, 8), torch.randn(space.size)
    found = [space.predict(w, x) for _ in range(2)]
    assert isinstance(space.module, Convolutions)
    assert space.module.layouts == TRIAL + layouts
    torch.testing.assert_close(found, [usual(space, w, x)] * 2)


@pytest.mark.parametrize("after", [nn.Flatten(), Viewing()])
@pytest.mark.parametrize("gradients", [True, False])
def test_a_network_at_some_weights_takes_inputs_of_all_kinds(
    after: nn.Module, gradients: bool
) -> None:
    network = nn.Sequential(after, nn.Linear(96, 4), nn.BatchNorm1d(4))
    space = ParameterSpace(Convolutions(network))
    images, w = torch.randn(5, 3, 8, 8), torch.randn(space.size, requires_grad=gradients)
    inputs = (images, (images[:2],), {"x": images})
    buffers = space.buffers()
    buffers["after.2.running_mean"].fill_(3.0)
    for given in (None, buffers):
        with torch.set_grad_enabled(gradients), space.at(w, given) as network_at_w:
            found = [network_at_w(x) for x in inputs]
        torch.testing.assert_close(found, [usual(space, w, x, given) for x in inputs])
        assert found[0].requires_grad == gradients
    torch.testing.assert_close(space.vector(), space.flatten(dict(space.module.named_parameters())))


def test_a_network_of_tied_weights_that_returns_no_tensor() -> None:
    class Both(Tied):
        def forward(self, inputs: Tensor) -> Any:
            return inputs, super().forward(inputs)

    space = ParameterSpace(Both())
    w, (x, _) = torch.randn(16, dtype=torch.float64), joined(classification())
    torch.testing.assert_close(space.call(w, x), usual(space, w, x))
    assert torch.equal(space.module.first.weight.flatten(), space.vector())


def test_weights_are_put_back_whatever_happens_meanwhile() -> None:
    space = ParameterSpace(mlp())
    before, v = space.vector(), torch.ones(space.size, dtype=torch.float64)
    with space.at(v):
        with pytest.raises(RuntimeError, match="mat1"), space.at(2 * v) as network:
            network(torch.ones(1, 5))
        assert float(space.module[0].bias[0]) == 1
    assert torch.equal(space.flatten(dict(space.module.named_parameters())), before)
    with pytest.raises(InputError, match="no parameter or buffer 'running_mean'"):
        space.call(v, torch.ones(1, 4), {"running_mean": torch.zeros(3)})


class ViewingBack(torch.autograd.Function):
    """Takes no gradient whose channels are last."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        return 2 * maps

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return 2 * grads[0].view(-1).view(grads[0].shape)


class Backwards(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        found: Tensor = ViewingBack.apply(maps).square()  # type: ignore[no-untyped-call]
        return found


HEAD = nn.Sequential(nn.Flatten(), nn.Linear(96, 4))


@pytest.mark.parametrize(
    ("pool", "after", "layouts"),
    [
        (nn.AvgPool2d(2), HEAD, [*TRIAL, True, True]),
        (nn.MaxPool2d(2), HEAD, [False, False]),  # slower
        (nn.AvgPool2d(2), nn.Sequential(Viewing(), HEAD), [*TRIAL, False, False]),
        (nn.Sequential(Backwards(), nn.AvgPool2d(2)), HEAD, [*TRIAL, False, False]),
    ],
)
def test_derivatives_run_channels_last_where_they_can(
    pool: nn.Module, after: nn.Module, layouts: list[bool]
) -> None:
    space = ParameterSpace(Convolutions(after, pool).double())
    x, w = torch.randn(5, 3, 8, 8).double(), torch.randn(space.size).double()

    def derivatives(function: Callable[..., Tensor]) -> list[Tensor]:
        at = w.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(function(at, x).exp().sum(), at, create_graph=True)
        return [gradient, *torch.autograd.grad(gradient @ w, at)]

    found = [derivatives(space.call) for _ in range(2)]
    assert isinstance(space.module, Convolutions)
    assert space.module.layouts == layouts
    truth = derivatives(lambda at, x: usual(space, at, x))
    torch.testing.assert_close(found, [truth] * 2)


def test_predicted_images_have_the_usual_layout() -> None:
    space = ParameterSpace(Convolutions(nn.Conv2d(6, 2, 1)))
    x, w = torch.randn(5, 3, 8, 8), space.vector()
    found = space.predict(w, {"x": x})
    assert found.is_contiguous()
    torch.testing.assert_close(found, usual(space, w, x))


def test_a_prediction_that_fails_says_why() -> None:
    space = ParameterSpace(Convolutions(nn.Flatten()))
    with pytest.raises(RuntimeError, match="channels"):
        space.predict(space.vector(), torch.randn(5, 2, 8, 8))


def test_inputs_in_any_layout_pass_a_group_normalisation_behind_frozen_convolutions() -> None:
    # torch's own gradient of the normalisation crashes if its input has its channels last.
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.Flatten(), nn.Linear(32, 3))
    space = ParameterSpace(network, ["1.weight", "1.bias"])
    inputs, labels = torch.randn(6, 4, 4, 3).permute(0, 3, 1, 2), torch.arange(6) % 3
    v = torch.randn(space.size)
    images = [
        Objective(space, [(x, labels)]).hessian(space.vector()) @ v
        for x in (inputs, inputs.contiguous())
    ]
    truth = torch.func.hessian(
        lambda w: nn.functional.cross_entropy(space.call(w, inputs.contiguous()), labels)
    )(space.vector())
    for image in images:
        torch.testing.assert_close(image, truth @ v, rtol=1e-4, atol=1e-5)
