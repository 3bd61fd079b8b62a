"""Inferred parameters and all others by SGD at the same time, against each taken by itself."""

from pathlib import Path
from typing import Any

import pytest
import torch
from problems import blobs, network
from safetensors.torch import load_file
from test_loop import METHODS, fit
from test_resume import interrupt
from torch import Tensor, nn

from landscape import posteriors
from landscape.errors import InputError
from landscape.methods import MAP, SAM, SGLD, SWAG, VI, Laplace, Method, Problem
from landscape.methods.rest import JointSpace
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Posterior, isotropic
from landscape.prediction import predict
from landscape.tasks import Data, Task

TRAINING = [method for method in METHODS if method.trains_rest]
OTHERS = [method for method in METHODS if not method.trains_rest]
each_method = pytest.mark.parametrize("method", TRAINING, ids=lambda method: method.name)


def of_head(name: str, parameter: nn.Parameter) -> bool:
    return name.startswith("4.")


def begun(method: Method[Any], steps: int = 10) -> tuple[Any, tuple[Tensor, Tensor], nn.Module]:
    """A state in which the head is inferred and the rest trained; a batch; and the network."""
    model, task = network().double(), blobs(dtype=torch.float64)
    space = ParameterSpace(model, of_head)
    problem = Problem(space, task.loss, 30, steps, joint=JointSpace(model, space))
    prior = isotropic(model, 0.2, mean=space.vector(), parameters=of_head)
    state = method.init(problem, prior=prior, seed=3)
    return state, (task.train.inputs[:9], task.train.targets[:9]), model


def flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def test_the_methods_that_train_the_rest_are_known() -> None:
    assert {"bsam", "ivon", "cyclical-sgld", "ptl", "ensemble"} <= {m.name for m in OTHERS}
    trained = {"map", "sam", "laplace", "swag", "f-swag", "vi", "moped", "fp-bma", "sgld", "sghmc"}
    assert trained <= {method.name for method in TRAINING}


@pytest.mark.parametrize("noises", [1, 3])
def test_a_step_is_one_of_vi_on_the_part_and_one_of_sgd_on_the_rest(noises: int) -> None:
    method = VI(initial_scale=0.1, beta=0.5, noise_samples=noises)
    state, (inputs, targets), model = begun(method)
    space = ParameterSpace(model, of_head)  # VI alone sees the rest as SGD has left it
    prior = isotropic(model, 0.2, mean=space.vector(), parameters=of_head)
    alone = method.init(Problem(space, "cross_entropy", 30, 10), prior=prior, seed=3)
    first = model[0]  # type: ignore[index]
    by_sgd = torch.optim.SGD(first.parameters(), lr=1.0, momentum=0.9)
    draws, passes = torch.Generator().manual_seed(3), []
    for used in (state.problem.joint.space, state.problem.space):
        used.module.register_forward_hook(lambda *_: passes.append(1))
    for step in range(3):
        method.step(state, (inputs, targets))
        q, total = alone.gaussian, torch.zeros(())
        for noise in [q.noise(draws) for _ in range(noises)]:
            weight, bias = q.transform(noise).split([24, 3])
            outputs = nn.functional.linear(first(inputs).tanh(), weight.view(3, 8), bias)
            total = total + nn.functional.cross_entropy(outputs, targets) / noises
        method.step(alone, (inputs, targets))
        by_sgd.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        by_sgd.param_groups[0]["lr"] = method.rate(step, 10)
        by_sgd.step()
        for name in ("weight", "bias"):
            space.module.get_parameter(f"0.{name}").copy_(first.get_parameter(name).detach())
        torch.testing.assert_close(state.mean, alone.mean)
        torch.testing.assert_close(state.log_scale, alone.log_scale)
        torch.testing.assert_close(state.rest.values, flat(first))
    assert not torch.equal(alone.log_scale, alone.log_scale[:1].expand(27))
    assert len(passes) == 3 * noises  # one pass gives both gradients


def test_with_a_ball_the_rest_moves_along_the_gradient_at_the_worst_place() -> None:
    method = SAM(radius=0.3, weight_decay=0.1, momentum=0.0)
    state, batch, model = begun(method)
    first, _, _, _, head = model

    def loss() -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    start, own = flat(head), flat(first)
    slopes = torch.autograd.grad(loss(), list(head.parameters()))
    length = torch.cat([slope.reshape(-1) for slope in slopes]).norm()
    with torch.no_grad():
        for parameter, slope in zip(head.parameters(), slopes, strict=True):
            parameter += 0.3 * slope / length
    worst = torch.autograd.grad(loss(), [*head.parameters(), *first.parameters()])
    of_head, of_rest = (torch.cat([w.reshape(-1) for w in part]) for part in (worst[:2], worst[2:]))
    method.step(state, batch)
    rate = method.rate(0, 10)
    torch.testing.assert_close(state.mean, start - rate * (of_head + 0.1 * start))
    torch.testing.assert_close(state.rest.values, own - rate * (of_rest + 0.1 * own))


@pytest.mark.parametrize(
    "method",
    [
        MAP(epochs=8, batch_size=7, weight_decay=0.01),
        SWAG(epochs=8, batch_size=7, rank=2, weight_decay=0.01),
        SGLD(epochs=8, batch_size=7, temperature=0.0, prior_scale=0.5),
    ],
    ids=lambda method: method.name,
)
def test_descent_of_part_and_rest_is_that_of_all_parameters(method: Method[Any]) -> None:
    model, task = network(normalisation=True, dropout=0.3), blobs()
    shared: dict[str, Any] = {"seed": 4, "device": "cpu"}
    complete = method.fit(model, task, **shared)
    divided = method.fit(model, task, parameters=of_head, deterministic="train", **shared)
    assert divided.space.names == ("4.weight", "4.bias")
    expected = dict(complete.network().named_parameters())
    for name, value in divided.network().named_parameters():
        torch.testing.assert_close(value, expected[name])
    for name in ("train_loss", "validation_loss"):
        assert divided.history[name] == pytest.approx(complete.history[name], rel=1e-5)


@each_method
def test_with_all_parameters_inferred_there_is_no_rest(method: Method[Any]) -> None:
    frozen = fit(method, network(), blobs(), seed=2)
    trained = fit(method, network(), blobs(), seed=2, deterministic="train")
    assert torch.equal(trained.sample(2, 1), frozen.sample(2, 1))


@each_method
def test_an_interrupted_training_ends_at_the_same_rest(method: Method[Any], tmp_path: Path) -> None:
    model, path = network(normalisation=True, dropout=0.3), tmp_path / "checkpoint"
    more: dict[str, Any] = {"seed": 3, "parameters": of_head, "deterministic": "train"}
    complete = fit(method, model, blobs(), **more)
    for at in (3, 6):
        with pytest.raises(KeyboardInterrupt):
            fit(method, model, blobs(), checkpoint=path, progress=interrupt(at), **more)
    resumed = fit(method, model, blobs(), checkpoint=path, **more)
    assert torch.equal(resumed.sample(2, 1), complete.sample(2, 1))
    for name in ("0.weight", "1.bias"):
        trained = complete.space.module.get_parameter(name)
        assert torch.equal(resumed.space.module.get_parameter(name), trained)
        assert not torch.equal(model.get_parameter(name), trained)


@each_method
def test_the_posterior_of_a_loop_of_ones_own_has_the_rest_of_its_mean(method: Method[Any]) -> None:
    state, batch, model = begun(method, steps=8)
    seen = []
    for _ in range(8):
        method.step(state, batch)
        seen.append(state.rest.values.clone())
    expected = seen[-1]
    if state.rest.count:  # the second half of the steps are snapshots or samples
        expected = torch.stack(seen[4:]).mean(0)
    posterior = method.posterior(state)
    rest = flat(posterior.space.module[0])  # type: ignore[index]
    torch.testing.assert_close(rest, expected)
    assert torch.equal(flat(posterior.network()[0]), rest)  # type: ignore[index]
    assert torch.equal(flat(state.problem.space.module[0]), flat(model[0]))  # type: ignore[index]


def test_a_posterior_from_a_file_predicts_with_the_trained_rest(tmp_path: Path) -> None:
    task, model = blobs(), network()
    q = VI(epochs=8).fit(model, task, parameters=of_head, deterministic="train", device="cpu")
    path = q.save(tmp_path / "vi.safetensors")
    loaded = posteriors.load(path, network())
    module = network()
    rest = {f"0.{name}": load_file(path)[f"module/0.{name}"] for name in ("weight", "bias")}
    module.load_state_dict({**q.space.unflatten(q.sample(1, 5)[0]), **rest})
    with torch.no_grad():
        expected = module(task.test.inputs).log_softmax(1)
    for posterior in (q, loaded):
        predicted = predict(posterior, task.test, samples=1, seed=5).log_probabilities[0]
        torch.testing.assert_close(predicted, expected)
    assert not torch.equal(rest["0.weight"], model.state_dict()["0.weight"])


def test_early_stopping_takes_the_rest_of_the_best_epoch() -> None:
    task = blobs()
    wrong = Data(task.train.inputs, (task.train.targets + 1) % 3)
    misled = Task("misled", task.train, wrong, task.test, task.classes)
    method = MAP(epochs=50, patience=3)
    q = method.fit(network(), misled, parameters=of_head, deterministic="train", device="cpu")
    losses = q.history["validation_loss"]
    assert len(losses) == losses.index(min(losses)) + 1 + 3 < 50
    logits = q.space.call(q.mean, wrong.inputs)
    loss = float(nn.functional.cross_entropy(logits, wrong.targets))
    assert loss == pytest.approx(min(losses), rel=1e-6)


def test_laplace_puts_its_gaussian_around_the_point_with_the_trained_rest() -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    more: dict[str, Any] = {"parameters": of_head, "deterministic": "train", "device": "cpu"}
    point = MAP(epochs=4).fit(model, task, **more)
    direct = Laplace(epochs=4).fit(model, task, **more)
    around = Laplace().around(point, task.train)
    torch.testing.assert_close(
        direct.gaussian.covariance_product(direct.mean),
        around.gaussian.covariance_product(around.mean),
    )
    assert torch.equal(flat(direct.space.module[0]), flat(point.space.module[0]))  # type: ignore[index]


def test_the_padding_of_an_embedding_stays() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(4, 3, padding_idx=0)
            self.head = nn.Linear(3, 2)
            with torch.no_grad():
                self.words.weight[0] = 7.0

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.words(inputs).sum(1))

    data = Data(torch.tensor([[1, 0], [2, 3], [1, 1], [3, 0]]), torch.tensor([0, 1, 0, 1]))
    task, model = Task("words", data, data, data, ("0", "1")), Words()
    names = ["head.weight", "head.bias"]
    q = MAP(epochs=2).fit(model, task, parameters=names, deterministic="train", device="cpu")
    trained = q.space.module.get_parameter("words.weight")
    assert trained[0].tolist() == [7.0] * 3
    assert not torch.equal(trained[1:], model.words.weight[1:])


@pytest.mark.parametrize("method", OTHERS, ids=lambda method: method.name)
def test_a_method_that_trains_no_rest_says_so(method: Method[Any]) -> None:
    with pytest.raises(InputError, match=f"^{method.name} trains the parameters that it infers"):
        fit(method, network(), blobs(), parameters=of_head, deterministic="train")


def test_bad_requests_are_one_line(tmp_path: Path) -> None:
    def train(model: nn.Module, deterministic: str, **more: Any) -> Posterior:
        names = ["4.weight", "4.bias"]
        return MAP(epochs=2).fit(
            model, blobs(), parameters=names, deterministic=deterministic, device="cpu", **more
        )

    with pytest.raises(InputError, match="deterministic must be one of freeze, train, not 'sgd'"):
        train(network(), "sgd")
    model = network()
    model[0].requires_grad_(False)  # type: ignore[index]
    with pytest.raises(InputError, match="nothing to train: none of the parameters"):
        train(model, "train")
    for first, second in (("freeze", "train"), ("train", "freeze")):
        path = tmp_path / first
        train(network(), first, checkpoint=path)
        with pytest.raises(InputError, match=r"parameters was .*'deterministic'"):
            train(network(), second, checkpoint=path)
    other = network()
    with torch.no_grad():
        other[0].bias += 1  # type: ignore[index]
    for deterministic in ("freeze", "train"):  # another backbone is another training
        with pytest.raises(InputError, match="initial weights was"):
            train(other, deterministic, checkpoint=tmp_path / deterministic)
