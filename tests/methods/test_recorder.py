"""Weights kept along a training."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import landscape as ls
from landscape.errors import InputError, TrainingError
from landscape.methods import MAP, SWAG, VI, Ensemble, Recorder
from landscape.posteriors import from_training, from_weights


def counts(recorder: Recorder) -> list[int]:
    return [int(file.stem.partition("-")[2]) for file in recorder.files()]


@pytest.mark.parametrize("most", [2, 3, 5, 8])
def test_the_files_are_bounded_evenly_spread_and_reach_to_the_present(
    most: int, tmp_path: Path
) -> None:
    recorder, network = Recorder(tmp_path, every=3, most=most), nn.Linear(1, 1)
    for step in range(100):
        recorder(step, network)
        steps = counts(recorder)
        assert len(steps) <= most
        gaps = {after - before for before, after in pairwise(steps)}
        assert steps[0] == 0
        assert len(gaps) <= 1  # evenly spread
        assert step - steps[-1] < max(gaps, default=3) * 2
    assert step - steps[-1] < 2 * 100 / (most - 1)
    recorder(99, network, last=True)
    assert counts(recorder)[-1] == 99


def digits() -> Any:
    return ls.tasks.load("digits", shots=5, seed=0)


def network(task: Any) -> nn.Module:
    return ls.models.build("mlp", task, seed=0, widths=[4])


def test_fit_records_the_weights_of_its_steps(tmp_path: Path) -> None:
    task = digits()
    method = MAP(epochs=3, batch_size=10)  # 5 steps an epoch
    posterior = method.fit(
        network(task), task, recorder=Recorder(tmp_path / "steps", every=4), device="cpu"
    )
    path = from_training(network(task), tmp_path / "steps", calibration=task.train)
    assert path.counts == (0, 4, 8, 12, 15)
    assert torch.equal(path.sample(5)[0], ls.ParameterSpace(network(task)).vector())
    assert torch.equal(path.sample(5)[-1], posterior.mean)
    recorder = Recorder(tmp_path / "epochs", unit="epochs")
    method.fit(network(task), task, recorder=recorder, device="cpu")
    epochs = from_training(network(task), tmp_path / "epochs", calibration=task.train)
    assert (epochs.counts, epochs.unit) == ((0, 1, 2, 3), "epochs")
    first = MAP(epochs=3, batch_size=10, patience=0)
    seen: list[torch.Tensor] = []
    space = ls.ParameterSpace(network(task))
    problem = ls.methods.Problem(space, task.loss, len(task.train), 15, 5)
    state = first.init(problem, seed=0)  # the loop of the documentation
    for inputs, targets in task.train.shuffled(10, state.order):
        seen.append(first.step(state, (inputs, targets)).mean.clone())
    assert torch.equal(path.sample(5)[1], seen[3])


@pytest.mark.parametrize("method", [SWAG(epochs=6, rank=0), VI(epochs=2)], ids=["swag", "vi"])
def test_it_is_the_iterate_or_the_mean_that_is_kept(method: Any, tmp_path: Path) -> None:
    task = digits()
    posterior = method.fit(network(task), task, recorder=Recorder(tmp_path), device="cpu")
    path = from_training(network(task), tmp_path)
    is_mean = torch.equal(path.sample(len(path.counts))[-1], posterior.mean)
    assert is_mean == isinstance(method, VI)


def test_an_interrupted_training_keeps_the_same_files(tmp_path: Path) -> None:
    task, method = digits(), MAP(epochs=4, batch_size=10)
    model = network(task)
    method.fit(model, task, recorder=Recorder(tmp_path / "one", every=2, most=5), device="cpu")

    def stop(epoch: int, *_: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    def fit(**more: Any) -> None:
        recorder = Recorder(tmp_path / "two", every=2, most=5)
        file = tmp_path / "checkpoint.safetensors"
        method.fit(model, task, recorder=recorder, checkpoint=file, device="cpu", **more)

    with pytest.raises(KeyboardInterrupt):
        fit(progress=stop)
    fit()
    one, two = (from_training(model, tmp_path / name) for name in ("one", "two"))
    assert one.counts == two.counts
    assert torch.equal(one.sample(len(one.counts)), two.sample(len(two.counts)))


def test_another_training_is_not_mixed_in(tmp_path: Path) -> None:
    task, model = digits(), nn.Linear(1, 1)
    own = Recorder(tmp_path)
    own(0, model)
    own(1, model)
    with pytest.raises(InputError, match="holds the weights of another training"):
        Recorder(tmp_path)(0, model)
    with pytest.raises(InputError, match="holds the weights of another training"):
        MAP(epochs=1).fit(network(task), task, recorder=Recorder(tmp_path), device="cpu")
    Recorder(tmp_path)(1, model)  # continues at step 1
    Recorder(tmp_path, overwrite=True)(0, model)
    assert counts(own) == [0]


def test_bad_requests_are_one_line(tmp_path: Path) -> None:
    task = digits()
    for settings, message in (
        ({"every": 0}, "interval"),
        ({"most": 1}, "number of files"),
        ({"unit": "hours"}, "steps, epochs"),
    ):
        with pytest.raises(InputError, match=message):
            Recorder(tmp_path, **settings)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="each of its networks has a trajectory of its own"):
        Ensemble(epochs=1, members=2).fit(network(task), task, recorder=Recorder(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"):
        Recorder(tmp_path / "file")(0, nn.Linear(1, 1))


def test_tied_weights_are_recorded_under_both_names(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
            self.second.weight = self.first.weight
            self.head = nn.Linear(64, 10)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.head(self.second(self.first(inputs.flatten(1)).tanh()))

    torch.manual_seed(0)
    task, model = digits(), Tied()
    posterior = MAP(epochs=1).fit(model, task, recorder=Recorder(tmp_path), device="cpu")
    last = from_weights(Tied(), [Recorder(tmp_path).files()[-1]])
    assert torch.equal(last.mean, posterior.mean)


def test_a_training_that_diverges_leaves_its_weights(tmp_path: Path) -> None:
    task = digits()
    with pytest.raises(TrainingError):
        MAP(epochs=20, learning_rate=1e6).fit(
            network(task), task, recorder=Recorder(tmp_path), device="cpu"
        )
    assert Recorder(tmp_path).files()
