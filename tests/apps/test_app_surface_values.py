"""Surfaces of accuracy and of differences, and two posteriors over one of them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from landscape_app import figures, table
from landscape_app.data import NotMeasured
from landscape_app.figures import values
from landscape_app.pages import surface as page
from landscape_app.url import View
from made import start_run
from made import surface as made_surface

from landscape.cli import main
from landscape.errors import InputError
from landscape.store import Run

AXES = {"kind": "pca", "seed": 0, "x_axis": "first", "y_axis": "second"}


def flat(slope: float, samples: int = 4) -> dict[str, np.ndarray]:
    """A plane that rises with x + 2 y, and its samples."""
    surface = made_surface(np.random.default_rng(0), samples)
    across, along = np.meshgrid(surface["x"], surface["y"])
    return surface | {"loss": slope * (across + 2 * along) + 10}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = start_run(tmp_path, "run", status="complete")
    run.write("surfaces/pca", flat(1.0), AXES | {"examples": 100, "split": "train"})
    run.write("surfaces/pca-test", flat(3.0), AXES | {"examples": 40, "split": "test"})
    return run


def grid(figure: object) -> np.ndarray:
    """The drawn numbers of the only grid."""
    (trace,) = [trace for trace in figure.data if trace.type in ("contour", "surface")]  # type: ignore[attr-defined]
    return np.asarray(trace.z)


@pytest.mark.parametrize("kind", ["contour", "3d"])
def test_test_loss_less_training_loss(run: Run, kind: str) -> None:
    figure = figures.surface_figure(run, "pca", kind=kind, value="gap", at=(0.0, 0.0))  # type: ignore[arg-type]
    train, test = run["surfaces/pca"]["loss"], run["surfaces/pca-test"]["loss"]
    np.testing.assert_allclose(grid(figure), test - train)
    (trace,) = [trace for trace in figure.data if trace.type in ("contour", "surface")]
    low, high = (trace.zmin, trace.zmax) if kind == "contour" else (trace.cmin, trace.cmax)
    assert low == -high == -np.abs(test - train).max()  # white is no difference
    held = run["surfaces/pca"]
    rows = [row for row in table.rows(figure) if row["series"] == "posterior sample"]
    expected = 2 * (held["sample_x"] + 2 * held["sample_y"])  # the difference is itself a plane
    np.testing.assert_allclose([row["below"] for row in rows], expected, rtol=1e-9)
    assert "examples" not in str(figure.layout.title.text)


def test_accuracy_is_drawn_with_its_best_point(run: Run) -> None:
    figure = figures.surface_figure(run, "pca", value="accuracy", log=True)
    np.testing.assert_array_equal(grid(figure), run["surfaces/pca"]["accuracy"])
    assert figure.data[0].colorbar.tickformat == ".0%"
    slices = figures.slices_figure(run, name="pca", at=(0.0, 0.0), value="accuracy")
    assert slices.layout.yaxis.title.text == "accuracy"
    nearest = np.abs(run["surfaces/pca"]["y"]).argmin()
    np.testing.assert_array_equal(slices.data[0].y, run["surfaces/pca"]["accuracy"][nearest])


def test_losses_on_two_planes_have_no_difference(run: Run) -> None:
    other = AXES | {"x_axis": "eigenvector of another Hessian"}
    run.write("surfaces/pca-test", flat(3.0), other)
    with pytest.raises(InputError, match="different planes or grids"):
        figures.surface_figure(run, "pca", value="gap")


def test_two_runs_on_one_plane_differ_only_if_their_losses_do(tmp_path: Path) -> None:
    runs = [start_run(tmp_path, name, status="complete") for name in ("a", "b")]
    for index, one in enumerate(runs):
        one.write("surfaces/own", flat(1.0 + index), AXES | {"plane_fingerprint": "same"})
    assert values.differ(runs, "own")
    figure = figures.shared_surface_figure(*runs, name="own", value="difference")
    losses = [one["surfaces/own"]["loss"] for one in runs]
    np.testing.assert_allclose(grid(figure), losses[1] - losses[0])
    view = View.parse("/surface?run=a&run=b&plane=own&value=difference")
    assert page.PAGE.graphs["surface-0"](runs, view) is not None
    runs[1].write("surfaces/own", flat(1.0), AXES | {"plane_fingerprint": "same"})
    assert not values.differ(runs, "own")
    with pytest.raises(InputError, match="depends on the weights alone"):
        figures.shared_surface_figure(*runs, name="own", value="difference")
    runs[1].write("surfaces/own", flat(2.0), AXES | {"plane_fingerprint": "other"})
    with pytest.raises(InputError, match="plane that they share"):
        page.PAGE.graphs["surface-0"](runs, view)


def test_the_page_names_the_command_for_the_test_set_and_it_works(tmp_path: Path) -> None:
    given = ["--shots", "2", "--model", "mlp", "--epochs", "1", "--samples", "1", "--name", "run"]
    assert main(["train", "digits", "map", *given, "--out", str(tmp_path)]) == 0
    path = tmp_path / "run.h5"
    shape = ["--plane", "random", "--grid", "3", "--rows", "2", "--samples", "1", "--extent", "0.7"]
    assert main(["surface", str(path), *shape]) == 0
    run = Run.open(path)
    with pytest.raises(NotMeasured) as error:
        figures.surface_figure(run, "random", value="gap")
    words = shlex.split(re.search("`(.*)`", str(error.value))[1])  # type: ignore[index]
    assert main(words[1:]) == 0
    gap = grid(figures.surface_figure(run, "random", value="gap"))
    losses = [run[f"surfaces/random{end}"]["loss"] for end in ("-test", "")]
    np.testing.assert_allclose(gap, losses[0] - losses[1])
    assert json.loads(str(run.attributes_of("surfaces/random-test")["request"]))["extent"] == 0.7
