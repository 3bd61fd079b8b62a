"""Training that is interrupted, stopped early, or done in pieces."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import Shared
from problems import Noted, blobs, jittered, network, noted
from test_loop import METHODS, fit
from torch import nn

from landscape.errors import InputError, TrainingError
from landscape.methods import BSAM, FPBMA, MAP, SAM, SWAG, VI, Method, Problem
from landscape.methods.checkpoint import Checkpoint
from landscape.methods.state import descend
from landscape.objective.parameters import ParameterSpace
from landscape.tasks import Data, Task


def interrupt(at: int) -> Any:
    """A progress callback that stops training after an epoch, as Ctrl-C would."""

    def progress(epoch: int, epochs: int, record: object) -> None:
        if epoch == at:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_an_interrupted_training_ends_at_the_same_weights(
    method: Method[Any], tmp_path: Path
) -> None:
    model, path = network(normalisation=True, dropout=0.3), tmp_path / "checkpoint"
    whole = fit(method, model, blobs(), seed=3)
    for at in (2, 5, 7):  # the last time after the collection of samples has begun
        with pytest.raises(KeyboardInterrupt):
            fit(method, model, blobs(), seed=3, checkpoint=path, progress=interrupt(at))
    resumed = fit(method, model, blobs(), seed=3, checkpoint=path)
    assert torch.equal(resumed.sample(2, 1), whole.sample(2, 1))
    for name, values in whole.history.items():
        if name != "seconds":
            assert resumed.history[name] == values, name
    finished = fit(method, model, blobs(), seed=3, checkpoint=path, progress=interrupt(8))
    assert torch.equal(finished.sample(2, 1), whole.sample(2, 1))


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    MAP(epochs=2).fit(network(), blobs(), checkpoint=path)
    for method, task, more, message in (
        (MAP(epochs=3), blobs(), {}, "epochs was 2 there and is 3 now"),
        (SWAG(epochs=12), blobs(), {}, "method was map there and is swag now"),
        (MAP(epochs=2), blobs(31), {}, "data was"),
        (MAP(epochs=2), blobs(), {"seed": 1}, "seed was 0 there and is 1 now"),
        (MAP(epochs=2), blobs(), {"parameters": ["4.bias"]}, "parameters was"),
    ):
        with pytest.raises(InputError, match=message):
            method.fit(network(), task, checkpoint=path, **more)
    torch.manual_seed(1)
    other = nn.Sequential(*[nn.Linear(2, 8), nn.Identity(), nn.Tanh(), nn.Identity()])
    other.append(nn.Linear(8, 3))
    with pytest.raises(InputError, match="initial weights was"):
        MAP(epochs=2).fit(other, blobs(), checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot read"):
        MAP(epochs=2).fit(network(), blobs(), checkpoint=path)


@dataclass
class Earlier:
    """The state of MAP as it was before it had a velocity."""

    weights: torch.Tensor
    optimizer: torch.optim.Optimizer


@dataclass
class Now:
    weights: torch.Tensor
    velocity: torch.Tensor


def test_the_velocity_in_a_checkpoint_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    weights = torch.arange(3.0)
    optimizer = torch.optim.SGD([weights], lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(2):
        weights.grad = torch.ones(3) + weights.square()
        optimizer.step()
    path, cpu = tmp_path / "checkpoint", torch.device("cpu")
    Checkpoint(path, {"seed": 0}).save(Earlier(weights, optimizer), 2, last=True)
    now = Now(torch.zeros(3), torch.zeros(3))
    Checkpoint(path, {"seed": 0}).restore(now, cpu)
    assert torch.equal(now.weights, weights)
    assert torch.equal(now.velocity, optimizer.state[weights]["momentum_buffer"])
    # and the next step is that of torch
    weights.grad = torch.ones(3) + weights.square()
    gradient = weights.grad.add(weights, alpha=0.01)
    descend(now.weights, now.velocity, gradient, rate=0.05, momentum=0.9)
    optimizer.param_groups[0]["lr"] = 0.05
    optimizer.step()
    assert torch.equal(now.weights, weights)


def test_divergence_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    data = Data(torch.randn(8, 2), torch.arange(8) % 3)
    task = Task("t", data, data, data, ("0", "1", "2"))
    path = tmp_path / "checkpoint"
    with pytest.raises(TrainingError, match=r"in epoch (\d+) of .*; epoch (\d+) is in") as found:
        MAP(epochs=200, learning_rate=100.0, weight_decay=1.0, warmup=0.9).fit(
            network(), task, checkpoint=path
        )
    assert str(path) in str(found.value)
    assert path.exists()


def test_early_stopping_takes_the_best_epoch_of_the_validation_set() -> None:
    task = blobs()
    wrong = Data(task.train.inputs, (task.train.targets + 1) % 3)  # gets worse as training goes on
    misled = Task("misled", task.train, wrong, task.test, task.classes)
    stopped = MAP(epochs=50, patience=3).fit(network(), misled)
    losses = stopped.history["validation_loss"]
    best = min(range(len(losses)), key=losses.__getitem__)
    assert len(losses) == best + 1 + 3 < 50
    logits = stopped.space.call(stopped.mean, wrong.inputs)
    found = nn.functional.cross_entropy(logits, wrong.targets)
    assert float(found) == pytest.approx(losses[best], rel=1e-6)
    with pytest.raises(InputError, match="patience must be 0"):
        SWAG(patience=3)
    none = Data(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    with pytest.raises(InputError, match="patience needs validation data"):
        MAP(patience=3).fit(network(), Task("t", task.train, none, none, task.classes))


@pytest.mark.parametrize("size", [1, 4, 30, 100])
def test_micro_batches_give_the_gradient_of_the_whole_batch(size: int) -> None:
    task = blobs(dtype=torch.float64)
    whole, parts = (
        MAP(epochs=2, micro_batch=micro).fit(network().double(), task) for micro in (0, size)
    )
    torch.testing.assert_close(parts.mean, whole.mean)


def test_bfloat16_is_inside_the_network_alone() -> None:
    task = blobs()
    problem = Problem(ParameterSpace(network()), task.loss, 30, 1, bfloat16=True)
    exact = Problem(ParameterSpace(network()), task.loss, 30, 1)
    batch = (task.train.inputs, task.train.targets)
    found = []
    for each in (problem, exact):
        state = MAP().init(each)
        found.append(state.loss_and_gradient(state.weights, batch))
    (loss, gradient), (truth, slope) = found
    assert gradient.dtype == torch.float32
    assert 0 < float((gradient - slope).norm() / slope.norm()) < 0.05
    assert float(loss) == pytest.approx(float(truth), rel=0.02)
    with pytest.raises(InputError, match="precision must be one of float32, bfloat16"):
        MAP(precision="half")


PROCESS = """
import os, pytest, sys, torch
sys.path.insert(0, sys.argv[1])
from dataclasses import dataclass, replace
from problems import Noted, blobs, jittered, network, noted
from torch import nn
from landscape.errors import InputError
from landscape.runtime import distributed
from landscape.methods import BSAM, FPBMA, MAP, SAM, VI
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import isotropic
task, model = blobs(31, dtype=torch.float64), network().double()
prior = isotropic(model, 0.02, mean=ParameterSpace(model).vector())
ends = {}
with distributed.started_by_torchrun("cpu"):
    for kind in (FPBMA, SAM, BSAM):
        found = kind(epochs=3, batch_size=10).fit(model, task, prior=prior, device="cpu")
        ends[kind.name] = {"mean": found.mean, "loss": found.history["train_loss"]}
    head = ["4.weight", "4.bias"]
    divided = VI(epochs=3, batch_size=10).fit(
        model, task, parameters=head, deterministic="train", device="cpu"
    )
    ends["rest"] = dict(divided.network().named_parameters())
    torch.save(ends, f"{sys.argv[2]}/ends-{distributed.rank()}.pt")
    torch.manual_seed(0)
    model, task = nn.Sequential(Noted(), nn.Linear(2, 3)), replace(blobs(31), augment=jittered)
    runs = []
    for _ in range(2):
        noted.clear()
        found = MAP(epochs=3, batch_size=10).fit(model, task, device="cpu")
        runs.append({"mean": found.mean, "noted": list(noted)})
    torch.save(runs, f"{sys.argv[2]}/dropout-{distributed.rank()}.pt")
# A thread of the group that outlives it may abort the interpreter when it ends.
tasks = os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else []
left = [name for each in tasks if "gloo" in (name := open(f"/proc/self/task/{each}/comm").read())]
assert not left, left
with pytest.raises(InputError, match="meet once"), distributed.started_by_torchrun("cpu"):
    pass
"""


@pytest.fixture(scope="module")
def two_processes(shared: Shared) -> Path:
    """What two processes have left that trained together."""

    def fill(folder: Path) -> None:
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def start(rank: int) -> subprocess.Popen[bytes]:
            group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 2, "RANK": rank}
            environment = os.environ | {name: str(value) for name, value in group.items()}
            arguments = [str(Path(__file__).parent), str(folder)]
            return subprocess.Popen([sys.executable, "-c", PROCESS, *arguments], env=environment)

        with start(0) as one, start(1) as two:
            try:
                assert (one.wait(120), two.wait(120)) == (0, 0)
            finally:  # either may wait for the other for ever
                one.kill()
                two.kill()

    return shared("two-processes", fill)


def test_two_processes_train_as_one(two_processes: Path) -> None:
    task, model = blobs(31, dtype=torch.float64), network().double()
    ends = [torch.load(two_processes / f"ends-{rank}.pt", weights_only=True) for rank in (0, 1)]
    for kind in (FPBMA, SAM, BSAM):
        alone = fit(kind(epochs=3, batch_size=10), model, task)
        for found in (end[kind.name] for end in ends):
            torch.testing.assert_close(found["mean"], alone.mean)
            assert found["loss"] == pytest.approx(alone.history["train_loss"])
    divided = VI(epochs=3, batch_size=10).fit(
        model, task, parameters=["4.weight", "4.bias"], deterministic="train", device="cpu"
    )
    for end in ends:
        for name, value in divided.network().named_parameters():
            torch.testing.assert_close(end["rest"][name], value.detach())


def test_each_of_two_processes_has_dropout_and_augmentation_of_its_own(two_processes: Path) -> None:
    files = [two_processes / f"dropout-{rank}.pt" for rank in (0, 1)]
    one, two = (torch.load(file, weights_only=True) for file in files)
    for first, again in (one, two):  # reproducible
        assert torch.equal(first["mean"], again["mean"])
        for before, after in zip(first["noted"], again["noted"], strict=True):
            assert all(map(torch.equal, before, after))
    assert torch.equal(one[0]["mean"], two[0]["mean"])
    (seen, masks), (others, theirs) = (zip(*run[0]["noted"], strict=True) for run in (one, two))
    # No mask of a process is another's, at the same step, at the next one or at any.
    drawn = [mask[:5].flatten().tolist() for mask in (*masks, *theirs) if len(mask) == 5]
    assert len(drawn) == 2 * 9
    assert len({tuple(mask) for mask in drawn}) == len(drawn)
    # Each step's inputs are those of one process, a share of them each.
    noted.clear()
    torch.manual_seed(0)
    model = nn.Sequential(Noted(), nn.Linear(2, 3))
    MAP(epochs=3, batch_size=10).fit(model, replace(blobs(31), augment=jittered), device="cpu")
    whole = [inputs for inputs, _ in noted]
    assert len(seen) == len(whole) == 12
    for batch, mine in zip(whole, seen, strict=True):
        torch.testing.assert_close(mine, batch[::2])
    for batch, mine in zip((b for b in whole if len(b) > 1), others, strict=True):
        torch.testing.assert_close(mine, batch[1::2])
