"""The rows behind the figures hold the numbers of the file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from landscape_app import figures
from landscape_app.table import rows, to_csv
from made import write_run

from landscape.store import Run


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("kind", ["contour", "3d"])
def test_a_surface_has_a_row_for_each_point_with_the_loss_of_the_file(
    kind: figures.Kind, log: bool, complete: Run
) -> None:
    group = complete["surfaces/samples"]
    found = rows(figures.surface_figure(complete, "samples", kind, log))
    grid = [row for row in found if row["series"] == "loss"]
    assert len(grid) == group["loss"].size
    written = np.array([row["z"] for row in grid]).reshape(group["loss"].shape)
    np.testing.assert_array_equal(written, group["loss"])
    accuracy = np.array([row["accuracy"] for row in grid]).reshape(group["loss"].shape)
    np.testing.assert_array_equal(accuracy, group["accuracy"])
    assert (grid[1]["x"], grid[1]["y"]) == (group["x"][1], group["y"][0])
    assert grid[0]["quantity_z"] == "loss (nat)"
    samples = found[:10]  # before the grid, of which a page shows only the beginning
    assert [row["sample"] for row in samples] == list(range(10))
    for name in ("x", "y", "off_plane"):
        assert [row[name] for row in samples] == group[f"sample_{name}"].tolist()
    assert [row["own_loss"] for row in samples] == group["sample_loss"].tolist()
    assert {row["run"] for row in found} == {"digits-swag-0"}


def test_points_come_with_run_sample_and_error(complete: Run) -> None:
    found = rows(figures.trace_figure(complete))
    group = complete["samples"]
    *_, mean = found
    assert (mean["series"], mean["y"]) == ("mean over samples", group["trace"].mean())
    assert [row["y"] for row in found if "sample" in row] == group["trace"].tolist()
    assert found[3]["plus"] == found[3]["minus"] == group["trace_standard_error"][3]
    assert (found[3]["run"], found[3]["sample"]) == ("digits-swag-0", 3)
    assert found[3]["quantity_y"] == "trace (nat)"


def test_bars_that_are_not_symmetric_have_both_lengths(complete: Run) -> None:
    figure = figures.calibration_figure(complete)
    found = [row for row in rows(figure) if "plus" in row]
    counts = complete["predictions"]["labels"].size
    assert sum(row["examples"] for row in found) == counts
    assert all(isinstance(row["examples"], int) for row in found)
    bars = next(trace for trace in figure.data if trace.meta).error_y
    np.testing.assert_allclose([row["plus"] for row in found], bars.array)
    np.testing.assert_allclose([row["minus"] for row in found], bars.arrayminus)


def test_each_panel_says_what_its_axes_are_of(complete: Run) -> None:
    found = rows(figures.relation_figure(complete))
    quantities = {row["quantity_y"] for row in found}
    assert quantities == {"NLL, one sample (nat)", "error, one sample"}
    assert {row["quantity_x"] for row in found} == {"λ1 (nat)"}


EVERY: dict[str, Callable[..., go.Figure]] = {
    "eigenvalues": figures.eigenvalues_figure,
    "trace": figures.trace_figure,
    "spread": partial(figures.spread_figure, log=True),
    "relation": figures.relation_figure,
    "density": partial(figures.density_figure, picked={"digits-swag-0": [1]}),
    "metrics": figures.metrics_figure,
    "averaging": figures.averaging_figure,
    "calibration": figures.calibration_figure,
    "training": figures.training_figure,
    "lines": figures.lines_figure,
    "slices": partial(figures.slices_figure, name="samples", at=(0.0, 0.0)),
}


@pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY.keys())
def test_every_number_says_whose_it_is_and_is_there_once(
    draw: Callable[..., go.Figure], complete: Run, tmp_path: Path
) -> None:
    other = write_run(tmp_path, "other <b>", seed=1)
    found = rows(draw(complete, other))
    assert {row["run"] for row in found} == {"digits-swag-0", "other <b>"}
    assert not any(row["run"] in row["series"] for row in found)
    assert all(isinstance(row["sample"], int) for row in found if "sample" in row)
    for axis in "xy":
        assert all(row[f"quantity_{axis}"] for row in found if axis in row)
    told = [tuple(row.items()) for row in found]
    assert len(set(told)) == len(told)


def test_the_numbers_of_a_density_are_those_of_the_file(complete: Run) -> None:
    found = rows(figures.density_figure(complete, picked={"digits-swag-0": [4]}))
    group = complete["density"]
    mean = [row for row in found if row["series"] == "mean over samples"]
    assert [row["x"] for row in mean] == group["grid"].tolist()
    np.testing.assert_array_equal([row["y"] for row in mean], group["density"].mean(0))
    error = 1.96 * np.sqrt((group["standard_error"] ** 2).sum(0)) / 10
    np.testing.assert_allclose([row["minus"] for row in mean], error)
    own = [row for row in found if row.get("sample") == 4]
    np.testing.assert_array_equal([row["y"] for row in own], group["density"][4])
    assert len(found) == 2 * group["grid"].size


def test_eigenvalues_say_which_converged(complete: Run) -> None:
    found = rows(figures.eigenvalues_figure(complete))
    points = [row for row in found if "sample" in row]
    told = {(row["sample"], row["series"]): row["converged"] for row in points}
    assert (told.pop((9, "λ5")), set(told.values())) == ("no", {"yes"})


def test_what_a_logarithm_leaves_out_is_in_the_table(started: Run) -> None:
    started.write("samples", {"eigenvalues": [[2.0], [-1.0]], "trace": [5.0, 4.0]})
    found = rows(figures.spread_figure(started, log=True))
    assert [row["y"] for row in found if row["series"] == "λ1"] == [2.0, -1.0]


def test_an_average_is_one_row_a_metric(complete: Run) -> None:
    found = [row for row in rows(figures.metrics_figure(complete)) if "average" in row["series"]]
    group = complete.attributes_of("predictions")
    assert [row["y"] for row in found] == [group["nll"], group["accuracy"]]


def test_the_csv_reads_as_the_rows(complete: Run) -> None:
    figure = figures.metrics_figure(complete)
    read = list(csv.DictReader(io.StringIO(to_csv(figure))))
    expected = rows(figure)
    assert len(read) == len(expected)
    for line, row in zip(read, expected, strict=True):
        assert float(line["y"]) == row["y"]
        assert line["series"] == row["series"]


def test_text_from_a_file_is_no_formula(new_run: Callable[..., Run]) -> None:
    started, attributes = new_run("=HYPERLINK(1)"), {"x_axis": '=HYPERLINK("http://x")'}
    arrays = {"x": [0.0, 1.0], "y": [0.0, 1.0], "loss": np.ones((2, 2))}
    arrays |= {f"sample_{name}": [0.5] for name in ("x", "y", "off_plane", "loss")}
    started.write("surfaces/samples", arrays, attributes)
    written = to_csv(figures.surface_figure(started, "samples"))
    assert "'=HYPERLINK" in written
    for line in csv.reader(io.StringIO(written)):
        assert not any(cell.startswith("=") for cell in line)
