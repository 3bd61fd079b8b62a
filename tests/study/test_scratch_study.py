"""The study of training from scratch, on the digits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TINY, silent

from landscape import methods, posteriors, tasks, workflow
from landscape.cli import main
from landscape.curvature import measure
from landscape.errors import InputError
from landscape.objective.subsets import normalisation_and_head
from landscape.store import Run
from landscape.study import study
from landscape.study.scratch import NETWORKS, PROBLEMS, ROWS, Study

BUDGET = replace(TINY, epochs=2, samples=2, measured=1)
ONLY = ["sam", "fp-bma-vi-0.05"]
ARGUMENTS: dict[str, Any] = {"task": "digits", "only": ONLY, "progress": silent}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scratch")
    study("scratch", path, BUDGET, **ARGUMENTS)
    return path


def test_it_does_nothing_twice_and_its_page_names_what_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "train", None)
    monkeypatch.setattr(workflow, "measure_curvature", None)
    results, differences = study("scratch", folder, BUDGET, **ARGUMENTS)
    assert [row[:2] for row in results.rows] == [(name, "2") for name in ONLY]
    assert differences.rows == ()  # their twins are not there
    page = (folder / "scratch.md").read_text()
    assert f"Of {2 * len(ROWS)} trainings ({len(ROWS)} rows, 2 seeds) 4 are finished" in page
    assert f"{len(tasks.load('digits').train)} training images" in page


def test_all_rows_of_a_seed_start_alike_and_move_all_weights(folder: Path) -> None:
    whole = Study(folder, BUDGET, task="digits")
    task, model = whole.start(1)
    part = normalisation_and_head(model)
    for name in ONLY:
        weights = folder / "runs" / f"{name}-seed1.safetensors"
        posterior = posteriors.load(weights, model, calibration=task.train)
        inferred = part if name != "sam" else [key for key, _ in model.named_parameters()]
        assert list(posterior.space.names) == inferred
        trained = dict(posterior.network().named_parameters())
        same = [key for key, value in model.named_parameters() if torch.equal(value, trained[key])]
        assert same == []


def test_its_curvature_is_that_of_the_part_for_sam_too(folder: Path) -> None:
    task, model = Study(folder, BUDGET, task="digits").start(0)
    posterior = posteriors.load(folder / "runs" / "sam-seed0.safetensors", model)
    run = Run.open(folder / "runs" / "sam-seed0.h5")
    stored = run.read("samples", "eigenvalues")["eigenvalues"][0]
    for name, value in posterior.space.unflatten(posterior.mean).items():
        model.get_parameter(name).data.copy_(value)
    point = methods.MAP(epochs=1, learning_rate=1e-12, weight_decay=0.0).fit(
        model, task, parameters=normalisation_and_head(model), device="cpu"
    )
    found = measure(point, task.train, samples=1, eigenvalues=1, tolerance=1e-3)
    assert stored[0] == pytest.approx(np.asarray(found.eigenvalues)[0, 0], rel=0.02)


def test_the_settings_of_the_rows_are_those_of_one_comparison(folder: Path) -> None:
    budget = replace(BUDGET, epochs=30)
    whole = Study(folder, budget, task="digits")
    made = {
        name: methods.create(row.method, **whole.settings(row, 0.03)) for name, row in ROWS.items()
    }
    for name, method in made.items():
        assert (method.epochs, method.learning_rate, method.warmup) == (30, 0.03, 0.1)
        assert method.weight_decay == 5e-4
        assert method.patience == (0 if "swag" in name else 30)
        assert all(twin in ROWS for twin in ROWS[name].twins)
    assert made["vi"].rho(100) == 0
    assert made["fp-bma-vi-0.2"].rho(100) == made["random-vi-0.2"].rho(100) == pytest.approx(2.0)
    assert made["fp-bma-swag-0.1"].rho(100) == pytest.approx(1.0)
    assert made["f-swag"].rho(100) == made["sam"].rho(100) == 0.05
    assert made["random-vi-0.2"].ball == "random"


def test_requests_that_do_not_fit_are_one_line(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for settings, message in (
        (
            {"task": "mnist"},
            "scratch is on the tasks cifar10, cifar10-few-shot, digits, not 'mnist'",
        ),
        ({"model": "convnet"}, "scratch has the networks vit, resnet20, not 'convnet'"),
        ({"task": "digits", "only": ["swa"]}, "unknown row 'swa'; known: sgd, sam"),
        ({"weights": tmp_path / "some.pt"}, "leave out --weights"),
    ):
        with pytest.raises(InputError, match=message):
            study("scratch", tmp_path, BUDGET, progress=silent, **settings)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(InputError, match="holds a study of digits with vit from scratch"):
        Study(folder, BUDGET, task="digits", network="resnet20")
    words = Study(folder, BUDGET, task="digits").command.replace("FOLDER", str(folder)).split()
    assert main([*words[1:], "--methods", ",".join(ONLY)]) == 0  # all of it is there
    assert "fp-bma-vi-0.05" in capsys.readouterr().out


def test_its_problems_and_networks_can_be_made() -> None:
    task = tasks.load(**PROBLEMS["digits"])
    assert len(task.train) == 100
    from landscape import models

    for name, settings in NETWORKS.items():
        model = models.build(name, task, **settings)
        assert model(task.train.inputs[:2]).shape == (2, 10)
        assert len(normalisation_and_head(model)) > 2
