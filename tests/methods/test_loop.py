"""The shared training loop: what every method does alike."""

import copy
import math
from typing import Any

import pytest
import torch
from problems import blobs, network
from torch import Tensor, nn

from landscape import methods
from landscape.errors import InputError, TrainingError
from landscape.methods import (
    ASAM,
    BSAM,
    FPBMA,
    FSAM,
    FSWAG,
    IVON,
    MAP,
    MOPED,
    SAM,
    SGHMC,
    SGLD,
    SWAG,
    VI,
    CyclicalSGLD,
    Ensemble,
    EntropyMCMC,
    Laplace,
    Method,
    MoLA,
    PretrainYourLoss,
)
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Posterior, isotropic
from landscape.tasks import Data, Task

METHODS = [
    MAP(epochs=8, batch_size=7),
    SAM(epochs=8, batch_size=7),
    ASAM(epochs=8, batch_size=7),
    FSAM(epochs=8),
    BSAM(epochs=8),
    SWAG(epochs=8, rank=2, batch_size=7),
    FSWAG(epochs=8, rank=2),
    FPBMA(epochs=8),
    IVON(epochs=8),
    VI(epochs=8),
    MOPED(epochs=8),
    SGLD(epochs=8),
    SGHMC(epochs=8),
    CyclicalSGLD(epochs=8, cycles=2, samples_per_cycle=2, exploration=0.5),
    EntropyMCMC(epochs=8, eta=0.1),
    PretrainYourLoss(epochs=8, cycles=2, samples_per_cycle=2, exploration=0.5),
    Ensemble(epochs=8, members=3),
    Laplace(epochs=8, structure="diagonal"),
    MoLA(epochs=8, members=2),
]
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def fit(method: Method[Any], model: nn.Module, task: Task, **more: Any) -> Posterior:
    """With a narrow prior around the model, which FP-BMA needs and the others start from."""
    space = ParameterSpace(model, more.get("parameters"))
    prior = isotropic(model, 0.02, mean=space.vector(), parameters=more.get("parameters"))
    return method.fit(model, task, prior=prior, device="cpu", **more)


@each_method
def test_a_method_learns(method: Method[Any]) -> None:
    task = blobs()
    posterior = fit(method, network(), task)
    history = posterior.history
    assert history["epoch"] == list(range(1, 9))
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert {len(values) for values in history.values()} == {8}
    assert posterior.method == method.name
    assert posterior.settings["batch_size"] == method.batch_size


@each_method
def test_one_seed_governs_everything(method: Method[Any]) -> None:
    model = network(dropout=0.3)
    same = [fit(method, model, blobs(), seed=5).sample(2, 1) for _ in range(2)]
    assert torch.equal(*same)
    assert not torch.equal(same[0], fit(method, model, blobs(), seed=6).sample(2, 1))


@each_method
def test_a_caller_who_has_switched_gradients_off_trains_all_the_same(method: Method[Any]) -> None:
    expected = fit(method, network(normalisation=True), blobs()).sample(2, 1)
    with torch.inference_mode():
        found = fit(method, network(normalisation=True), blobs()).sample(2, 1)
    assert torch.equal(found, expected)


@each_method
def test_the_users_model_and_generator_are_left_alone(method: Method[Any]) -> None:
    model = network(normalisation=True, dropout=0.5).eval()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(0)
    state = torch.get_rng_state()
    fit(method, model, blobs())
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@each_method
def test_parameters_that_are_not_random_stay(method: Method[Any]) -> None:
    model = network()
    posterior = fit(method, model, blobs(), parameters=lambda name, _: name.startswith("4."))
    assert posterior.space.names == ("4.weight", "4.bias")
    assert torch.equal(posterior.space.module.get_parameter("0.weight"), model[0].weight)
    model[0].requires_grad_(False)
    assert fit(method, model, blobs()).space.names == ("4.weight", "4.bias")


@each_method
def test_double_precision_stays_double(method: Method[Any]) -> None:
    posterior = fit(method, network().double(), blobs(dtype=torch.float64))
    assert posterior.sample(1).dtype == torch.float64


@each_method
def test_one_example_and_one_class(method: Method[Any]) -> None:
    data = Data(torch.ones(1, 2), torch.zeros(1, dtype=torch.long))
    task = Task("one", data, data, data, ("0", "1"))
    posterior = fit(method, nn.Linear(2, 2), task)
    assert math.isfinite(posterior.history["train_loss"][-1])
    with pytest.raises(InputError, match="one output is no choice between classes"):
        fit(method, nn.Linear(2, 1), Task("one", data, data, data, ("0",)))


@each_method
def test_batch_normalisation_gets_statistics_for_every_sample(method: Method[Any]) -> None:
    task = blobs()
    posterior = fit(method, network(normalisation=True), task)
    w = posterior.sample(1)[0]
    hidden = nn.functional.linear(task.train.inputs, *_first_layer(posterior, w))
    torch.testing.assert_close(posterior.buffers(w)["1.running_mean"], hidden.mean(0))


def _first_layer(posterior: Posterior, w: Tensor) -> tuple[Tensor, Tensor]:
    values = posterior.space.unflatten(w)
    return values["0.weight"], values["0.bias"]


def test_a_batch_too_small_to_normalise_is_one_line() -> None:
    with pytest.raises(InputError, match="a batch of one example has no statistics"):
        fit(MAP(epochs=1, batch_size=29), network(normalisation=True), blobs())


@each_method
def test_divergence_stops_with_the_epoch(method: Method[Any]) -> None:
    data = Data(torch.full((4, 2), torch.nan), torch.zeros(4, dtype=torch.long))
    task = Task("nan", data, data, data, ("0", "1", "2"))
    with pytest.raises(TrainingError, match=f"{method.name}: training diverged in epoch 1 of 8"):
        fit(method, network(), task)


def test_tied_weights_are_one_parameter() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
            self.second.weight = self.first.weight
            self.head = nn.Linear(2, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.second(self.first(inputs).tanh()).tanh())

    posterior = fit(FPBMA(epochs=3), Tied(), blobs())
    assert posterior.space.size == 4 + 2 + 2 + 9


def test_a_step_counts_by_examples_in_the_ragged_last_batch() -> None:
    task = blobs(10)
    posterior = MAP(epochs=1, batch_size=4, learning_rate=1e-12).fit(network(), task)
    with torch.no_grad():
        logits = network()(task.train.inputs)
    truth = float(nn.functional.cross_entropy(logits, task.train.targets))
    assert posterior.history["train_loss"][0] == pytest.approx(truth, rel=1e-6)


def test_the_rate_rises_linearly_and_falls_along_a_cosine() -> None:
    method = MAP(learning_rate=1.0, warmup=0.1)
    rates = [method.rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 1e-3
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_bad_requests_are_refused_before_training() -> None:
    task, steps = blobs(), []
    record = lambda *arguments: steps.append(arguments)  # noqa: E731
    empty = Data(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    cases: list[tuple[nn.Module, Task, str]] = [
        (nn.Linear(3, 3), task, "does not take inputs of shape"),
        (nn.Linear(2, 2), task, "labels run from 0 to 2, but the model has 2 outputs"),
        (nn.Sequential(nn.Linear(2, 3), nn.Flatten(0)), task, "returns logits"),
        (network(), Task("empty", empty, empty, empty, ()), "no training example"),
    ]
    for model, on, message in cases:
        with pytest.raises(InputError, match=message):
            MAP().fit(model, on, progress=record)
    assert steps == []
    with pytest.raises(InputError, match="device 'tpu9'"):
        MAP().fit(network(), task, device="tpu9")


def test_methods_are_made_by_name() -> None:
    assert methods.create("fp-bma", radius=0.5) == FPBMA(radius=0.5)
    with pytest.raises(InputError, match="unknown method 'sam2'; known: map, sam, "):
        methods.create("sam2")
    with pytest.raises(InputError, match="method 'map' has no setting 'rank'; it has epochs"):
        methods.create("map", rank=5)
    for settings in ({"epochs": 0}, {"learning_rate": -1.0}, {"momentum": 1.0}, {"warmup": 1.0}):
        with pytest.raises(InputError, match=next(iter(settings))):
            MAP(**settings)
