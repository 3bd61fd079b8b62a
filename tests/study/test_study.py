"""Tiny studies from end to end: finished trainings stay, and tuning sees no test set."""

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import Shared, write_images
from tiny import ONLY, TINY, silent

from landscape import models, tasks, workflow
from landscape.cli import main
from landscape.errors import InputError, LandscapeError
from landscape.methods import create
from landscape.models import ConvNet
from landscape.store import Run
from landscape.study import (
    STUDIES,
    ablation,
    comparison,
    correlation,
    study,
    surfaces,
    toy,
    two_modes,
    validation,
)
from landscape.study.ablation import Variant
from landscape.study.candidates import CANDIDATES, Candidate
from landscape.study.comparison import match_time, tuned_trainings
from landscape.study.metrics import diverged
from landscape.study.plan import Training
from landscape.study.runner import Runner
from landscape.study.statistics import holm
from landscape.study.tables import probability
from landscape.study.timing import cpu_seconds
from landscape.study.tuning import tune
from landscape.tasks import Data, Task


class Counted:
    """``workflow.train`` that records its trainings, and is interrupted after ``most`` of them."""

    def __init__(self, most: int = 1000) -> None:
        self.names: list[str] = []
        self.most = most
        self.original = workflow.train

    def __call__(self, path: Path, *args: Any, **more: Any) -> Any:
        if len(self.names) == self.most:
            raise KeyboardInterrupt
        trained = self.original(path, *args, **more)
        self.names.append(path.stem)
        return trained


@pytest.fixture(scope="module", autouse=True)
def narrow() -> Iterator[None]:
    """The network with a quarter of its channels, and the source task with few images."""
    load = tasks.load

    def brief(name: str, **settings: Any) -> Task:
        task = load(name, **settings)
        if name != "digits" or task.source is None:
            return task
        train = task.source.train.subset(torch.arange(min(150, len(task.source.train))))
        return replace(task, source=replace(task.source, train=train))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, "convnet", partial(ConvNet, width=4))
        patch.setattr(tasks, "load", brief)
        yield


@pytest.fixture(scope="module")
def folder(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that was interrupted and finished, and the names of its trainings."""

    def fill(made: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            counter = Counted(most=7)
            patch.setattr(workflow, "train", counter)
            with pytest.raises(KeyboardInterrupt):
                study("generalisation", made, TINY, only=ONLY, progress=silent)
            counter.most = 1000
            study("generalisation", made, TINY, only=ONLY, progress=silent)
        (made / "trained.json").write_text(json.dumps(counter.names))

    return shutil.copytree(shared("study", fill), tmp_path_factory.mktemp("study") / "copy")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counter = Counted()
    monkeypatch.setattr(workflow, "train", counter)
    return counter


def test_a_study_that_was_interrupted_goes_on_where_it_was(folder: Path, counted: Counted) -> None:
    names = json.loads((folder / "trained.json").read_text())
    # Sources of three seeds, two trials and two results of each method, twice for matched time.
    assert len(names) == 3 + 2 * 2 + 2 * 2 + 2 * 2
    assert len(set(names)) == 3 + 2 * 2 + 2 * 2  # the matched ones have the same names
    tables = study("generalisation", folder, TINY, only=ONLY, progress=silent)
    assert counted.names == []
    page = (folder / "generalisation.md").read_text()
    assert all(table.markdown() in page for table in tables)
    assert [row[0] for row in tables[0].rows] == ["map", "fp-bma"]
    tested = [p for table in tables for p in table.p_values]
    shown = [row[4] for table in tables if table.p_values for row in table.rows]
    assert shown == [probability(p) for p in holm(tested)]  # of the whole page
    run = Run.open(folder / "runs" / "map-seed0.h5")
    assert tables[0].rows[0][1] == "2"
    assert json.loads(str(run.attributes_of("shifted")["shifts"])) == [
        "noise-5",
        "blur-5",
        "rotation-5",
        "contrast-5",
    ]


@pytest.mark.parametrize("name", ["flatness", "averaging", "bound", "compatibility", "cost"])
def test_the_other_studies_read_the_same_trainings(
    name: str, folder: Path, counted: Counted
) -> None:
    tables = study(name, folder, TINY, only=ONLY, progress=silent)
    assert counted.names == []
    assert all("nan" not in cell for table in tables for row in table.rows for cell in row[2:])
    assert (folder / f"{name}.md").exists()


def test_two_posteriors_on_one_plane_continue(
    folder: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surfaces, "_SHAPE", (3, 3))
    monkeypatch.setattr(surfaces, "SHOWN", ("fp-bma", "map"))
    (table,) = study("surfaces", folder, TINY, progress=silent)
    assert counted.names == []
    assert [row[:2] for row in table.rows] == [("fp-bma", "2"), ("map", "2")]
    (picture,) = json.loads((folder / "surfaces.json").read_text())
    assert [panel["title"] for panel in picture["panels"]] == ["seed 0", "seed 1"]
    assert len(picture["panels"][0]["contours"]["z"]) == 3
    counts = {series["label"]: len(series["x"]) for series in picture["panels"][0]["series"]}
    assert counts == {"fp-bma": TINY.samples, "map": 1}
    monkeypatch.setattr(surfaces, "shared_plane", None)  # nothing is evaluated again
    assert study("surfaces", folder, TINY, progress=silent) == [table]


def test_swag_by_three_schedules_begins_at_random_weights(
    folder: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    cosine = {"cosine": correlation.SCHEDULES["cosine"]}
    monkeypatch.setattr(correlation, "SCHEDULES", cosine)
    monkeypatch.setattr(comparison, "tune", lambda runner, candidates: None)
    monkeypatch.setattr(comparison, "tuned_trainings", lambda runner, candidates, choices: [mapped])
    brief = replace(TINY, epochs=12)
    mapped = Training("map", "map", {"epochs": 3}, 0)
    tables = study("correlation", folder, brief, only=ONLY, progress=silent)
    assert counted.names == ["cosine-seed0", "cosine-seed1", "map-seed0"]
    run = Run.open(folder / "correlation" / "cosine-seed0.h5")
    assert run.config["study"]["start"] == "fresh"
    assert len(run.read("samples", "loss")["loss"]) == TINY.samples
    assert [row[0] for row in tables[0].rows] == [
        f"cosine: {name}" for name in ("error", "ECE", "NLL")
    ]
    (picture,) = json.loads((folder / "correlation.json").read_text())
    assert [panel["title"] for panel in picture["panels"]] == ["1a: cosine schedule", "1b", "1c"]
    assert len(picture["panels"][0]["series"][0]["x"]) == TINY.samples


def test_other_settings_replace_a_run_and_no_more(folder: Path, counted: Counted) -> None:
    runner = Runner(folder, replace(TINY, epochs=5), silent)
    tune(runner, [CANDIDATES["map"]])
    assert counted.names == ["map-trial0-seed1000", "map-trial1-seed1000"]
    tune(Runner(folder, TINY, silent), [CANDIDATES["map"]])
    assert len(counted.names) == 4


def test_a_result_holds_its_score_at_the_best_temperature(folder: Path) -> None:
    run = Run.open(folder / "runs" / "map-seed0.h5")
    before, after = run.attributes_of("predictions"), run.attributes_of("tempered")
    assert after["examples"] == 100  # half of the validation set
    assert after["accuracy"] == before["accuracy"]
    # Four epochs leave a network that is less sure than it may be.
    assert after["temperature"] != pytest.approx(1.0, abs=0.01)
    assert after["nll"] != before["nll"]
    assert "tempered" not in Run.open(next((folder / "tuning").glob("*.h5")))


def test_trainings_that_diverged_are_named(folder: Path) -> None:
    runner = Runner(folder, TINY, silent)
    trainings = [
        Training(name, "map", {"epochs": 4, "learning_rate": rate}, seed)
        for name, rate in (("calm", 0.01), ("wild", 1e30))
        for seed in range(2)
    ]
    finished = runner.train_all("", trainings)
    assert diverged(["calm", "wild"], 2, finished) == (
        "Diverged, and not in the means: wild (2 of 2)."
    )
    assert diverged(["calm"], 2, finished) == ""


def test_a_run_file_without_predictions_is_made_again(folder: Path, counted: Counted) -> None:
    runner = Runner(folder, TINY, silent)
    training = Training("map-trial0", "map", {"epochs": 4}, 1000, folder="tuning")
    path = runner.files.path(training)
    assert runner.train(training, for_tuning=True) is not None
    assert counted.names == []
    Run.create(path, overwrite=True, config=Run.open(path).config)
    assert runner.train(training, for_tuning=True) is not None
    assert counted.names == ["map-trial0-seed1000"]
    assert "predictions" in Run.open(path)


def test_matched_trainings_take_as_long(folder: Path) -> None:
    trainings = [Training(name, name, {"epochs": 100}, 0) for name in ("map", "fp-bma", "sgld")]
    seconds = {"map": 0.5, "fp-bma": 2.0}
    found = {each.name: each.settings["epochs"] for each in match_time(trainings, seconds)}
    assert found == {"map": 400, "fp-bma": 100}
    runner = Runner(folder, TINY, silent)
    trainings = [Training("map", "map", {"epochs": epochs}, 0) for epochs in (20, 2)]
    long, short = (cpu_seconds(runner, [each])["map"] for each in trainings)
    assert long > 2 * short
    assert cpu_seconds(runner, trainings[1:])["map"] == short  # stored
    (folder / "timing.json").rename(folder / "pace.json")  # the name in earlier versions
    assert cpu_seconds(runner, trainings[1:])["map"] == short


def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the test set and every second validation image by NaN."""
    load = tasks.load

    def other(name: str, **settings: Any) -> Task:
        task = load(name, **settings)
        if name != "digits":
            return task
        wrong = Data(torch.full_like(task.test.inputs, torch.nan), 9 - task.test.targets)
        half = task.validation.inputs.clone()
        half[1::2] = torch.nan
        return replace(task, test=wrong, validation=Data(half, task.validation.targets))

    monkeypatch.setattr(tasks, "load", other)


def test_the_halves_of_the_validation_set_are_the_same_for_every_seed() -> None:
    one, other = (tasks.load("digits", seed=seed) for seed in (0, 1000))
    tuning, temperature = validation.for_tuning(one), validation.for_temperature(one)
    assert len(tuning.test) + len(temperature) == len(one.validation)
    assert torch.equal(validation.for_tuning(other).test.inputs, tuning.test.inputs)
    assert torch.equal(validation.for_temperature(other).inputs, temperature.inputs)
    images = [image.numpy().tobytes() for image in temperature.inputs]
    for seen in (tuning.test, tuning.validation, tuning.train, other.train):
        assert not {image.numpy().tobytes() for image in seen.inputs} & set(images)


def test_what_was_tuned_and_tempered_on_the_whole_validation_set_is_done_again(
    folder: Path, counted: Counted
) -> None:
    runner = Runner(folder, TINY, silent)
    training = Training("map-trial1", "map", {"epochs": 4, "learning_rate": 0.01}, 1000)
    path = runner.files.path(training)
    assert runner.train(training) is not None  # as a result
    Run.open(path).write("tempered", {}, {"temperature": 7.0})  # by an earlier version
    runner.train_all("", [training])
    assert Run.open(path).attributes_of("tempered")["temperature"] != 7.0
    counted.names.clear()
    assert runner.train(training, for_tuning=True) is not None
    assert counted.names == ["map-trial1-seed1000"]


def test_tuning_does_not_read_the_test_set_or_what_the_temperature_is_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = [CANDIDATES["map"], CANDIDATES["fp-bma"]]
    clean = tune(Runner(folder, TINY, silent), candidates)
    poisoned(monkeypatch)
    shutil.copytree(folder / "sources", tmp_path / "sources")
    runner = Runner(tmp_path, TINY, silent)
    assert tune(runner, candidates) == clean
    with pytest.raises(InputError, match="NaN"):  # the poison would show
        runner.train_all("", tuned_trainings(runner, candidates, clean))


def test_the_best_trial_is_that_of_the_least_validation_nll(folder: Path) -> None:
    runner = Runner(folder, TINY, silent)
    found = tune(runner, [CANDIDATES["map"]])["map"]
    runs = [Run.open(folder / "tuning" / f"map-trial{index}-seed1000.h5") for index in range(2)]
    nlls = [run.attributes_of("predictions")["nll"] for run in runs]
    assert found.nlls == nlls
    assert found.nll == min(nlls)
    assert json.loads((folder / "tuning.json").read_text())["map"]["settings"] == found.settings
    assert runs[0].attributes["task"] == "digits (tuning)"
    assert json.loads(str(runs[0].attributes["task_sizes"]))["test"] == 100


def test_a_method_of_which_every_trial_diverges_is_named(folder: Path) -> None:
    hopeless = Candidate("hopeless", "map", grid=({"learning_rate": 1e6},))
    with pytest.raises(LandscapeError, match="hopeless: every trial diverged"):
        tune(Runner(folder, TINY, silent), [hopeless])


def test_an_ablation_trains_its_variants(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {"fisher-identity": ({"ball": "euclidean"}, (0.1,))}
    rest = {"rest-fixed": Variant({}, "fresh-head-fixed-rest", {"normalisation": "batch"})}
    monkeypatch.setattr(ablation, "_STEPS", steps)
    monkeypatch.setattr(ablation, "variant_groups", lambda base, settings_of_vi: {"Rest": rest})
    monkeypatch.setattr(ablation, "_SAMPLES", 1)
    tables = study("ablation", folder, TINY, progress=silent)
    anew = tables[8]
    assert [row[0] for row in anew.rows] == ["zero-tuned", "zero-tuned-no-step", "fp-bma"]
    by_itself = Run.open(folder / "ablation" / "zero-tuned-seed0.h5").config["study"]
    assert by_itself["settings"]["prior_scale"] > 0
    assert by_itself["start"] == "isotropic"
    assert [row[0] for row in tables[0].rows] == ["fisher-identity", "no-step"]
    assert [row[0] for row in tables[4].rows] == ["rest-fixed"]
    run = Run.open(folder / "ablation" / "rest-fixed-seed0.h5")
    assert "features.0.weight" not in str(run.attributes["parameters"])  # a convolution
    assert "head.weight" in str(run.attributes["parameters"])
    assert Run.open(folder / "ablation" / "no-step-seed0.h5").config["method"]["radius"] == 0


def test_an_ablation_changes_one_thing_at_a_time() -> None:
    base = {"learning_rate": 0.01, "beta": 1e-6, "radius": 0.3}
    plain = {"learning_rate": 0.02, "prior_scale": 0.1}
    groups = ablation.variant_groups(base, plain)
    around_zero = groups.pop("Prior N(0, prior_scale^2), VI's tuned settings")
    radii = [variant.settings.pop("radius") for variant in around_zero.values()]
    assert len({repr(variant.settings) for variant in around_zero.values()}) == 1
    around_zero_settings = next(iter(around_zero.values())).settings
    assert radii[0] == 0 < radii[1]
    way = list(groups.pop("From FP-BMA's settings to VI's, one after the other").values())
    for before, after in itertools.pairwise(way):
        changed = [key for key in after.settings if after.settings[key] != before.settings.get(key)]
        assert len(changed) + (after.start != before.start) == 1
    assert {**way[-1].settings, **around_zero_settings} == way[-1].settings
    for title, variants in groups.items():
        reference, *others = variants.values()
        for name, variant in variants.items():
            assert create("fp-bma", **variant.settings)
            changed = {key for key in variant.settings if variant.settings[key] != base.get(key)}
            moved = variant.start != reference.start or variant.source != reference.source
            assert len(changed) + moved <= (2 if "factor" in title or "rest" in name else 1), name
        assert len({repr(each) for each in others}) == len(others)


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = toy.ToyCandidate("map", "map")
    monkeypatch.setattr(toy, "TOY_CANDIDATES", [candidate])
    monkeypatch.setattr(two_modes, "ENTRIES", [two_modes.Entry(candidate)])
    assert main(["study", "toy", "--budget", "smoke", "--out", str(tmp_path)]) == 0
    assert "the posterior under a flat prior" in capsys.readouterr().out
    assert main(["study", "toy", "--budget", "smoke", "--json", "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["study"] == "toy"


def test_a_folder_is_of_one_task(folder: Path) -> None:
    with pytest.raises(InputError, match="holds a study of digits with convnet: choose another"):
        study("generalisation", folder, TINY, task="mnist", only=ONLY, progress=silent)


def test_a_study_of_a_resnet_has_group_normalisation(tmp_path: Path) -> None:
    runner = Runner(tmp_path, replace(TINY, source_epochs=10), silent, network="resnet20")
    network = runner.source(0, {"rank": 2}).network()
    assert any(isinstance(layer, torch.nn.GroupNorm) for layer in network.modules())
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


@pytest.mark.parametrize("shortcut", ["pad", "convolution"])
def test_a_source_begins_at_published_weights(
    shortcut: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tasks.load("digits").source
    assert task is not None
    network = models.build("resnet20", task, seed=7, shortcut=shortcut)
    inside = {"shortcut.": "downsample.", "linear.": "fc."}
    state = network.state_dict()
    for ours, theirs in inside.items():
        state = {name.replace(ours, theirs): value for name, value in state.items()}
    torch.save(state, tmp_path / "published.pt")
    begun: list[torch.nn.Module] = []

    def noted(path: Path, task: Task, method: Any, model: torch.nn.Module, **more: Any) -> Any:
        begun.append(model)
        assert method.learning_rate == method.swag_rate == 0.002
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "train", noted)
    weights = tmp_path / "published.pt"
    runner = Runner(tmp_path / "one", TINY, silent, "digits", "resnet20", weights)
    with pytest.raises(KeyboardInterrupt):
        runner.source(0, {})
    for name, value in network.state_dict().items():
        assert torch.equal(begun[0].state_dict()[name], value)
    assert "from published.pt (" in (tmp_path / "one" / "task").read_text()
    Runner(tmp_path / "one", TINY, silent, "digits", "resnet20", weights)
    for other in (None, tmp_path / "other.pt"):
        torch.save({**state, "fc.bias": state["fc.bias"] + 1}, tmp_path / "other.pt")
        with pytest.raises(InputError, match="choose another folder"):
            Runner(tmp_path / "one", TINY, silent, "digits", "resnet20", other)


def test_a_task_of_other_classes_begins_with_a_fresh_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "emnist_letters.npz", 26, 260, 52)
    write_images(tmp_path / "mnist.npz", 10, 1300, 40)
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path))
    brief = replace(TINY, trials=1, equal_time=False)
    tables = study(
        "generalisation", tmp_path / "study", brief, task="mnist", only=["vi"], progress=silent
    )
    assert [row[0] for row in tables[0].rows] == ["vi", "fp-bma"]
    for name in ("vi", "fp-bma"):
        trained = workflow.load(tmp_path / f"study/runs/{name}-seed0.h5", device="cpu")
        assert len(trained.task.classes) == 10
    source = Runner(tmp_path / "study", brief, silent, "mnist").source(0, {})
    assert source.network()(torch.zeros(1, 1, 28, 28)).shape == (1, 26)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["width"], "unknown study 'width'; known: generalisation, flatness"),
        (["toy", "--seeds", "1"], "at least 2 seeds, not 1"),
        (["toy", "--budget", "huge"], "unknown budget 'huge'; known: smoke, small, large"),
        (["cost", "--methods", "adam"], "unknown method 'adam'; known: map"),
        (
            ["toy", "--task", "letters"],
            "unknown task 'letters'; known: digits, mnist, cifar10",
        ),
        (["toy", "--model", "mlp"], "unknown model 'mlp'; known: convnet, resnet20, resnet18"),
        (["toy", "--weights", "none.pt"], "cannot read none.pt: No such file"),
        (["toy", "--device", "abacus"], "device 'abacus' cannot be used"),
        (["toy", "--severities", "1,x"], "a list such as 1,3,5, not '1,x'"),
        (["toy", "--trials", "0"], "trials must be at least 1, not 0"),
        (["toy", "--samples", "3", "--measured", "4"], "4 samples: predictions use only 3"),
    ],
)
def test_bad_requests_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", *arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_help_names_every_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(name in shown for name in STUDIES)
