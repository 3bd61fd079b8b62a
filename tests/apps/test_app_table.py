"""The rows behind the figures hold the numbers of the file."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from landscape_app import figures
from landscape_app.table import rows, to_csv

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
    drawn = group["loss"] if log else np.where(np.isfinite(group["loss"]), group["loss"], np.nan)
    np.testing.assert_array_equal(written, drawn)
    assert (grid[1]["x"], grid[1]["y"]) == (group["x"][1], group["y"][0])
    assert grid[0]["quantity_z"] == "loss (nat)"
    samples = [row for row in found if "sample" in row]
    assert {row["sample"] for row in samples} == set(range(10))


def test_points_come_with_run_sample_and_error(complete: Run) -> None:
    found = rows(figures.trace_figure(complete))
    group = complete["samples"]
    assert [row["y"] for row in found if "sample" in row] == group["trace"].tolist()
    assert found[3]["plus"] == found[3]["minus"] == group["trace_standard_error"][3]
    assert (found[3]["run"], found[3]["sample"]) == ("digits-swag-0", 3)
    assert found[3]["quantity_y"] == "trace (nat)"


def test_bars_that_are_not_symmetric_have_both_lengths(complete: Run) -> None:
    figure = figures.calibration_figure(complete)
    found = [row for row in rows(figure) if "plus" in row]
    np.testing.assert_allclose([row["plus"] for row in found], figure.data[1].error_y.array)
    np.testing.assert_allclose([row["minus"] for row in found], figure.data[1].error_y.arrayminus)


def test_each_panel_says_what_its_axes_are_of(complete: Run) -> None:
    found = rows(figures.relation_figure(complete))
    quantities = {row["quantity_y"] for row in found}
    assert quantities == {"NLL of the sample alone (nat)", "its error"}
    assert {row["quantity_x"] for row in found} == {"λ1 (nat)"}


def test_the_csv_reads_as_the_rows(complete: Run) -> None:
    figure = figures.metrics_figure(complete)
    read = list(csv.DictReader(io.StringIO(to_csv(figure))))
    expected = rows(figure)
    assert len(read) == len(expected)
    for line, row in zip(read, expected, strict=True):
        assert float(line["y"]) == row["y"]
        assert line["series"] == row["series"]


def test_text_from_a_file_is_no_formula(started: Run) -> None:
    attributes = {"x_axis": '=HYPERLINK("http://x")'}
    arrays = {"x": [0.0, 1.0], "y": [0.0, 1.0], "loss": np.ones((2, 2))}
    arrays |= {f"sample_{name}": [0.5] for name in ("x", "y", "off_plane", "loss")}
    started.write("surfaces/samples", arrays, attributes)
    written = to_csv(figures.surface_figure(started, "samples"))
    assert "'=HYPERLINK" in written
    for line in csv.reader(io.StringIO(written)):
        assert not any(cell.startswith("=") for cell in line)
