"""The command that makes a run of weights that were trained elsewhere."""

import json
from pathlib import Path

import pytest
import torch

import landscape as ls
from landscape import workflow
from landscape.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    task = ls.tasks.load("digits", shots=2)
    (tmp_path / "weights").mkdir()
    for seed in range(3):
        state = ls.models.build("mlp", task, seed=seed, widths=[4]).state_dict()
        nested = {"state_dict": {f"model.{name}": value for name, value in state.items()}}
        torch.save(nested, tmp_path / "weights" / f"step-{seed}.ckpt")
    return tmp_path


def imported(folder: Path, *more: str) -> int:
    given = ["--task", "digits", "--shots", "2", "--model", "mlp", "--out", str(folder)]
    return main(["import", str(folder / "weights"), *given, *more])


def test_the_help_names_the_settings_of_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "--task", "digits", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--shots" in shown
    assert "Settings of digits" in shown


def test_weights_of_another_network_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(folder) == 2
    assert "does not fit the network" in capsys.readouterr().err
    assert not list(folder.glob("*.h5"))


def test_a_folder_of_weights_becomes_a_run_that_is_measured(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = ls.tasks.load("digits", shots=2)
    for seed in range(3):
        state = ls.models.build("mlp", task, seed=seed).state_dict()
        torch.save(state, folder / "weights" / f"step-{seed}.ckpt")
    assert imported(folder, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    run = folder / "digits-imported.h5"
    trained = workflow.load(run)
    expected = ls.predict(trained.posterior, task.test, samples=3).metrics()
    assert summary["samples"] == 3
    assert summary["nll"] == pytest.approx(expected["nll"])
    assert trained.run.config["task"]["shots"] == 2
    given = ["--samples", "1", "--eigenvalues", "1", "--trace-matvecs", "2", "--grid", "0"]
    assert main(["measure", str(run), *given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lambda_1"]["mean"] > 0
    assert imported(folder) == 2  # the run is there
    assert "exists" in capsys.readouterr().err


def test_each_sample_keeps_the_running_statistics_of_its_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = ls.tasks.load("digits", shots=2)
    networks = []
    for seed in range(3):
        network = ls.models.build("resnet20", task, seed=seed, width=2).train()
        network(task.train.inputs)  # statistics a tenth of the way
        torch.save(network.state_dict(), folder / "weights" / f"step-{seed}.ckpt")
        networks.append(network.eval())
    run = folder / "kept.h5"
    posterior = ls.posteriors.from_weights(
        networks[0], folder / "weights", buffers="keep", calibration=task.train
    )
    recorded = workflow.record(run, task, posterior, samples=3).run
    assert recorded.attributes["normalisation"].endswith("as in its checkpoint")
    given = ["--samples", "1", "--eigenvalues", "1", "--trace-matvecs", "2", "--grid", "0"]
    assert main(["measure", str(run), *given, "--max-matvecs", "2"]) == 0
    with torch.no_grad():
        losses = [
            float(torch.nn.functional.cross_entropy(one(task.train.inputs), task.train.targets))
            for one in networks
        ]
    assert min(abs(recorded["samples"]["loss"] - loss) for loss in losses) < 1e-5
    assert max(losses) - min(losses) > 1e-3
    capsys.readouterr()
    assert main(["surface", str(run), "--grid", "2"]) == 2
    assert "each sample keeps the running statistics" in capsys.readouterr().err
    assert imported(folder, "--buffers", "neither") == 2
