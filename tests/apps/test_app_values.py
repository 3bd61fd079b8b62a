"""Figures and pages of files that hold any numbers and settings: drawn, or a line says why not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from damage import NASTY, NUMBERS, outcome
from landscape_app import exports, figures
from landscape_app.inputs import sample_count
from landscape_app.pages import details, runs
from landscape_app.table import to_csv
from landscape_app.url import View

from landscape.errors import InputError
from landscape.store import Run

SAMPLES, EXAMPLES, CLASSES = 4, 6, 3
SURFACE = {
    "x": np.linspace(-1, 1, 4),
    "y": np.linspace(0, 2, 3),
    "loss": np.arange(1.0, 13.0).reshape(3, 4),
    "accuracy": np.full((3, 4), 0.5),
    "finished": np.ones(3),
    "sample_x": np.arange(4.0),
    "sample_y": np.arange(4.0),
    "sample_off_plane": np.arange(4.0),
    "sample_loss": np.arange(4.0),
}
LINE = {"x": np.linspace(0, 1, 5), "loss": np.arange(5.0), "accuracy": np.full(5, 0.5)}
GROUPS: dict[str, dict[str, Any]] = {
    "training": {
        "epoch": np.arange(1, 4),
        "train_loss": np.arange(3.0),
        "validation_loss": np.arange(3.0),
        "validation_accuracy": np.full(3, 0.5),
        "perturbation_norm": np.arange(3.0),
    },
    "samples": {
        "eigenvalues": np.arange(1.0, 9.0).reshape(4, 2),
        "residuals": np.full((4, 2), 1e-4),
        "converged": np.ones((4, 2)),
        "trace": np.arange(4.0),
        "trace_standard_error": np.ones(4),
    },
    "density": {
        "grid": np.linspace(-1, 1, 5),
        "density": np.full((4, 5), 0.5),
        "standard_error": np.full((4, 5), 0.1),
    },
    "predictions": {
        "log_probabilities": np.log(np.full((SAMPLES, EXAMPLES, CLASSES), 1 / CLASSES)),
        "labels": np.arange(EXAMPLES) % CLASSES,
        **{name: np.full(SAMPLES, 0.5) for name in ("nll", "accuracy", "ece", "brier")},
    },
    "surfaces/samples": SURFACE,
    "lines/samples": LINE,
    "lines/random": LINE,
}
ATTRIBUTES = {
    "training": {},
    "samples": {"requested": 5, "examples": 9, "split": "train", "matrix": "hessian", "seed": 3},
    "density": {"kernel_width": 0.4, "matrix": "hessian", "examples": 9},
    "predictions": {"accuracy": 0.5, "nll": 1.0, "ece": 0.1, "brier": 0.2, "samples": 4, "seed": 3},
    "surfaces/samples": {"kind": "samples", "x_axis": "x", "examples": 9, "variance_share": 0.5},
    "lines/samples": {"kind": "samples", "distance": 2.0, "examples": 9},
    "lines/random": {"kind": "random", "examples": 9},
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with every group that is drawn."""
    config = {"method": {"name": "swag", "rank": 5}, "task": {"shots": 10}}
    run = Run.create(
        tmp_path_factory.mktemp("whole") / "run.h5",
        method="swag",
        seed=3,
        parameter_count=99,
        training_seconds=3.0,
        config=config,
        groups={name: (variables, ATTRIBUTES[name]) for name, variables in GROUPS.items()},
    )
    return run.path


def spoil(path: Path, name: str, generator: np.random.Generator) -> None:
    """Fill a variable of a group with other numbers, or give an attribute another value."""
    with h5py.File(path, "r+") as file:
        group = file[name]
        names = [name for name in group if group[name].dtype.kind == "f"]
        if generator.random() < 0.6:
            target = group[names[int(generator.integers(0, len(names)))]]
            filled = generator.random(target.shape) < generator.choice([0.1, 0.3, 1.1])
            number = NUMBERS[int(generator.integers(0, len(NUMBERS)))]
            with np.errstate(over="ignore"):
                target[...] = np.where(filled, number, target[()])
        else:
            owner = group if len(group.attrs) and generator.random() < 0.8 else file
            known = sorted(owner.attrs)
            value = NASTY[int(generator.integers(0, len(NASTY)))]
            _set(owner, known[int(generator.integers(0, len(known)))], value)


def _set(owner: h5py.Group, name: str, value: Any) -> None:
    if isinstance(value, list | dict | None) or (isinstance(value, int) and abs(value) >= 2**64):
        value = json.dumps(value)
    if isinstance(value, str):
        value = value.replace("\0", "")
    owner.attrs[name] = value


def _surfaces(run: Run) -> list[Any]:
    at = (0.0, 1.0)
    return [
        _drawn(figures.surface_figure, run, name="samples", log=True, at=at),
        _drawn(figures.surface_figure, run, name="samples", kind="3d", picked={"run": (0, 9)}),
        _drawn(figures.slices_figure, run, name="samples", at=at, log=True),
    ]


def _flatness(run: Run) -> list[Any]:
    shared = {"log": True, "picked": {"run": (0, 9)}}
    return [
        _drawn(figures.eigenvalues_figure, run, **shared),
        _drawn(figures.spread_figure, run, **shared),
        *(_drawn(draw, run) for draw in (figures.trace_figure, figures.relation_figure)),
    ]


DRAWN: dict[str, Callable[[Run], list[Any]]] = {
    "training": lambda run: [_drawn(figures.training_figure, run)],
    "samples": _flatness,
    "density": lambda run: [_drawn(figures.density_figure, run, picked={"run": (0, 9)})],
    "predictions": lambda run: [
        _drawn(figures.metrics_figure, run),
        _drawn(figures.averaging_figure, run),
        _drawn(figures.calibration_figure, run),
    ],
    "surfaces/samples": _surfaces,
    "lines/samples": lambda run: [_drawn(figures.lines_figure, run, log=True)],
    "lines/random": lambda run: [_drawn(figures.lines_figure, run)],
}


def look(path: Path, *groups: str) -> None:
    """What the dashboard and ``export`` do with a run."""
    runs.fill(path.parent, View(runs=("run",)))
    run = Run.open(path)
    sample_count(run)
    details.content(path.parent, View("run", "run"))
    for figure in (figure for group in groups for figure in DRAWN[group](run)):
        if not isinstance(figure, InputError):
            to_csv(figure)
            json.loads(exports._json(figure))


def _drawn(draw: Callable[..., Any], run: Run, **settings: Any) -> Any:
    try:
        return draw(run, **settings)
    except InputError as fault:
        return fault


def test_any_numbers_and_attributes_are_drawn_or_named(measured: Path, tmp_path: Path) -> None:
    look(measured, *GROUPS)
    generator = np.random.default_rng(0)
    path = tmp_path / "run.h5"
    found = []
    for index in range(140 * int(os.environ.get("FUZZ", "1"))):
        name = list(GROUPS)[index % len(GROUPS)]
        shutil.copy(measured, path)
        spoil(path, name, generator)
        found.append(outcome(lambda name=name: look(path, name)))  # type: ignore[misc]
    assert "read" in found
