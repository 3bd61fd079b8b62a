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
from landscape.running_stats import normalisation, one_batch
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


@pytest.fixture(params=["one batch", "layer by layer", "layer by layer, read again"])
def divided(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All examples as one batch, or batch by batch for each layer."""
    if request.param != "one batch":
        layer_by_layer(monkeypatch)
    if request.param == "layer by layer, read again":
        monkeypatch.setattr(one_batch, "spare", lambda _: 0)


def layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no memory for the pass of all examples."""
    monkeypatch.setattr(one_batch, "_SMALL", 0)
    monkeypatch.setattr(one_batch, "_SHARE", 0)


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


@pytest.mark.usefixtures("divided")
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


class Counting(nn.Module):
    """Notes the sizes of its batches, but for those of the passes that try it out."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[int] = []
        self.layers = Branches()

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        if len(x) > 2:
            self.passes.append(len(x))
        return self.layers(x.flatten(0, -2) * scale)


def check_statistics_of(data: list[Tensor], inputs: list[object], passes: list[int]) -> None:
    """Compare with all examples, flattened, and count the passes."""
    space = ParameterSpace(Counting().double())
    batches = [(each, x[..., 0]) for each, x in zip(inputs, data, strict=True)]
    found = reestimate(space, space.vector(), batches)
    assert space.module.passes == passes
    every = torch.cat([x.flatten(0, -2) for x in data])
    for name, value in given_in_evaluation(space, found.buffers, every).items():
        torch.testing.assert_close(found.buffers[name], value)


def test_tensors_in_dicts_and_tuples_are_joined() -> None:
    data = [torch.randn(size, 4, generator=generator(), dtype=torch.float64) for size in (3, 5, 4)]
    check_statistics_of(data, [{"x": x, "scale": 1.0} for x in data], [12])
    check_statistics_of(data, [(x, torch.ones(len(x), 1)) for x in data], [12])


def test_inputs_that_cannot_be_joined_pass_once_for_each_layer() -> None:
    """Other shapes, numbers that differ, and tensors without a row for each example."""
    shapes = [(3, 4), (3, 2, 4), (4, 2, 4)]
    data = [torch.randn(shape, generator=generator(), dtype=torch.float64) for shape in shapes]
    passes = (3 + 1) * [3, 3, 4]  # three layers, and the outputs
    check_statistics_of(data, list(data), passes)
    check_statistics_of(data, [{"x": x} for x in data], passes)
    alike = [x.reshape(-1, 4) for x in data]
    passes = (3 + 1) * [3, 6, 8]
    signs = [1.0, 1.0, -1.0]
    scaled = [{"x": sign * x, "scale": sign} for sign, x in zip(signs, alike, strict=True)]
    check_statistics_of(alike, list(scaled), passes)
    check_statistics_of(alike, [(x, torch.ones(())) for x in alike], passes)


def test_one_batch_that_cannot_be_divided_passes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it holds, and however little memory there is."""
    layer_by_layer(monkeypatch)
    monkeypatch.setattr(one_batch, "spare", lambda _: 0)
    x = torch.randn(9, 4, generator=generator(), dtype=torch.float64)
    check_statistics_of([x], [(x, torch.ones(()))], [9])


def test_a_layer_that_is_called_twice_has_the_statistics_of_both_inputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At its second call it has those of the first alone, however the data are divided."""
    twice = nn.BatchNorm1d(4).double()
    space = ParameterSpace(nn.Sequential(twice, nn.Tanh(), twice))
    x, _ = joined(classification())
    normalised = (x - x.mean(0)) / (x.var(0) + twice.eps).sqrt()
    both = torch.cat([x, normalised.tanh()])
    for _ in range(2):
        found = reestimate(space, space.vector(), classification())
        assert found.outputs is None
        torch.testing.assert_close(found.buffers["0.running_mean"], both.mean(0))
        torch.testing.assert_close(found.buffers["0.running_var"], both.var(0))
        layer_by_layer(monkeypatch)


@pytest.mark.usefixtures("divided")
def test_a_network_that_catches_exceptions_has_its_statistics_too() -> None:
    class Catching(Branches):
        def forward(self, inputs: Tensor) -> Tensor:
            try:
                return super().forward(inputs)
            except Exception:
                return torch.zeros(len(inputs), 3)

    x, _ = joined(classification())
    space = ParameterSpace(Catching().double())
    found = reestimate(space, space.vector(), classification())
    for name, value in given_in_evaluation(space, found.buffers, x).items():
        torch.testing.assert_close(found.buffers[name], value)


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_of_the_network_is_raised_and_leaves_nothing_behind(
    error: type[BaseException],
) -> None:
    class Failing(Branches):
        def forward(self, inputs: Tensor) -> Tensor:
            outputs = super().forward(inputs)
            if len(inputs) > 2:
                raise error("in the network")
            return outputs

    space = ParameterSpace(Failing().double())
    before = space.buffers()
    with pytest.raises(error, match="in the network"):
        reestimate(space, space.vector(), classification())
    for name, value in space.buffers().items():
        assert torch.equal(value, before[name])
    assert not any(layer._forward_pre_hooks for layer in space.module.modules())


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
