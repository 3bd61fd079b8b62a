"""The command line: the whole way through on a small scale, and one line for every bad request."""

import csv
import errno
import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from landscape import models, workflow
from landscape.cli import command_line, main
from landscape.errors import LandscapeWarning
from landscape.runtime.files import atomic_write
from landscape.store import Run
from landscape.study import demo as study_demo

SHORT = ["--epochs", "12", "--samples", "3"]


@pytest.fixture(scope="module")
def demo(demo_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short demo."""
    return shutil.copytree(demo_runs, tmp_path_factory.mktemp("runs") / "demo")


def test_the_demo_writes_a_complete_run_for_every_method(demo: Path) -> None:
    assert sorted(path.name for path in demo.iterdir()) == sorted(
        f"{name}.{ending}"
        for name in ("source", "map", "vi", "vi-random", "fp-bma")
        for ending in ("h5", "safetensors")
    )
    for name, samples, surface in (("map", 1, "random"), ("vi", 3, "samples")):
        run = Run.open(demo / f"{name}.h5")
        assert run.attributes["status"] == "complete"
        assert run["samples"]["eigenvalues"].shape == (samples, 5)
        assert bool(run["samples"]["converged"].all())
        assert bool((run["samples"]["trace_standard_error"] > 0).all())
        assert run[f"surfaces/{surface}"]["loss"].shape == (3, 3)
        assert run["predictions"]["log_probabilities"].shape == (samples, 397, 10)
        assert run["predictions"].attributes["split"] == "test"
        assert run["samples"].attributes["split"] == "train"
    assert Run.open(demo / "fp-bma.h5").config["pretrained"] == "source.safetensors"


def test_a_reader_that_has_read_enough_is_no_error(demo: Path) -> None:
    command = [sys.executable, "-m", "landscape", "inspect", str(demo / "map.h5")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0


def test_the_demo_prints_a_line_for_every_method_and_where_to_look(demo_runs: Path) -> None:
    lines = (demo_runs.parent / "printed").read_text().splitlines()
    folder = demo_runs.parent.with_suffix(".unfinished") / "runs"  # where it was then
    heads = "run accuracy NLL training loss lambda_1 lambda_1/lambda_5 trace training s"
    assert lines[0].split() == heads.split()
    assert [line.split()[0] for line in lines[1:5]] == ["map", "vi", "vi-random", "fp-bma"]
    assert " +- " in lines[2]
    assert f"Results:   {folder}" in lines
    assert lines[-1] == f"Dashboard: landscape app {folder}  ->  http://127.0.0.1:8050"


def test_a_run_that_could_not_be_written_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    command = ["train", "digits", "map", "--epochs", "4", "--out", str(tmp_path), "--name", "run"]
    with monkeypatch.context() as patch:
        patch.setattr("landscape.store.run.file_image", full)
        assert main(command) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "run.h5").exists()
    assert main(command) == 0
    assert Run.open(tmp_path / "run.h5").attributes["status"] == "complete"


def test_the_same_seed_gives_the_same_results_whatever_else_is_trained(
    demo_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("vi", "fp-bma")
    methods = {name: study_demo.METHODS[name] for name in names}
    monkeypatch.setattr(study_demo, "METHODS", methods)
    assert main(["demo", *SHORT, "--grid", "2", "--out", str(tmp_path)]) == 0
    for name in names:
        folders = (demo_runs, tmp_path)
        one, two = (Run.open(folder / f"{name}.h5")["samples"] for folder in folders)
        np.testing.assert_array_equal(one["eigenvalues"], two["eigenvalues"])
        np.testing.assert_array_equal(one["trace"], two["trace"])


def test_train_measure_and_inspect(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "digits", "fp-bma", "--prior", str(demo / "source.safetensors")]
    settings = ["--radius", "0.1", "--shots", "2", "--epochs", "2", "--samples", "2"]
    assert main([*train, *settings, "--out", str(tmp_path)]) == 0
    path = tmp_path / "digits-fp-bma-seed0.h5"
    config = Run.open(path).config
    assert config["method"]["radius"] == 0.1
    assert config["task"]["shots"] == 2
    measured = ["--samples", "2", "--eigenvalues", "2", "--trace-matvecs", "4", "--density", "2"]
    assert main(["measure", str(path), *measured, "--grid", "0"]) == 0
    run = Run.open(path)
    assert run.groups == ("training", "samples", "density", "predictions")
    assert run["density"]["density"].shape == (2, 512)
    assert run.config["measurement"]["eigenvalues"] == 2
    plane = ["--plane", "eigenvectors", "--grid", "3", "--rows", "2", "--samples", "3"]
    assert main(["surface", str(path), *plane, "--split", "test"]) == 0
    there = run["surfaces/eigenvectors-test"]
    assert there["loss"].shape == (2, 3)
    assert there.attributes["split"] == "test"
    assert there.attributes["x_axis"].startswith("Hessian eigenvector of ")
    capsys.readouterr()
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lambda_1"]["mean"] == run["samples"]["eigenvalues"][:, 0].mean()
    assert found["accuracy"] == run["predictions"].attributes["accuracy"]
    assert found["attributes"]["config"]["method"]["name"] == "fp-bma"


def test_export_writes_pages_and_tables(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, report, tables = tmp_path / "vi.html", tmp_path / "report.html", tmp_path / "csv"
    run = str(demo / "vi.h5")
    assert main(["export", run, "--html", str(page), "--csv", str(tables)]) == 0
    assert main(["export", str(demo), "--html", str(report)]) == 0
    printed = capsys.readouterr().out.split()
    assert sorted(printed) == sorted([*map(str, tables.iterdir()), str(page), str(report)])
    with (tables / "trace-vi.csv").open() as file:
        lines = list(csv.DictReader(file))
    found = [float(line["y"]) for line in lines if line["sample"]]
    assert found == Run.open(run)["samples"]["trace"].tolist()
    for name in ("map", "vi", "vi-random", "fp-bma", "source"):
        assert f"<summary>{name}</summary>" in report.read_text()


def test_torchrun_trains_as_one_process_does(tmp_path: Path) -> None:
    train = ["train", "digits", "map", "--shots", "3", "--epochs", "3", "--samples", "1"]
    both = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"]
    command = [*both, "landscape", *train, "--device", "cpu", "--out", str(tmp_path / "two")]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("accuracy") == 1
    assert main([*train, "--device", "cpu", "--out", str(tmp_path / "one")]) == 0
    two, one = (Run.open(tmp_path / name / "digits-map-seed0.h5") for name in ("two", "one"))
    np.testing.assert_allclose(
        two["training"]["train_loss"], one["training"]["train_loss"], rtol=1e-4
    )
    assert two.attributes["status"] == "complete"


@pytest.mark.parametrize("how", [["--parameters", "normalisation-and-head"], ["--trained", "head"]])
def test_transfer_with_a_fresh_head_of_another_size(
    demo: Path, tmp_path: Path, how: list[str]
) -> None:
    generator = np.random.default_rng(0)
    arrays = {"x_train": generator.normal(size=(12, 1, 8, 8)), "y_train": np.arange(12) % 3}
    arrays |= {"x_test": arrays["x_train"], "y_test": arrays["y_train"]}
    np.savez(tmp_path / "three.npz", **arrays)
    options = ["--path", str(tmp_path / "three.npz"), "--out", str(tmp_path), "--name", "moved"]
    source = ["--source", str(demo / "vi.safetensors"), "--epochs", "2", "--samples", "3"]
    assert main(["train", "arrays", "fp-bma", *options, *source, *how]) == 0
    run = Run.open(tmp_path / "moved.h5")
    head = 512 + 1
    count = 9930 - 7 * head if "--trained" in how else 3 * head
    assert run.attributes["parameter_count"] == count
    assert run.config["source"].endswith("vi.safetensors")
    assert (
        main(["measure", str(run.path), "--samples", "2", "--eigenvalues", "1", "--grid", "0"]) == 0
    )


def test_the_rest_that_is_trained_is_recorded_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "digits", "vi", "--model", "mlp", "--parameters", "head", "--epochs", "3"]
    command += ["--samples", "1", "--device", "cpu", "--out", str(tmp_path), "--name", "run"]
    assert main([*command, "--deterministic", "train"]) == 0
    path = tmp_path / "run.h5"
    few = ["--samples", "1", "--eigenvalues", "1", "--trace-matvecs", "2", "--grid", "0"]
    assert main(["measure", str(path), *few]) == 0
    run, trained = Run.open(path), workflow.load(path)
    assert run.config["deterministic"] == "train"
    assert run.config["parameters"] == "head"
    assert run.attributes["parameters"] == "layers.5.weight, layers.5.bias"
    module = models.build("mlp", trained.task, seed=0)
    start = {name: value.clone() for name, value in module.state_dict().items()}
    stored = load_file(path.with_suffix(".safetensors"))
    rest = {name: stored[f"module/{name}"] for name in start if f"module/{name}" in stored}
    assert len(rest) == len(start) - 2
    assert not any(torch.equal(value, start[name]) for name, value in rest.items())
    head = trained.posterior.space.unflatten(trained.posterior.sample(1, 0)[0])
    module.load_state_dict({**rest, **head})
    data = trained.task.train
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(module(data.inputs), data.targets)
    assert run["samples"]["loss"][0] == pytest.approx(float(loss), rel=1e-5)
    capsys.readouterr()
    assert main([*command, "--deterministic", "train"]) == 0
    assert "is finished" in capsys.readouterr().err
    assert main(command) == 2  # the other training may not replace it
    assert main([*command, "--deterministic", "sgd"]) == 2


def test_measuring_again_gives_the_same_and_by_pyhessian_nearly(demo: Path) -> None:
    path = demo / "vi.h5"
    before = Run.open(path)["samples"]
    assert main(["measure", str(path), "--samples", "3", "--grid", "0", "--fresh"]) == 0
    again = Run.open(path)["samples"]
    # Not to the last bit: weights that were read lie elsewhere in memory than weights just trained.
    np.testing.assert_allclose(again["eigenvalues"], before["eigenvalues"], rtol=1e-6)
    pyhessian = ["--backend", "pyhessian", "--eigenvalues", "1", "--tolerance", "1e-5"]
    assert main(["measure", str(path), "--samples", "3", "--grid", "0", *pyhessian, "--fresh"]) == 0
    again = Run.open(path)["samples"]
    assert again.attributes["backend"] == "pyhessian"
    np.testing.assert_allclose(again["eigenvalues"][:, 0], before["eigenvalues"][:, 0], rtol=1e-3)


def test_one_sample_is_null_and_not_nan_in_json(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(demo / "map.h5"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lambda_1"]["deviation"] is None


def test_a_chain_s_samples_are_inspected_with_what_they_are_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "digits", "sgld", "--model", "mlp", "--shots", "3", "--epochs", "24"]
    train += ["--samples", "12"]
    assert main([*train, "--name", "chain", "--out", str(tmp_path)]) == 0
    path = tmp_path / "chain.h5"
    assert sorted(Run.open(path)["predictions"]["place"]) == list(range(12))
    settings = ["--samples", "12", "--eigenvalues", "5", "--grid", "0"]
    capsys.readouterr()
    assert main(["measure", str(path), *settings]) == 0
    shown = capsys.readouterr().out
    assert "n = 12 of a chain, worth " in shown
    assert "lambda_ratio_of_means" in shown
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lambda_1"]["effective"] < found["lambda_1"]["count"] == 12
    assert found["lambda_ratio_of_means"]["mean"] > 1


BAD = {
    "": "a command is required: demo, train, ",
    "dance": 'Unknown command "dance"',
    "demo --epochs 0": "map: epochs must be at least 1, not 0",
    "demo --out {file}/below": "cannot write to",
    "demo --extra": "Unknown option: --extra",
    "train": "train needs a task",
    "train digitz map": "unknown task 'digitz'; known: digits, ",
    "train digits mup": "unknown method 'mup'; known: map, ",
    "train digits map --rank 1": "Unknown option: --rank",
    "train digits map --epochs many": '--epochs: unable to convert "many" into int',
    "train digits map --epochs 2.5": '--epochs: unable to convert "2.5" into int',
    "train arrays map": "task 'arrays' needs the setting 'path'",
    "train digits map --config {file} --config=missing.toml": "cannot read missing.toml",
    "train digits map --seed -1": "--seed. Must be >= 0",
    "study toy --severities 1,x": "a list such as 1,3,5",
    "train digits map --momentum 2": "momentum must be in [0, 1), not 2.0",
    "train digits map --shots 400": "ask for at most",
    "train digits map --model vgg": "unknown model 'vgg'; known: convnet",
    "train digits map --device tpu9": "device 'tpu9' cannot be used",
    "train digits map --device meta": "device 'meta' cannot be used",
    "train digits map --samples 0": "samples must be at least 1",
    "train digits fp-bma --prior-scale 0 --out {folder}": "fp-bma needs a Gaussian prior",
    "train digits fp-bma --prior {file}": "as a posterior",
    "train digits fp-bma --prior a --source b": "give --prior or --source, not both",
    "train digits fp-bma --source {file}": "as a posterior",
    "surface {demo}/vi.h5 --split shifted": "'train' or 'test', not 'shifted'",
    "train digits map --parameters tail": '"tail" for --parameters. Choose from: "all',
    "train digits map --out {demo} --name map": "map.h5 exists",
    "measure {file}": "is not an HDF5 file",
    "measure {demo}/vi.h5 --grid 0 --backend numpy": "unknown backend 'numpy'",
    "measure {demo}/vi.h5 --grid 0 --matrix kfac": "unknown matrix 'kfac'",
    "measure {demo}/vi.h5 --grid 0 --density 1": "at least 2 probes",
    "measure {demo}/vi.h5 --samples 0": "samples must be at least 1",
    "measure {demo}/map.h5 --plane samples": "needs three",
    "inspect {demo}": "is a folder",
    "inspect {demo}/missing.h5": "No such file",
    "inspect {truncated}": "truncated or damaged",
    "export {demo}/vi.h5": "say what to write: --csv DIR, --html FILE",
    "export {folder} --csv {folder}/csv": "there is no run in",
    "export {demo} --html {folder}/report.h5": "ends in .html, not 'report.h5'",
    "export {folder} --html {folder}/report.html": "is no run in",
    "export {file} --html {folder}/report.html": "is not an HDF5 file",
    "app {folder}/missing": "there is no folder",
}


@pytest.mark.parametrize("command", BAD)
def test_a_bad_request_is_one_line_and_exit_code_2(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    file, truncated = tmp_path / "notes.txt", tmp_path / "truncated.h5"
    file.write_text("not a run")
    truncated.write_bytes((demo / "map.h5").read_bytes()[:5000])
    before = {path: path.read_bytes() for path in demo.iterdir()}
    capsys.readouterr()
    filled = command.format(file=file, folder=tmp_path, demo=demo, truncated=truncated)
    assert main(filled.split()) == 2
    output = capsys.readouterr()
    (line,) = [line for line in output.err.splitlines() if "/1" not in line]  # no progress
    assert line.startswith("landscape: ")
    assert BAD[command] in line
    assert output.out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "truncated.h5"}
    kept = {path: path.read_bytes() for path in demo.iterdir()}
    assert kept.keys() == before.keys()
    for path in set(kept) - {demo / "vi.h5", demo / "map.h5"}:
        assert kept[path] == before[path]
    assert Run.open(demo / "vi.h5").attributes["status"] == "complete"


def test_settings_come_from_a_file_and_flags_go_before(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(
        'task = "digits"\nmethod = "map"\nseed = 3\nepochs = 2\nlearning-rate = 0.01\nshots = 2\n'
        f'samples = 1\nout = "{tmp_path}"\nname = "mine"\n'
    )
    assert main(["train", "--config", str(config), "--epochs", "1"]) == 0
    found = Run.open(tmp_path / "mine.h5")
    assert found.attributes["seed"] == found.config["task"]["seed"] == 3
    assert found.config["method"]["epochs"] == 1
    assert found.config["method"]["learning_rate"] == 0.01
    assert found.config["task"]["shots"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "is not TOML"),
        ("rank = 1", 'Unknown option: "[rank]" from '),
        ('epochs = "many"', 'settings.toml: unable to convert "many" into int'),
        ("overwrite = 1", "Invalid value for [overwrite] from "),
        ("overwrite = 1", 'settings.toml: unable to convert "1" into bool'),
        ("epochs = 2.5", 'settings.toml: unable to convert "2.5" into int'),
        ("epochs = [2]", "Invalid value for [epochs] from "),
        ("[method]", "train needs a task"),
        ("a = " + "[" * 5000, "is not TOML"),
        ("a = 1  # " + "x" * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_a_bad_file_of_settings_is_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(text)
    named = [] if text == "[method]" else ["digits", "map"]
    assert main(["train", *named, "--config", str(config)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert main(["train", "--config", str(tmp_path / "missing.toml")]) == 2


def test_a_killed_training_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "digits", "map", "--epochs", "6", "--samples", "1", "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    epochs = []

    def kill(*_: object) -> object:
        def progress(epoch: int, *_: object) -> None:
            epochs.append(epoch)
            if len(epochs) == 3:
                raise KeyboardInterrupt

        return progress

    monkeypatch.setattr("landscape.runtime.progress.Progress", kill)
    folder = tmp_path / "parts"
    assert main([*command, str(folder)]) == 130
    assert [path.name for path in folder.iterdir()] == ["digits-map-seed0.checkpoint.safetensors"]
    assert main([*command, str(folder), "--learning-rate", "0.1"]) == 2
    assert "learning_rate was 0.02 there and is 0.1 now" in capsys.readouterr().err
    assert main([*command, str(folder)]) == 0
    assert 4 in epochs[3:]
    assert 1 not in epochs[3:]
    one, two = (
        Run.open(tmp_path / part / "digits-map-seed0.h5")["predictions"]["log_probabilities"]
        for part in ("whole", "parts")
    )
    np.testing.assert_array_equal(one, two)
    assert len(list(folder.iterdir())) == 2


def test_divergence_is_one_line_and_exit_code_1_and_leaves_an_earlier_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "digits", "map", "--epochs", "3", "--out", str(tmp_path), "--overwrite"]
    assert main([*command, "--samples", "1"]) == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    assert main([*command, "--learning-rate", "1e8"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("landscape: map: training diverged in epoch")
    kept = {path: path.read_bytes() for path in tmp_path.iterdir() if "checkpoint" not in path.name}
    assert kept == before
    assert main([*command, "--samples", "1"]) == 0  # a checkpoint of another training is no hurdle


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown task"):
        main(["train", "digitz", "map", "--debug"])


def test_help_names_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    for command, words in {
        "--help": ["demo", "train", "measure", "inspect", "app"],
        "train --help": ["Tasks: digits", "Methods: map, "],
        "train digits fp-bma --help": [
            "--radius FLOAT",
            "--shots INT",
            "default: 0.166",
            "--relative-radius FLOAT",
            "--no-covariance",
        ],
    }.items():
        assert main(command.split()) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert all(word in printed for word in words), command


def test_a_warning_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def command(file: Path, /) -> None:
        warnings.warn("a layer is left out", LandscapeWarning, stacklevel=1)

    monkeypatch.setitem(command_line.COMMANDS, "inspect", command)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["inspect", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "landscape: a layer is left out\n"


SMALL = ["train", "digits", "map", "--epochs", "3", "--samples", "1", "--name", "run", "--out"]


def test_the_same_training_again_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, str(tmp_path)]) == 0
    first = capsys.readouterr().out
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert main([*SMALL, str(tmp_path)]) == 0
    again = capsys.readouterr()
    path = tmp_path / "run.h5"
    assert again.out == first
    assert again.err == (
        f"landscape: {path} is finished: this training was done before; --overwrite trains again\n"
    )
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert main(["measure", str(path), "--eigenvalues", "1", "--grid", "0"]) == 0
    assert main([*SMALL, str(tmp_path)]) == 0  # it is still the same training
    assert "is finished" in capsys.readouterr().err
    assert "samples" in Run.open(path)
    for other in (["--seed", "1"], ["--momentum", "0.8"], ["--model", "mlp"], ["--shots", "9"]):
        assert main([*SMALL, str(tmp_path), *other]) == 2
        assert f"{path} exists: choose another name" in capsys.readouterr().err
    path.with_suffix(".safetensors").write_bytes(b"damaged")
    assert main([*SMALL, str(tmp_path)]) == 2
    assert main([*SMALL, str(tmp_path), "--overwrite"]) == 0


@pytest.mark.parametrize("command", ["train", "measure", "inspect", "export", "export a folder"])
def test_what_a_kill_left_behind_is_removed_by_the_next_command(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    checkpoint, path = runs / "run.checkpoint.safetensors", runs / "run.h5"
    unlink = Path.unlink

    def keep(self: Path, missing_ok: bool = False) -> None:
        if self != checkpoint:  # killed before
            unlink(self, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", keep)
        assert main([*SMALL, str(runs)]) == 0
    assert checkpoint.exists()
    shutil.copy(checkpoint, runs / "other.checkpoint.safetensors")  # there is no such run
    leftovers = [runs / f".{name}.0123abcd.tmp" for name in ("run.h5", "run.safetensors", "x.csv")]
    others = [runs / name for name in (".hidden.tmp", "notes.0123abcd.tmp", "notes.txt")]
    for each in (*leftovers, *others):
        each.write_text("")
    page = str(tmp_path / "page.html")
    arguments = {
        "train": [*SMALL, str(runs)],
        "measure": ["measure", str(path), "--eigenvalues", "1", "--grid", "0"],
        "inspect": ["inspect", str(path)],
        "export": ["export", str(path), "--html", page],
        "export a folder": ["export", str(runs), "--html", page],
    }
    assert main(arguments[command]) == 0
    kept = {"run.h5", "run.safetensors", "other.checkpoint.safetensors"}
    assert {each.name for each in runs.iterdir()} == kept | {each.name for each in others}


def test_a_training_in_progress_keeps_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> object:
        def progress(epoch: int, *_: object) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

        return progress

    assert main([*SMALL, str(tmp_path)]) == 0
    with monkeypatch.context() as patch:
        patch.setattr("landscape.runtime.progress.Progress", kill)
        assert main([*SMALL, str(tmp_path), "--seed", "1", "--overwrite"]) == 130
    checkpoint = tmp_path / "run.checkpoint.safetensors"
    before = checkpoint.read_bytes()
    assert main(["inspect", str(tmp_path / "run.h5")]) == 0
    assert main([*SMALL, str(tmp_path)]) == 0  # which is the one that is finished
    assert checkpoint.read_bytes() == before
    with atomic_write(tmp_path / "file") as temporary:  # somebody writes
        temporary.write_text("whole")
        assert main(["inspect", str(tmp_path / "run.h5")]) == 0
    assert (tmp_path / "file").read_text() == "whole"


@pytest.mark.parametrize("attribute", ["seed", "status"])
def test_a_run_that_lacks_an_attribute_is_measured_or_refused_in_one_line(
    attribute: str, demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending in (".h5", ".safetensors"):
        shutil.copy(demo / f"map{ending}", tmp_path)
    path = tmp_path / "map.h5"
    with h5py.File(path, "r+") as file:
        del file.attrs[attribute]
    measure = ["measure", str(path), "--eigenvalues", "1", "--grid", "0", "--fresh"]
    code = main(measure)
    said = capsys.readouterr().err
    if attribute == "seed":
        assert code == 2
        assert said == f"landscape: {path} does not say its seed: give one with --seed\n"
        assert main([*measure, "--seed", "3"]) == 0
    else:
        assert code == 0
        assert Run.open(path).attributes["status"] == "complete"
