"""The study of transfer on the digits: it goes on where it was, and its tables are of its runs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TINY, silent

from landscape import methods, models, predict, tasks, workflow
from landscape.cli import main
from landscape.errors import InputError
from landscape.models.pretrained import divide
from landscape.objective.parameters import ParameterSpace
from landscape.objective.subsets import head
from landscape.posteriors import Point, Posterior
from landscape.store import Run
from landscape.study import study
from landscape.study.plan import FIRST_TUNING_SEED
from landscape.study.transfer import PROBLEMS, ROWS, Study, features
from landscape.tasks import Data, Task

BUDGET = replace(TINY, epochs=2, samples=2, measured=1)
ONLY = ["sgd", "moped-radius-0"]
ARGUMENTS: dict[str, Any] = {"task": "digits", "only": ONLY, "progress": silent}


class Watched:
    """``workflow.train`` that records its trainings, and is interrupted after ``most`` of them."""

    def __init__(self, most: int = 1000) -> None:
        self.names: list[str] = []
        self.most = most
        self.original = workflow.train

    def __call__(self, path: Path, task: Any, *args: Any, **more: Any) -> Any:
        if len(self.names) == self.most:
            raise KeyboardInterrupt
        is_tuning = path.parent.name == "tuning"
        assert torch.equal(task.test.inputs, task.validation.inputs) == is_tuning
        assert (more["seed"] >= FIRST_TUNING_SEED) == is_tuning
        self.names.append(path.stem)
        return self.original(path, task, *args, **more)


@dataclass(frozen=True)
class Done:
    """A finished study that was interrupted once.

    Attributes:
        folder: Its folder.
        before: Trainings before the interruption.
        after: Trainings after it.
        page: Its page at the interruption.
    """

    folder: Path
    before: list[str]
    after: list[str]
    page: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder, watched = tmp_path_factory.mktemp("transfer"), Watched(most=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workflow, "train", watched)
        with pytest.raises(KeyboardInterrupt):
            study("transfer", folder, BUDGET, **ARGUMENTS)
        before, page = list(watched.names), (folder / "transfer.md").read_text()
        watched.most = 1000
        study("transfer", folder, BUDGET, **ARGUMENTS)
    return Done(folder, before, watched.names[4:], page)


@pytest.fixture
def folder(done: Done) -> Path:
    return done.folder


def test_it_goes_on_where_it_was_interrupted(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    tuning = [f"sgd-rate{rate}-seed{FIRST_TUNING_SEED}" for rate in Study.rates]
    assert done.before == [*tuning, "sgd-seed0"]
    assert "| sgd | 1 |" in done.page
    # All rows of a seed come before the next seed.
    assert done.after == ["moped-radius-0-seed0", "sgd-seed1", "moped-radius-0-seed1"]
    monkeypatch.setattr(workflow, "train", Watched(most=0))
    monkeypatch.setattr(workflow, "measure_curvature", None)
    tables = study("transfer", done.folder, BUDGET, **ARGUMENTS)
    page = (done.folder / "transfer.md").read_text()
    assert all(table.markdown() in page for table in tables)
    assert f"Of {2 * len(ROWS)} trainings ({len(ROWS)} rows, 2 seeds) 4 are finished" in page


def test_its_tables_are_those_of_the_run_files(folder: Path) -> None:
    results, differences = study("transfer", folder, BUDGET, **ARGUMENTS)
    runs = {
        name: [Run.open(folder / "runs" / f"{name}-seed{seed}.h5") for seed in (0, 1)]
        for name in ONLY
    }
    nll = {
        name: np.array([float(run.attributes_of("predictions")["nll"]) for run in of_row])
        for name, of_row in runs.items()
    }
    assert [row[:2] for row in results.rows] == [(name, "2") for name in ONLY]
    column = results.columns.index("NLL")
    for row in results.rows:
        mean, deviation = map(float, row[column].split(" +- "))
        assert mean == pytest.approx(nll[row[0]].mean(), rel=6e-3)
        assert deviation == pytest.approx(nll[row[0]].std(ddof=1), rel=6e-2, abs=1e-5)
    column = results.columns.index("lambda_1")
    for row in results.rows:
        values = [run.read("samples", "eigenvalues")["eigenvalues"][0, 0] for run in runs[row[0]]]
        assert float(row[column].split(" +- ")[0]) == pytest.approx(np.mean(values), rel=6e-3)
    (row,) = differences.rows
    assert row[:2] == ("moped-radius-0 minus sgd", "2")
    expected = (nll["moped-radius-0"] - nll["sgd"]).mean()
    shown = float(row[differences.columns.index("NLL")].split(" [")[0])
    assert shown == pytest.approx(expected, rel=0.06, abs=1e-4)
    assert not any("paper" in name for name in results.columns)  # it has no digits


def test_a_run_of_other_settings_is_not_taken_for_this_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Study(folder, BUDGET, problem=PROBLEMS["digits"])
    training = whole.training(ROWS["sgd"], Study.rates[0], 0, "tuning")
    training = replace(training, name=f"sgd-rate{Study.rates[0]}", seed=FIRST_TUNING_SEED)
    assert whole.files.finished(training) is not None
    assert whole.files.finished(replace(training, start="moped")) is None
    other = Study(folder, replace(BUDGET, samples=1), problem=PROBLEMS["digits"])
    assert other.files.finished(training) is None

    class Changed(methods.MAP):
        fisher_weight: float = 2.0

    monkeypatch.setitem(methods.METHODS, "map", dataclass(frozen=True, kw_only=True)(Changed))
    assert whole.files.finished(training) is None  # another default


def test_all_start_at_a_head_of_zeros(folder: Path) -> None:
    _, model = Study(folder, BUDGET, problem=PROBLEMS["digits"]).start(0)
    for name, parameter in model.named_parameters():
        if name in head(model):
            assert not parameter.any()
        elif parameter.ndim > 1:
            assert parameter.any()


def test_features_of_frozen_layers_give_the_predictions_of_the_whole_network(
    tmp_path: Path,
) -> None:
    train, test = (
        Data(torch.randn(9, 3, 32, 32), torch.arange(9) % 3, batch_size=4) for _ in range(2)
    )
    task = Task("noise", train, test, test, ("a", "b", "c"))
    model = models.build("efficientnet-lite0", task, weights="imagenet", size=32)
    frozen, rest = divide(model, 13)
    changed = features(task, frozen)
    assert changed.train.inputs.shape == (9, 192, 1, 1)
    found, truth = (
        predict(
            Posterior(space, Point(space.vector()), calibration=data.train), data.test
        ).log_probabilities
        for space, data in ((ParameterSpace(rest), changed), (ParameterSpace(model), task))
    )
    torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-4)

    tasks.write_npz(tmp_path / "features.npz", changed)
    stored = tasks.load("arrays", path=str(tmp_path / "features.npz"), standardise=False)
    assert stored.fingerprint() == changed.fingerprint()
    assert stored.sizes == changed.sizes
    assert stored.classes == task.classes
    trained = workflow.train(
        tmp_path / "run.h5",
        stored,
        methods.create("map", epochs=1),
        rest,
        parameters=head(rest),
        samples=1,
    )
    again = workflow.load(tmp_path / "run.h5")  # knows neither the network nor the images
    assert torch.equal(
        predict(again.posterior, again.task.test).log_probabilities,
        predict(trained.posterior, stored.test).log_probabilities,
    )


def test_the_settings_of_every_row_are_the_published_ones(folder: Path) -> None:
    budget = replace(BUDGET, epochs=20)
    whole = Study(folder, budget, problem=PROBLEMS["digits"])
    examples, size = whole.sizes
    assert examples == 100
    made = {}
    for row in ROWS.values():
        training = whole.training(row, 0.02, 0)
        made[row.name] = methods.create(training.method, **training.settings)
        assert training.settings["epochs"] == 20
        assert all(twin in ROWS for twin in row.twins)
    exact = made["fp-bma-moped-0.2"]
    assert exact.rho(size) == pytest.approx(0.2 * size**0.5)
    assert exact.beta == pytest.approx(1e-6)  # N times the paper's
    assert made["random-moped-0.2"].rho(size) == exact.rho(size)
    assert made["random-moped-0.2"].ball == "random"
    assert made["moped-radius-0"].radius == 0
    assert made["fp-bma-moped-score-gamma-0.7"].radius == 0.7
    assert made["sam"].radius == 0.1
    assert made["sgld"].temperature == pytest.approx(100 / 50_000)
    assert made["sgld"].prior_scale ** -2 / 100 == pytest.approx(5e-4)
    assert made["sgld"].learning_rate == pytest.approx(0.2)
    assert made["sgd"].patience == 20
    assert {method.warmup for name, method in made.items() if name != "ptl"} == {0.1}


def test_requests_that_do_not_fit_are_one_line(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for settings, message in (
        ({"task": "mnist"}, "transfer is on the tasks cifar10-10-shot, digits, not 'mnist'"),
        ({"task": "digits", "only": ["swa"]}, "unknown row 'swa'; known: sgd, sam"),
        (
            {"task": "digits", "only": ["swag"]},
            "2 epochs with start=0.5 leave 1 of the 6 snapshots",
        ),
        ({"model": "resnet20"}, "leave out --model"),
        ({"weights": tmp_path / "some.pt"}, "leave out --weights"),
    ):
        with pytest.raises(InputError, match=message):
            study("transfer", tmp_path, BUDGET, **settings)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(InputError, match="holds a study of digits with convnet"):
        Study(folder, BUDGET, problem=PROBLEMS["cifar10-10-shot"])
    words = (
        Study(folder, BUDGET, problem=PROBLEMS["digits"])
        .command.replace("FOLDER", str(folder))
        .split()
    )
    assert main([*words[1:], "--methods", ",".join(ONLY)]) == 0  # all of it is there
    assert main(["study", "transfer", "--task", "cifar10", "--out", str(tmp_path)]) == 2
    assert "transfer is on the tasks" in capsys.readouterr().err
