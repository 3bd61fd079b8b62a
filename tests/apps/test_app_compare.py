"""Any number against any other: what is drawn is what the files hold, and the address says it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from landscape_app import figures, formats, table
from landscape_app.numbers import comparison, filters, number_names, sample_readings
from landscape_app.pages import compare, runs
from landscape_app.url import View
from made import start_run
from scipy import stats

from landscape.errors import InputError
from landscape.store import Run, SampleMean

SAMPLES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs of two methods and four radii; one has no curvature."""
    path = tmp_path_factory.mktemp("compared")
    generator = np.random.default_rng(0)
    for index in range(4):
        method = ("swag", "vi")[index % 2]
        run = start_run(path, f"run{index}", method=method, seed=index)
        config = {"method": {"name": method, "radius": 10.0**-index, "start": None}}
        run.set_attributes(config=json.dumps(config), status="complete")
        values = generator.lognormal(index, 0.3, (SAMPLES, 2))
        if index:
            arrays = {"eigenvalues": values, "residuals": values / 100, "trace": values.sum(1)}
            run.write("samples", arrays | {"trace_standard_error": values[:, 0] / 10}, {"seed": 3})
            measures = {"measures": json.dumps(["adaptive"])}
            sharp = {"value": values[:, :1], "error": values[:, :1] / 5}
            run.write("sharpness", sharp, measures)
        nll = generator.uniform(0.2, 1, SAMPLES)
        metrics = {"nll": nll, "accuracy": np.exp(-nll)}
        run.write("predictions", metrics, {"seed": 3, "nll": nll.mean(), "accuracy": 0.9})
    return path


def points(figure: go.Figure) -> dict[str, tuple[float, float]]:
    return {row["run"]: (row["x"], row["y"]) for row in table.rows(figure)}


def test_runs_are_points_with_their_intervals(folder: Path) -> None:
    figure = compare.draw(folder, View.parse("/compare"))
    found = points(figure)
    assert found.keys() == {"run1", "run2", "run3"}
    for name, (x, y) in found.items():
        run = Run.open(folder / f"{name}.h5")
        largest = run["samples"]["eigenvalues"][:, 0]
        assert x == pytest.approx(largest.mean())
        assert y == pytest.approx(run["predictions"]["nll"].mean())
        interval = stats.t.interval(0.95, SAMPLES - 1, largest.mean(), stats.sem(largest))
        trace = next(t for t in figure.data if [name] in list(map(list, t.customdata)))
        place = [row[0] for row in trace.customdata].index(name)
        assert x + trace.error_x.array[place] == pytest.approx(interval[1])
        assert x - trace.error_x.arrayminus[place] == pytest.approx(interval[0])
    title = str(figure.layout.title.text)
    assert "1 of 4 runs lack one of the numbers" in title
    rho = stats.spearmanr(*zip(*found.values(), strict=True)).statistic
    assert f"Spearman's ρ over all points {formats.number(rho, 2)} (n = 3" in title
    assert {trace.name for trace in figure.data} == {"swag", "vi"}


def test_a_setting_is_an_axis_a_colour_and_a_condition(folder: Path) -> None:
    address = "/compare?where=method:vi&x=method.radius&y=accuracy&xscale=log"
    view = View.parse(address)
    assert view.address == address
    figure = compare.draw(folder, view)
    assert points(figure) == {"run1": (0.1, 0.9), "run3": (0.001, 0.9)}
    assert figure.layout.xaxis.type == "log"
    by_radius = compare.draw(folder, View.parse("/compare?y=trace&hue=method.radius"))
    assert {trace.name for trace in by_radius.data} == {f"radius {10.0**-i}" for i in (1, 2, 3)}
    by_number = compare.draw(folder, View.parse("/compare?y=trace&hue=nll"))
    (trace,) = by_number.data
    shown = {row["run"]: row for row in table.rows(by_number)}
    expected = [Run.open(folder / f"{name}.h5")["predictions"]["nll"].mean() for name in shown]
    np.testing.assert_allclose(trace.marker.color, expected)
    assert "NLL" in trace.marker.colorbar.title.text
    both = View.parse("/compare?where=method:vi&where=method:swag&where=method.radius:0.1")
    assert [item.run for item in comparison(folder, both).items] == ["run1"]
    assert {"method:vi", "method.radius:0.001"} <= set(filters(folder))
    with pytest.raises(InputError, match="none of the runs has gone and NLL"):
        compare.draw(folder, View.parse("/compare?x=gone"))


def test_samples_are_points_with_the_errors_of_their_estimates(folder: Path) -> None:
    view = View.parse("/compare?run=run2&of=samples&x=trace&y=sharpness.adaptive")
    figure = compare.draw(folder, view)
    found = table.rows(figure)
    run = Run.open(folder / "run2.h5")
    assert [row["sample"] for row in found] == list(range(SAMPLES))
    np.testing.assert_array_equal([row["x"] for row in found], run["samples"]["trace"])
    np.testing.assert_array_equal([row["y"] for row in found], run["sharpness"]["value"][:, 0])
    (trace,) = figure.data
    np.testing.assert_allclose(trace.error_x.array, run["samples"]["trace_standard_error"])
    np.testing.assert_allclose(trace.error_y.array, run["sharpness"]["error"][:, 0])
    assert "[" in str(figure.layout.title.text)  # an interval of one run's samples
    every = View.parse("/compare?of=samples&x=lambda_1&y=nll")
    assert len(comparison(folder, every).items) == 4 * SAMPLES
    assert "no interval over several runs" in str(compare.draw(folder, every).layout.title.text)
    assert {"lambda_1", "lambda_2", "trace", "nll", "sharpness.adaptive", "method.radius"} <= set(
        number_names(folder, every)
    )


def test_metrics_of_other_samples_are_not_joined(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    path.write_bytes((folder / "run1.h5").read_bytes())
    run = Run.open(path)
    assert "nll" in sample_readings(run)[0]
    run.write("predictions", dict(run["predictions"]), {"seed": 4})
    assert "nll" not in sample_readings(run)[0]


def test_the_fields_have_what_the_address_says(folder: Path) -> None:
    x_data, _, colours, conditions, lines, x, y, colour, where, axes, values = compare.fill(
        folder, View.parse("/compare?x=trace&hue=method.radius&where=method:gone")
    )
    assert (x, y, colour, where) == ("trace", "nll", "method.radius", ["method:gone"])
    assert values == {"x": x, "y": y, "hue": colour, "where": where, "axes": axes}
    assert {"trace", "method.radius", "method"} <= {option["value"] for option in lines}
    assert {"value": "lambda_1", "label": "λ1 (nat)"} in x_data
    assert {"value": "method", "label": "method"} in colours
    assert "method:gone" in conditions
    assert compare.fill(folder / "gone", View.parse("/compare"))[0] == []


def test_settings_are_columns_of_the_list(folder: Path) -> None:
    rows, *_ = runs.fill(folder, View.parse("/?columns=method.radius,method.start,absent"))
    settings = {row["name"]: row["settings"] for row in rows}
    assert settings["run2"] == {"method.radius": 0.01, "method.start": "–", "absent": "–"}
    assert "settings" not in runs.fill(folder, View())[0][0]


def test_an_interval_may_be_missing_beside_one_that_is_not() -> None:
    mean = SampleMean.of(np.array([1.0]))
    figure = go.Figure(figures.theme.scatter(error_y=figures.samples.interval_bars([mean])))
    assert np.isnan(figure.data[0].error_y.array[0])
