"""The figure of the measures of flatness: what it draws is what the file says."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from landscape_app import figures, table
from landscape_app.data import NotMeasured

from landscape.errors import InputError
from landscape.store import Run, SampleMean

NAMES = ["trace_normalised", "learning_coefficient", "fisher_rao"]


def write_measures(run: Run, names: list[str] = NAMES, samples: int = 6) -> np.ndarray:
    values = np.random.default_rng(samples).lognormal(0, 1, (samples, len(names)))
    values[0, 1] = -0.5  # a coefficient may be negative
    converged = np.ones(values.shape)
    converged[2, 0] = 0
    run.write(
        "sharpness",
        {"value": values, "error": values**2 / 10, "converged": converged},
        {"measures": json.dumps(names), "examples": 100, "split": "train"},
    )
    return values


def test_a_panel_a_measure_with_its_samples_and_their_mean(new_run: Callable[..., Run]) -> None:
    complete = new_run("digits-swag-0")
    values = write_measures(complete)
    figure = figures.measures_figure(complete)
    assert [note.text for note in figure.layout.annotations] == NAMES
    points = [trace for trace in figure.data if len(trace.x) == 6]
    np.testing.assert_array_equal([trace.y for trace in points], values.T)
    assert points[0].marker.symbol[2].endswith("-open")
    assert not points[0].marker.symbol[1].endswith("-open")
    means = [trace for trace in figure.data if len(trace.x) == 1]
    for trace, column in zip(means, values.T, strict=True):
        expected = SampleMean.of(column)
        assert trace.y[0] == pytest.approx(expected.mean)
        assert trace.y[0] + trace.error_y.array[0] == pytest.approx(expected.high)
        assert trace.y[0] - trace.error_y.arrayminus[0] == pytest.approx(expected.low)
    axes = [figure.layout[axis].type for axis in ("yaxis", "yaxis2", "yaxis3")]
    assert axes == ["log", None, "log"]


def test_runs_with_other_measures_share_the_panels(new_run: Callable[..., Run]) -> None:
    complete, other = new_run("digits-swag-0"), new_run("other", seed=1)
    first, second = write_measures(complete), write_measures(other, ["fisher_rao", "<b>"], 3)
    rows = table.rows(figures.measures_figure(complete, other))
    values = {
        (row["run"], row["series"], row["sample"]): row["y"] for row in rows if "sample" in row
    }
    assert values["digits-swag-0", "fisher_rao", 4] == first[4, 2]
    assert values["other", "fisher_rao", 2] == second[2, 0]
    assert values["other", "<b>", 1] == second[1, 1]
    assert len(values) == first.size + second.size
    # The names on the axes are hidden, for the panels have them as titles; the table has them.
    assert {row["quantity_y"] for row in rows} == {*NAMES, "<b>"}


def test_a_sample_is_highlighted_in_each_panel(new_run: Callable[..., Run]) -> None:
    complete = new_run("digits-swag-0")
    write_measures(complete)
    figure = figures.measures_figure(complete, picked={"digits-swag-0": [3]})
    assert [trace.selectedpoints for trace in figure.data if len(trace.x) == 6] == [(3,)] * 3


def test_what_is_missing_is_named_with_its_command(started: Run) -> None:
    with pytest.raises(NotMeasured, match=r"landscape measure .* --sharpness all"):
        figures.measures_figure(started)
    started.write("sharpness", {"value": [[1.0]]}, {"measures": "3"})
    with pytest.raises(InputError, match="no list of names"):
        figures.measures_figure(started)
