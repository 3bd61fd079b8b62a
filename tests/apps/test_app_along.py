"""What was measured along a training is drawn over its steps, and its path on its plane."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from landscape_app import figures, table
from landscape_app.data import NotMeasured
from landscape_app.figures import along
from landscape_app.groups import chosen_groups
from landscape_app.inputs import sample_count
from landscape_app.pages import training
from landscape_app.url import View
from made import start_run, surface

from landscape.cli import main
from landscape.store import Run

COUNTS = np.array([0, 20, 40, 60, 80, 100])
RATES = np.array([0.1, 0.1, 0.05, 0.05, 0.02])


def write(
    folder: Path, name: str, *, seed: int = 0, unit: str = "steps", scale: float = 1.0
) -> Run:
    """Five epochs of 20 steps, measured at their ends, with points that are out of order."""
    run = start_run(folder, name, method="map", seed=seed, status="complete")
    settings = {"name": "map", "ball": "none", "momentum": 0.9, "weight_decay": 0.5}
    run.set_attributes(config=json.dumps({"method": {**settings, "batch_size": 5}}))
    run.write("training", {"epoch": np.arange(1, 6), "learning_rate": RATES})
    order = [3, 1, 0, 2, 4, 5]
    values = scale * (1.0 + COUNTS[:, None] * np.array([[1.0, 0.1]]))
    variables = {"count": COUNTS, "eigenvalues": values, "residuals": values / 10}
    variables |= {"trace": values.sum(1), "trace_standard_error": values[:, 0] / 5}
    variables |= {"loss": np.exp(-COUNTS / 50)}
    run.write("trajectory", {key: value[order] for key, value in variables.items()}, {"unit": unit})
    generator = np.random.default_rng(seed)
    plane = surface(generator, len(COUNTS)) | {"sample_count": COUNTS}
    run.write("surfaces/trajectory", plane, {"kind": "pca", "unit": unit})
    return run


def test_numbers_are_drawn_over_steps_with_their_errors(tmp_path: Path) -> None:
    run = write(tmp_path, "run")
    figure = figures.along_figure(run)
    rows = {}
    for row in table.rows(figure):
        rows.setdefault(row["series"], []).append(row)
    for name, expected in (
        ("λ1", 1.0 + COUNTS),
        ("trace", 2.0 + 1.1 * COUNTS),
        ("training loss", np.exp(-COUNTS / 50)),
        ("distance to the plane", run["surfaces/trajectory"]["sample_off_plane"]),
    ):
        assert [row["x"] for row in rows[name]] == COUNTS.tolist()
        np.testing.assert_allclose([row["y"] for row in rows[name]], expected)
    np.testing.assert_allclose([row["plus"] for row in rows["λ1"]], (1 + COUNTS) / 10)
    np.testing.assert_allclose([row["plus"] for row in rows["trace"]], (1 + COUNTS) / 5)
    assert figure.layout.yaxis.type == "log"
    assert [row["x"] for row in rows["edge of stability"]] == [20, 40, 60, 80, 100]
    linear = figures.along_figure(run, log={along.CURVATURE: False})
    assert linear.layout.yaxis.type is None
    assert linear.layout.yaxis.range[1] > 101


def test_descent_converges_below_the_edge_of_stability_and_diverges_above(tmp_path: Path) -> None:
    edge = along.edge_of(write(tmp_path, "run"), "steps")
    assert edge is not None
    for rate, limit in ((RATES[0], edge[1][0]), (RATES[-1], edge[1][-1])):
        curvature = limit * torch.tensor([0.98, 1.02], dtype=torch.float64)
        weights = torch.ones(2, dtype=torch.float64, requires_grad=True)
        steps = torch.optim.SGD([weights], lr=rate, momentum=0.9, weight_decay=0.5)
        for _ in range(400):
            weights.grad = curvature * weights.detach()
            steps.step()
        below, above = weights.detach().abs()
        assert below < 1 < above


def test_no_edge_is_drawn_for_weights_that_do_not_move_by_sgd(tmp_path: Path) -> None:
    run = write(tmp_path, "run")
    method = run.config["method"]
    for change in ({"ball": "euclidean"}, {"name": "vi"}, {"momentum": "much"}):
        run.set_attributes(config=json.dumps({"method": {**method, **change}}))
        assert along.edge_of(run, "steps") is None
    assert "edge" not in str(figures.along_figure(run).layout.title.text)


def test_runs_beside_each_other_need_one_unit(tmp_path: Path) -> None:
    runs = [write(tmp_path, "a"), write(tmp_path, "b", unit="epochs"), start_run(tmp_path, "c")]
    title = str(figures.along_figure(*runs).layout.title.text)
    assert "b: counted in epochs, not in steps" in title
    assert "c: not measured along the training" in title


def test_groups_have_the_mean_over_their_runs(tmp_path: Path) -> None:
    for seed, scale in enumerate((1.0, 3.0)):
        write(tmp_path, f"run{seed}", seed=seed, scale=scale)
    draw = training.PAGE.grouped["along"]
    view = View.parse("/training?by=method")
    figure = draw(chosen_groups(tmp_path, view), view)
    (mean,) = [
        trace for trace in figure.data if trace.meta and trace.meta["series"] == "mean over runs"
    ][:1]
    np.testing.assert_allclose(mean.y, 2.0 * (1 + COUNTS))
    band = next(trace for trace in figure.data if trace.fill == "tonexty")
    lower = figure.data[list(figure.data).index(band) - 1]
    assert min(lower.y) == 1.0  # the interval of two runs reaches below zero, the axis does not


def test_the_path_is_a_line_in_the_order_of_training(tmp_path: Path) -> None:
    run = write(tmp_path, "run")
    held = run["surfaces/trajectory"]
    for kind in ("contour", "3d"):
        figure = figures.surface_figure(run, "trajectory", kind=kind)
        path = [row for row in table.rows(figure) if row["series"] == "weights along the training"]
        assert [row["after"] for row in path] == COUNTS.tolist()
        np.testing.assert_array_equal([row["x"] for row in path], held["sample_x"])
        np.testing.assert_array_equal([row["off_plane"] for row in path], held["sample_off_plane"])
        coloured = [
            trace for trace in figure.data if trace.type.startswith("scatter") and trace.name
        ][-1]
        assert list(coloured.marker.color) == COUNTS.tolist()
    assert sample_count(run) == 0  # no point of a training is a sample of the posterior


def test_the_page_names_the_command_that_measures_and_it_works(tmp_path: Path) -> None:
    given = ["--shots", "2", "--model", "mlp", "--epochs", "1", "--batch-size", "5"]
    kept = ["--record", "2", "--samples", "1", "--name", "run", "--out", str(tmp_path)]
    assert main(["train", "digits", "map", *given, *kept]) == 0
    run = Run.open(tmp_path / "run.h5")
    with pytest.raises(NotMeasured, match="not measured along the training") as error:
        figures.along_figure(run)
    words = shlex.split(re.search("`(.*)`", str(error.value))[1])  # type: ignore[index]
    cheap = ["--eigenvalues", "1", "--trace-matvecs", "2", "--grid", "2"]
    assert main([*words[1:], *cheap]) == 0
    assert "points" in str(figures.along_figure(run).layout.title.text)
    (tmp_path / "run.h5").unlink()
    bare = start_run(tmp_path, "run")
    with pytest.raises(NotMeasured, match=r"surface .trajectory. .*--plane trajectory`"):
        figures.surface_figure(bare, "trajectory")
    (tmp_path / "run.trajectory").rename(tmp_path / "other.trajectory")
    with pytest.raises(NotMeasured, match="--record 10"):
        figures.along_figure(bare)
