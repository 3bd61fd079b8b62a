"""Running statistics re-estimated for given weights, against torch's own pass over all at once."""

from collections.abc import Callable

import pytest
import torch
from cases import classification, generator, joined, mlp, shuffled
from torch import Tensor, nn

from landscape.curvature import expected_sharpness, worst_case_sharpness
from landscape.curvature import measure as measure_samples
from landscape.errors import InputError
from landscape.methods import MAP
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import isotropic
from landscape.prediction import predict
from landscape.running_stats import chunks, normalisation
from landscape.running_stats.normalisation import check_statistics, reestimate
from landscape.surfaces import surface
from landscape.tasks import arrays


class Branches(nn.Module):
    """Two branches, of which one has a layer of statistics after another."""

    def __init__(self) -> None:
        super().__init__()
        self.long = nn.Sequential(
            nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3), nn.BatchNorm1d(3)
        )
        self.short = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=None))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.long(inputs) + self.short(inputs)


def images() -> nn.Module:
    return nn.Sequential(
        nn.Dropout(0.9), nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)
    )


def given_in_evaluation(
    space: ParameterSpace, buffers: dict[str, Tensor], inputs: Tensor
) -> dict[str, Tensor]:
    """Statistics of what each layer is given in evaluation mode with these buffers."""
    found = {}

    def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        x, inside = given[0], list(range(2, given[0].ndim))
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            variance, mean = torch.var_mean(x, [0, *inside])
        else:
            variance, mean = (each.mean(0) for each in torch.var_mean(x, inside))
        name = next(name for name, each in space.module.named_modules() if each is layer)
        found[f"{name}.running_mean"], found[f"{name}.running_var"] = mean, variance

    layers = normalisation.normalisation_layers(space.module)
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    space.call(space.vector(), inputs, buffers)
    for hook in hooks:
        hook.remove()
    return found


@pytest.fixture(params=["one part", "parts that wait", "two that wait", "none that waits"])
def divided(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the examples are divided."""
    if request.param != "one part":
        monkeypatch.setattr(chunks, "_TOGETHER", 300)
        monkeypatch.setattr(chunks, "_PART", 0)
    if request.param == "two that wait":
        monkeypatch.setattr(chunks, "_THREADS", 0)
    if request.param == "none that waits":
        monkeypatch.setattr(chunks, "spare", lambda _: 0)


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize("batch", [1, 6, 7, 22, 23])
@pytest.mark.parametrize("make", [Branches, images])
def test_statistics_are_of_what_layers_are_given_however_the_data_are_divided(
    make: Callable[[], nn.Module], batch: int
) -> None:
    space = ParameterSpace(make().double())
    x, _ = joined(classification())
    for batches in (classification(batch=batch), shuffled(classification(), batch)):
        found = reestimate(space, space.vector(), batches)
        truth = given_in_evaluation(space, found.buffers, x)
        assert len(truth) == len(found.buffers) * 2 // 3  # all but the counts of batches
        for name, value in truth.items():
            torch.testing.assert_close(found.buffers[name], value)


@pytest.mark.parametrize("examples", [100, 10_000])
def test_statistics_are_those_of_torchs_training_but_for_its_biased_variance(examples: int) -> None:
    model = Branches().double()
    x = torch.randn(examples, 4, generator=generator(), dtype=torch.float64)
    found = reestimate(ParameterSpace(model), ParameterSpace(model).vector(), [(x, None)])
    for layer in normalisation.normalisation_layers(model):
        layer.momentum = 1.0
    model.train()(x)
    for name, value in model.named_buffers():
        if value.is_floating_point():
            torch.testing.assert_close(found.buffers[name], value, rtol=3 / examples, atol=1e-12)


@pytest.mark.usefixtures("divided")
def test_the_outputs_are_found_too() -> None:
    """With the targets in their order: here the inputs again, shuffled anew at every pass."""
    x, _ = joined(classification())
    space = ParameterSpace(Branches().double())
    found = reestimate(space, space.vector(), shuffled([(x, x)], 6))
    inputs = torch.cat(list(found.targets))
    assert torch.equal(inputs.sort(dim=0).values, x.sort(dim=0).values)
    outputs = space.call(space.vector(), inputs, found.buffers)
    torch.testing.assert_close(torch.cat(list(found.outputs or ())), outputs)


@pytest.mark.usefixtures("divided")
def test_a_caller_in_inference_mode_gets_the_same() -> None:
    space = ParameterSpace(Branches().double())
    outside = reestimate(space, space.vector(), classification()).buffers
    with torch.inference_mode():
        inside = reestimate(space, space.vector(), classification()).buffers
    for name, value in outside.items():
        assert torch.equal(inside[name], value)


def test_there_are_no_outputs_where_a_layer_is_called_twice() -> None:
    twice = nn.BatchNorm1d(4).double()
    space = ParameterSpace(nn.Sequential(twice, nn.Tanh(), twice))
    assert reestimate(space, space.vector(), classification()).outputs is None


def test_a_run_that_a_layout_makes_start_again_counts_once() -> None:
    class Viewing(nn.Module):
        """Its ``view`` does not do with channels last, and is behind a layer of statistics."""

        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.norm(self.convolution(inputs)).view(len(inputs), -1)

    space = ParameterSpace(Viewing().double())
    x = torch.randn(7, 2, 3, 3, generator=generator(), dtype=torch.float64)
    for batches in ([(x, None)], [(x[:4], None), (x[4:, :, :2], None)]):
        space = ParameterSpace(Viewing().double())
        found = reestimate(space, space.vector(), batches)
        hidden = [space.module.convolution(each).transpose(0, 1).flatten(1) for each, _ in batches]
        torch.testing.assert_close(found.buffers["norm.running_var"], torch.cat(hidden, 1).var(1))


def test_statistics_of_instance_normalisation_are_averages_over_examples() -> None:
    layer = nn.InstanceNorm1d(2, track_running_stats=True, affine=True).double()
    space = ParameterSpace(nn.Sequential(nn.Unflatten(1, (2, 2)), layer))
    found = reestimate(space, space.vector(), classification())
    truth = given_in_evaluation(space, found.buffers, joined(classification())[0])
    for name, value in truth.items():
        torch.testing.assert_close(found.buffers[name], value)


def test_the_weights_given_are_the_ones_used() -> None:
    space = ParameterSpace(nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)).double())
    w = torch.randn(space.size, generator=generator(), dtype=torch.float64)
    found = reestimate(space, w, classification())
    values = space.unflatten(w)
    hidden = nn.functional.linear(joined(classification())[0], values["0.weight"], values["0.bias"])
    torch.testing.assert_close(found.buffers["1.running_mean"], hidden.mean(0))
    torch.testing.assert_close(found.buffers["1.running_var"], hidden.var(0))


def test_the_spaces_own_statistics_and_mode_stay() -> None:
    space = ParameterSpace(Branches().double())
    before = space.buffers()
    reestimate(space, space.vector(), classification())
    for name, value in space.buffers().items():
        assert torch.equal(value, before[name])
    assert not any(layer.training for layer in space.module.modules())
    assert not any(layer._forward_pre_hooks for layer in space.module.modules())


def test_a_network_without_statistics_needs_no_data() -> None:
    space = ParameterSpace(mlp())
    assert reestimate(space, space.vector(), []).buffers == {}


def test_data_that_give_no_statistics_are_refused() -> None:
    space = ParameterSpace(Branches().double())
    for batches, message in (
        ([], "no batch"),
        (iter(classification()), "read only once"),
        (classification(examples=1), "more than one value a channel"),
    ):
        with pytest.raises(InputError, match=message):
            reestimate(space, space.vector(), batches)


def test_inputs_that_cannot_be_joined_pass_once_too() -> None:
    """Other shapes, and tensors in a dict."""

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls, self.layers = 0, Branches()

        def forward(self, x: Tensor) -> Tensor:
            self.calls += len(x) > 2  # fewer are to see what they take
            return self.layers(x.flatten(0, -2))

    shapes = [(3, 4), (3, 2, 4), (4, 2, 4)]
    data = [torch.randn(shape, generator=generator(), dtype=torch.float64) for shape in shapes]
    for batches in ([(x, None) for x in data], [({"x": x}, None) for x in data]):
        space = ParameterSpace(Counting().double())
        found = reestimate(space, space.vector(), batches)
        assert space.module.calls == (2 if isinstance(batches[0][0], Tensor) else 3)
        every = torch.cat([x.flatten(0, -2) for x in data])
        for name, value in given_in_evaluation(space, found.buffers, every).items():
            torch.testing.assert_close(found.buffers[name], value)


class ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.norm = nn.Linear(4, 5), nn.BatchNorm1d(5)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.norm(input=self.wide(x))
        return outputs


def test_a_layer_may_be_given_its_inputs_by_name() -> None:
    space, x = ParameterSpace(ByName()), torch.randn(20, 4)
    found = reestimate(space, space.vector(), [(x, None)]).buffers
    hidden = space.module.wide(x)
    torch.testing.assert_close(found["norm.running_mean"], hidden.mean(0))
    torch.testing.assert_close(found["norm.running_var"], hidden.var(0))


class OwnStatistics(nn.Module):
    """Normalises by statistics that it keeps itself, in place or by putting others there."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.wide, self.head, self.in_place = nn.Linear(4, 5), nn.Linear(5, 3), in_place
        self.register_buffer("centre", torch.zeros(5))
        self.register_buffer("constant", torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.wide(x)
        if self.training and self.in_place:
            self.centre.lerp_(x.detach().mean(0), 0.1)
        elif self.training:
            self.centre = torch.lerp(self.centre, x.detach().mean(0), 0.1)
        outputs: Tensor = self.head(x - self.centre * self.constant)
        return outputs


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("calibrated", [True, False])
def test_statistics_that_a_users_layer_keeps_are_refused(in_place: bool, calibrated: bool) -> None:
    data = [(torch.randn(12, 4), torch.arange(12) % 3)]
    model = OwnStatistics(in_place)
    mean = ParameterSpace(model).vector()
    posterior = isotropic(model, 0.1, mean=mean, calibration=data if calibrated else None)
    for measure in (
        lambda: measure_samples(posterior, data, samples=1, eigenvalues=1),
        lambda: predict(posterior, data, samples=2),
        lambda: surface(posterior, data, plane="random", shape=(2, 2)),
        lambda: expected_sharpness(posterior, data, samples=2),
        lambda: worst_case_sharpness(posterior, data, pairs=2, steps=1),
    ):
        with pytest.raises(InputError, match=r"keeps running statistics of its own \('centre'\)"):
            measure()
    # At its own weights the network is what it is, and training keeps the statistics up.
    objective = Objective(model, data)
    assert float(objective.loss(objective.space.vector())) > 0
    task = arrays(data[0], data[0])
    fitted = MAP(epochs=2).fit(model, task)
    assert fitted.history["train_loss"][-1] > 0


def test_constant_buffers_of_a_users_layer_are_no_statistics() -> None:
    model = OwnStatistics(in_place=True)
    model.forward = model.head.forward  # type: ignore[method-assign]
    check_statistics(ParameterSpace(model), (torch.randn(4, 5), torch.zeros(4)))
