from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from landscape_app import figures, formats
from landscape_app.data import NotMeasured, share_plane
from landscape_app.pages import surface as surface_page
from landscape_app.table import rows
from landscape_app.url import View

from landscape.errors import InputError
from landscape.prediction import Prediction
from landscape.store import Run

FIGURES: dict[str, Callable[[Run], go.Figure]] = {
    "eigenvalues": figures.eigenvalues_figure,
    "trace": figures.trace_figure,
    "spread": figures.spread_figure,
    "relation": figures.relation_figure,
    "density": figures.density_figure,
    "training": figures.training_figure,
    "metrics": figures.metrics_figure,
    "averaging": figures.averaging_figure,
    "calibration": figures.calibration_figure,
    "surface": lambda run: figures.surface_figure(run, "samples"),
    "lines": figures.lines_figure,
    "slices": lambda run: figures.slices_figure(run, name="samples", at=(0.0, 0.0)),
    "surface-3d": lambda run: figures.surface_figure(run, "samples", "3d", log=True),
}


def surface_of(run: Run, loss: Any, **attributes: Any) -> Run:
    loss = np.asarray(loss, dtype=float)
    x, y = np.arange(loss.shape[1]) * 10.0, np.arange(loss.shape[0]) * 1.0
    run.write("surfaces/samples", {"x": x, "y": y, "loss": loss}, attributes)
    return run


def title(figure: go.Figure) -> str:
    return str(figure.layout.title.text)


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())
def test_every_figure_has_a_title_and_plain_json(
    draw: Callable[[Run], go.Figure], complete: Run
) -> None:
    figure = draw(complete)
    assert title(figure)
    assert json.loads(figure.to_json())["data"]


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())
def test_a_missing_quantity_is_named_with_its_remedy(
    draw: Callable[[Run], go.Figure], started: Run
) -> None:
    with pytest.raises(NotMeasured, match=r"`landscape (measure|surface|train)"):
        draw(started)


@pytest.mark.parametrize("kind", ["contour", "3d"])
def test_corners_of_a_grid_that_is_not_square_land_where_they_belong(
    kind: figures.Kind, started: Run
) -> None:
    run = surface_of(started, [[1, 2, 3], [4, 5, 6]])
    drawn = figures.surface_figure(run, "samples", kind).data[0]
    at = {
        (float(x), float(y)): float(drawn.z[row][column])
        for row, y in enumerate(drawn.y)
        for column, x in enumerate(drawn.x)
    }
    assert at[0, 0] == 1
    assert at[20, 0] == 3
    assert at[0, 1] == 4
    assert at[20, 1] == 6


@pytest.mark.parametrize("kind", ["contour", "3d"])
def test_values_that_are_not_finite_stay_gaps(kind: figures.Kind, started: Run) -> None:
    run = surface_of(started, [[1, np.nan, 3], [np.inf, 5, -np.inf]])
    figure = figures.surface_figure(run, "samples", kind)
    drawn = figure.data[0]
    assert np.isnan(drawn.z).tolist() == [[False, True, False], [True, False, True]]
    assert np.asarray(drawn.text).tolist() == [["1.000", "NaN", "3.000"], ["∞", "5.000", "−∞"]]
    assert drawn.connectgaps is False
    assert "3 of 6 points" in title(figure)


def test_a_logarithmic_surface_names_the_loss_and_leaves_out_what_has_no_logarithm(
    started: Run,
) -> None:
    run = surface_of(started, [[1, 10, 100], [0, -1, 1000]])
    figure = figures.surface_figure(run, "samples", log=True)
    drawn = figure.data[0]
    np.testing.assert_allclose(drawn.z, [[0, 1, 2], [np.nan, np.nan, 3]])
    ticks = dict(zip(drawn.colorbar.ticktext, drawn.colorbar.tickvals, strict=True))
    assert ticks["100"] == pytest.approx(2)
    assert "2 of 6 points" in title(figure)


@pytest.mark.parametrize("log", [False, True])
def test_a_surface_without_a_value_to_draw_says_so(log: bool, started: Run) -> None:
    run = surface_of(started, [[np.nan, np.inf]] * 2)
    with pytest.raises(InputError, match=r"no .*finite loss"):
        figures.surface_figure(run, "samples", log=log)


def test_slices_go_through_the_nearest_point_of_the_grid(started: Run) -> None:
    run = surface_of(started, [[1, 2, 3], [4, 5, -6], [7, np.nan, 9]])
    figure = figures.slices_figure(run, name="samples", at=(8.0, 1.4))  # at column 1 and row 1
    along_x, mark, along_y, _ = figure.data
    assert list(along_x.x) == [0, 10, 20]
    assert list(along_x.y) == [4, 5, -6]
    assert list(along_y.x) == [0, 1, 2]
    np.testing.assert_array_equal(along_y.y, [2, 5, np.nan])
    assert (list(mark.x), list(mark.y)) == ([10], [5])
    assert "x 10.0, y 1.00, loss 5.000" in title(figure)
    assert "1 of 6 points" in title(figure)
    figure = figures.slices_figure(run, name="samples", at=(99.0, -99.0), log=True)
    assert list(figure.data[0].y) == [1, 2, 3]
    log = figures.slices_figure(run, name="samples", at=(99.0, 1.0), log=True)
    np.testing.assert_array_equal(log.data[0].y, [4, 5, np.nan])


def test_the_samples_carry_their_distance_to_the_plane(complete: Run) -> None:
    away = complete["surfaces/samples"]["sample_off_plane"]
    rings = figures.surface_figure(complete, "samples").data[-1]
    assert np.argmax(rings.marker.size) == np.argmax(away)
    assert len(set(np.asarray(rings.marker.size)[away == 0])) == 1
    assert rings.customdata[5][3] == away[5]
    own = complete["surfaces/samples"]["sample_loss"]
    solid = figures.surface_figure(complete, "samples", "3d", log=False)
    points, axis = solid.data[1], solid.layout.scene.zaxis
    lift = np.ptp(axis.range) / 30  # not to be cut by the surface
    assert ((own < points.z) & (points.z < own + lift)).all()
    assert [row[2] for row in points.customdata] == own.tolist()
    assert points.z.max() < axis.range[1]


def test_a_highlighted_sample_in_space_is_pinned(complete: Run) -> None:
    picked = {"digits-swag-0": [4, 99]}
    solid = figures.surface_figure(complete, "samples", "3d", picked=picked)
    (pin,) = [trace for trace in solid.data if trace.type == "scatter3d" and trace.mode == "lines"]
    points = solid.data[1]
    assert [pin.x[0], pin.y[0], pin.z[0]] == [points.x[4], points.y[4], points.z[4]]
    assert [pin.x[1], pin.y[1]] == [points.x[4], points.y[4]]
    assert pin.z[1] == solid.layout.scene.zaxis.range[1]


def plane(run: Run, size: float, away: float) -> Run:
    """A square plane around 0 with two samples, the second off it."""
    side = np.linspace(-size, size, 3)
    arrays = {"x": side, "y": side, "loss": np.arange(9.0).reshape(3, 3)}
    arrays |= {"sample_x": [0.0, size], "sample_y": [0.0, 0.0]}
    arrays |= {"sample_off_plane": [0.0, away], "sample_loss": [4.0, 20.0]}
    run.write("surfaces/samples", arrays)
    return run


def test_surfaces_that_are_compared_share_the_scale_of_the_rings(
    started: Run, new_run: Callable[..., Run]
) -> None:
    near, far = plane(started, 1.0, 1.0), plane(new_run("far"), 1.0, 4.0)
    frame = figures.Frame.around([near, far], "samples")
    rings = [
        figures.surface_figure(run, "samples", frame=frame).data[-1].marker.size
        for run in (near, far)
    ]
    growth = [sizes[1] - sizes[0] for sizes in rings]
    assert growth[1] == pytest.approx(4 * growth[0])
    assert rings[0][0] == rings[1][0]
    for run in (near, far):
        keys = figures.surface_figure(run, "samples", frame=frame).data
        assert any("up to 4.00" in str(trace.name) for trace in keys)


def test_samples_in_the_plane_have_no_distance_to_tell(started: Run) -> None:
    names = [
        str(trace.name) for trace in figures.surface_figure(plane(started, 1, 0), "samples").data
    ]
    assert "posterior sample, in the plane" in names
    assert not any("up to" in name for name in names)


def test_only_the_ground_of_the_grid_is_grey(complete: Run) -> None:
    figure = figures.surface_figure(complete, "samples")
    (ground,) = figure.layout.shapes
    assert (ground.x0, ground.x1, ground.y0, ground.y1) == (-3, 4, -2, 2.5)
    assert (ground.fillcolor, ground.layer) == (figures.theme.MISSING, "below")
    assert figure.layout.plot_bgcolor is None
    figures.darkened(figure)
    assert figure.layout.shapes[0].fillcolor != figures.theme.MISSING


def test_a_plane_that_is_a_dot_among_the_others_says_so(
    started: Run, new_run: Callable[..., Run]
) -> None:
    small, large = plane(started, 1.0, 1.0), plane(new_run("large"), 10.0, 1.0)
    frame = figures.Frame.around([small, large], "samples")
    drawn = [figures.surface_figure(run, "samples", frame=frame) for run in (small, large)]
    assert "covers 1.0 % of the ranges" in title(drawn[0])
    assert "covers" not in title(drawn[1])
    assert drawn[0].layout.margin.t == drawn[1].layout.margin.t  # their plots lie on one level


def test_runs_share_the_loss_the_axes_too_or_nothing(
    started: Run, new_run: Callable[..., Run]
) -> None:
    small, large = plane(started, 1.0, 1.0), plane(new_run("large"), 10.0, 4.0)
    group = dict(large["surfaces/samples"])
    large.write("surfaces/samples", group | {"loss": 10 * group["loss"]})
    frame = figures.Frame.around([small, large], "samples")
    expected = {
        "all": (10, 80, ""),
        "colours": (1, 80, "own plane"),
        "nothing": (1, 8, "own"),
    }
    for shared, (reach, highest, words) in expected.items():
        own = frame.on(small, "samples", shared)
        drawn = figures.surface_figure(small, "samples", frame=own)
        assert drawn.layout.xaxis.range == (-reach, reach)
        assert (drawn.data[0].zmin, drawn.data[0].zmax) == (0, highest)
        assert words in title(drawn)
        solid = figures.surface_figure(small, "samples", "3d", frame=own)
        assert solid.data[0].cmax == highest
        slices = figures.slices_figure(small, large, name="samples", at=(0.0, 0.0), shared=shared)
        axes = list(slices.select_xaxes())
        assert len(axes) == (2 if shared == "all" else 4)
        assert len({axis.matches for axis in slices.select_yaxes()} - {None}) == (
            2 if shared == "nothing" else 1
        )
        assert (slices.layout.meta.get("height") is None) == (shared == "all")
    assert "heights are this run's own" in title(solid)


def test_runs_that_share_a_plane_are_on_one_surface(
    started: Run, new_run: Callable[..., Run]
) -> None:
    other, apart = new_run("other"), new_run("apart")
    for run, shift, mark in ((started, 0.0, "a"), (other, 0.5, "a"), (apart, 0.0, "b")):
        plane(run, 1.0, 1.0 + shift)
        group = dict(run["surfaces/samples"])
        group["sample_x"] = group["sample_x"] + shift
        run.write("surfaces/shared", group, {"plane_fingerprint": mark, "variance_share": 0.25})
    assert share_plane([started, other], "shared")
    assert not share_plane([started, other, apart], "shared")
    assert not share_plane([started, other], "samples")  # which says of no plane
    marks = figures.theme.MARKS
    figure = figures.shared_surface_figure(started, other, name="shared", marks=marks)
    found = rows(figure)
    assert sum(row["series"] == "loss" for row in found) == 9  # one grid
    for run, (colour, symbol) in zip((started, other), marks, strict=False):
        group = run["surfaces/shared"]
        own = [row for row in found if row["run"] == run.path.stem]
        assert [row["x"] for row in own] == group["sample_x"].tolist()
        assert [row["off_plane"] for row in own] == group["sample_off_plane"].tolist()
        (trace,) = [t for t in figure.data if t.meta and t.meta["run"] == run.path.stem]
        assert (trace.marker.symbol, set(trace.marker.color)) == (symbol, {colour})
    assert "digits-map-0: 0.50 ± 0.71 off the plane, which holds 25.0 %" in title(figure)
    solid = figures.shared_surface_figure(started, other, name="shared", kind="3d")
    assert [t.marker.color[0] for t in solid.data if t.meta and t.meta["run"]] == [
        marks[0][0],
        marks[1][0],
    ]
    slices = figures.slices_figure(started, other, name="shared", at=(0.0, 0.0))
    assert len(slices.data) == 4  # one slice along x and one along y, with their points
    assert "the slices are the same for all of them" in title(slices)
    for runs, places in (([started, other], [True, False]), ([started, apart], [True, True])):
        view = View("surface", runs=tuple(run.path.stem for run in runs), plane="shared")
        drawn = [surface_page._draw(place, runs, view) for place in (0, 1)]
        assert [figure is not None for figure in drawn] == places


def test_a_plane_of_eigenvectors_is_named_by_its_eigenvalues(started: Run) -> None:
    for words in ("Hessian eigenvector of λ{} = {}", "Hessian eigenvector of {1}"):  # and before
        axes = {f"{axis}_axis": words.format(rank, value) for axis, rank, value in AXES}
        run = surface_of(started, [[1, 2], [3, 4]], kind="eigenvectors", **axes)
        drawn = figures.surface_figure(run, "samples")
        assert "the plane of the eigenvectors of λ1 = 12.3 and λ2 = 4e-05" in title(drawn)


AXES = (("x", 1, "12.3"), ("y", 2, "4e-05"))


def test_the_lowest_point_and_the_mean_of_the_samples_are_marked(complete: Run) -> None:
    group = complete["surfaces/samples"]
    marked = {
        str(trace.name).partition(",")[0]: trace
        for trace in figures.surface_figure(complete, "samples").data
        if len(trace.x) == 1 and trace.x[0] is not None
    }
    row, column = divmod(int(np.nanargmin(group["loss"])), len(group["x"]))
    lowest, mean = marked["lowest"], marked["mean of the samples"]
    assert (lowest.x[0], lowest.y[0]) == (group["x"][column], group["y"][row])
    assert formats.number(float(np.nanmin(group["loss"]))) in lowest.name
    assert (mean.x[0], mean.y[0]) == pytest.approx(
        (group["sample_x"].mean(), group["sample_y"].mean())
    )


def test_a_training_that_diverges_does_not_flatten_the_others(complete: Run, started: Run) -> None:
    losses = {"epoch": [1, 2, 3], "train_loss": [2.0, 50.0, 4e9], "seconds": [5.0, 6.0, 7.0]}
    started.write("training", losses | {"learning_rate": [1.0, 0.1, 0.001]})
    figure = figures.training_figure(complete, started, log=False)
    first = max(complete["training"]["validation_loss"][0], 2.0)
    low, high = figure.layout.yaxis.range
    assert high == pytest.approx(3 * first)
    assert low < 0
    assert "digits-map-0: loss beyond the axis, up to 4.00×10⁹" in title(figure)
    assert figures.training_figure(complete).layout.yaxis.range is None
    log = figures.training_figure(complete, started, log=True).layout.yaxis
    assert log.type == "log"
    assert 10 ** log.range[1] == pytest.approx(3 * first)
    seconds = figures.training_figure(started, time="seconds")
    assert list(seconds.data[0].x) == [5, 6, 7]
    (rate,) = [trace for trace in seconds.data if trace.name == "learning rate"]
    assert list(rate.y) == [1, 0.1, 0.001]
    assert seconds.layout[f"yaxis{rate.yaxis[1:]}"].type == "log"


def test_the_lines_of_the_slices_are_on_the_surface(started: Run) -> None:
    run = plane(started, 10.0, 1.0)
    slices = figures.slices_figure(run, name="samples", at=(8.0, -1.0)).data
    for kind in ("contour", "3d"):
        lines = [
            trace
            for trace in figures.surface_figure(run, "samples", kind, at=(8.0, -1.0)).data
            if trace.type.startswith("scatter") and trace.mode == "lines"
        ]
        across, along = lines[0], lines[-1]
        assert list(across.x) == list(slices[0].x)
        assert set(across.y) == {0}
        assert list(along.y) == list(slices[2].x)
        assert set(along.x) == {10}
    assert list(across.z) == list(slices[0].y)
    assert list(along.z) == list(slices[2].y)


def test_a_plane_that_is_too_thin_is_stretched_and_says_so(started: Run) -> None:
    run = surface_of(started, np.ones((2, 9)) + np.arange(9))
    figure = figures.surface_figure(run, "samples")
    assert "different scales" in title(figure)
    assert figure.layout.yaxis.scaleanchor is None


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())
def test_a_figure_of_one_run_names_it(draw: Callable[[Run], go.Figure], complete: Run) -> None:
    figure = draw(complete)
    assert "<b>digits-swag-0: " in title(figure)
    assert figure.layout.meta["title"].startswith("digits-swag-0: ")


def test_the_mark_of_a_run_stands_before_its_title(complete: Run) -> None:
    mark = figures.theme.MARKS[2]
    figure = figures.surface_figure(complete, "samples", mark=mark)
    assert title(figure).startswith(f'<span style="color: {mark[0]}">◆</span> <b>digits-swag-0: ')


def test_long_details_are_broken_between_facts() -> None:
    facts = [f"fact {index} of {'x' * 40}" for index in range(5)]
    figure = figures.theme.titled(go.Figure(), "title", " · ".join(facts), width=620)
    shown = [re.sub("<[^>]*>", "", line) for line in title(figure).split("<br>")[1:]]
    assert all(len(line) <= 100 for line in shown)
    assert " · ".join(shown) == " · ".join(facts)
    assert figure.layout.margin.t == 40 + 20 * len(shown)


def test_rows_to_come_are_told_from_values_that_are_missing(started: Run) -> None:
    grid = {
        "x": [0.0, 1.0],
        "y": [0.0, 1.0, 2.0],
        "loss": [[1.0, np.nan], [2.0, 3.0], [np.nan] * 2],
    }
    started.write("surfaces/random", grid | {"finished": [1, 1, 0]})
    found = title(figures.surface_figure(started, "random"))
    assert "1 of 3 rows are not evaluated yet" in found
    assert "1 of 6 points have no value to draw: left blank" in found
    started.write("surfaces/random", grid)
    found = title(figures.surface_figure(started, "random"))
    assert "3 of 6 points have no value to draw: left blank" in found
    assert "yet" not in found


def test_the_share_of_variance_and_the_axes_are_named(complete: Run) -> None:
    figure = figures.surface_figure(complete, "samples")
    assert "37.2 %" in title(figure)
    assert figure.layout.xaxis.title.text == "‖Δw‖ from sample 0 towards sample 1"
    assert "variance" not in title(figures.surface_figure(complete, "random"))


def test_markup_from_a_file_is_shown_as_text(started: Run) -> None:
    run = surface_of(started, np.ones((2, 2)), x_axis='<a href="http://x">x</a>')
    assert "<a" not in figures.surface_figure(run, "samples").layout.xaxis.title.text
    assert "<a" not in title(figures.surface_figure(run, "samples", "3d"))


def test_each_eigenvalue_is_a_trace_with_its_residuals(complete: Run) -> None:
    samples = complete["samples"]
    figure = figures.eigenvalues_figure(complete)
    *ranks, mean = figure.data
    assert len(ranks) == 5
    np.testing.assert_allclose(mean.y, samples["eigenvalues"].mean(0))
    for rank, trace in enumerate(ranks, start=1):
        assert (np.abs(np.asarray(trace.x) - rank) < 0.5).all()
        assert (np.diff(trace.x) > 0).all()  # in the order of the samples
    np.testing.assert_array_equal(figure.data[2].y, samples["eigenvalues"][:, 2])
    np.testing.assert_array_equal(figure.data[2].error_y.array, samples["residuals"][:, 2])
    *reached, last = figure.data[4].marker.symbol
    assert len(set(reached)) == 1
    assert last == f"{reached[0]}-open"  # its residual did not reach the tolerance
    assert "1 not converged" in title(figure)


def test_eigenvalues_that_a_log_axis_cannot_show_are_counted(started: Run) -> None:
    started.write("samples", {"eigenvalues": [[20.0, 0.5], [3.0, -1.0]]})
    assert "not positive" not in title(figures.eigenvalues_figure(started))
    figure = figures.eigenvalues_figure(started, log=True)
    assert "1 not positive" in title(figure)
    assert figure.layout.yaxis.type == "log"


def test_samples_still_to_come_are_told(started: Run) -> None:
    started.write("samples", {"trace": [1.0, 2.0, 4.0]}, {"requested": 10})
    assert "3 of 10 samples" in title(figures.trace_figure(started))


def test_the_metrics_set_the_average_beside_single_samples(complete: Run) -> None:
    rows = {row.name: row for row in figures.metrics_table(complete)}
    nll = complete["predictions"]["nll"]
    assert rows["nll"].average == 0.231
    assert rows["nll"].single is not None
    assert rows["nll"].single.mean == pytest.approx(nll.mean())
    assert (rows["nll"].lowest, rows["nll"].highest) == (nll.min(), nll.max())
    ece = complete["predictions"]["ece"]
    assert rows["ece"].single is not None
    assert rows["ece"].single.mean == pytest.approx(ece.mean())
    assert rows["ece"].highest == ece.max()
    assert rows["brier"].single is None  # a file of an older version
    single, average = figures.metrics_figure(complete).data[:2]
    np.testing.assert_array_equal(single.y, nll)
    assert set(average.y) == {0.231}


def test_the_reliability_diagram_has_the_error_of_the_library_and_every_example(
    complete: Run,
) -> None:
    group = complete["predictions"]
    figure = figures.calibration_figure(complete)
    points, bars = (trace for trace in figure.data if trace.meta)
    predicted = Prediction(*(torch.from_numpy(group[n]) for n in ("log_probabilities", "labels")))
    expected = predicted.metrics()["ece"]
    assert f"ECE {formats.number(expected)}" in title(figure)
    counts = np.asarray(bars.y)
    assert counts.sum() == len(group["labels"])
    gaps = counts * np.abs(np.asarray(points.x) - np.asarray(points.y))
    assert gaps.sum() / counts.sum() == pytest.approx(expected)
    low, high = np.array(points.customdata).T[1:]
    np.testing.assert_allclose(points.y - points.error_y.arrayminus, low)
    np.testing.assert_allclose(points.y + points.error_y.array, high)
    assert (low >= 0).all()
    assert (high <= 1).all()


def test_bins_of_few_examples_are_faint_and_steps_span_their_bins(complete: Run) -> None:
    figure = figures.calibration_figure(complete)
    points, bars = (trace for trace in figure.data if trace.meta)
    few = np.array([row[0] for row in points.customdata]) < 10
    assert few.any()
    assert not few.all()
    assert set(np.asarray(points.marker.opacity)[~few]) == {1.0}
    assert set(np.asarray(points.marker.opacity)[few]) == {0.35}
    lines = [trace for trace in figure.data if trace.type == "scatter"]
    steps = [trace for trace in lines if trace.mode == "lines" and trace.opacity is not None]
    assert [trace.opacity for trace in steps] == [1, 0.35]
    spans = np.concatenate([np.reshape(trace.x, (-1, 3))[:, :2] for trace in steps])
    np.testing.assert_allclose(spans[:, 1] - spans[:, 0], 1 / 15, rtol=1e-5)
    np.testing.assert_allclose(np.sort(spans[:, 0]), [row[0] for row in bars.customdata])
    assert figure.layout.yaxis.scaleanchor == "x"  # a square
    assert {note.text for note in figure.layout.annotations} == {"overconfident", "underconfident"}


def test_bars_lie_in_their_bins_however_many_runs_and_bins_there_are(
    complete: Run, new_run: Callable[..., Run]
) -> None:
    one = new_run("one-bin", seed=1)  # where all are as sure
    chances = np.log(np.full((2, 9, 4), [0.7, 0.1, 0.1, 0.1]))
    one.write("predictions", {"log_probabilities": chances, "labels": np.zeros(9)})
    for runs in ((one,), (complete, one)):
        bars = [trace for trace in figures.calibration_figure(*runs).data if trace.type == "bar"]
        assert len(bars) == len(runs)
        assert len(bars[-1].x) == 1
        spans = []
        for trace in bars:
            left = np.asarray(trace.x) + trace.offset
            low, high = np.array(trace.customdata).T
            assert (low < left).all()
            assert (left + trace.width < high).all()
            spans += zip(left, left + trace.width, strict=True)
        spans.sort()
        ends = [end for _, end in spans[:-1]]
        assert all(start >= end - 1e-9 for (start, _), end in zip(spans[1:], ends, strict=True))


def test_one_sample_is_a_point_on_an_axis_with_ticks(started: Run) -> None:
    labels = np.arange(7) % 3
    chances = np.random.default_rng(0).dirichlet(np.ones(3), 7)
    started.write("predictions", {"log_probabilities": np.log(chances)[None], "labels": labels})
    figure = figures.averaging_figure(started)
    drawn = [trace for trace in figure.data if trace.showlegend is not False or trace.marker.size]
    assert {trace.mode for trace in drawn} == {"lines+markers"}
    for trace, axis in zip(drawn, figure.select_yaxes(), strict=True):
        low, high = axis.range
        assert low < trace.y[0] < high
        assert high - low > 0.01 * abs(trace.y[0])


def test_the_average_over_all_samples_is_the_same_in_every_order(complete: Run) -> None:
    figure = figures.averaging_figure(complete)
    group = complete["predictions"]
    arrays = [torch.from_numpy(group[name]) for name in ("log_probabilities", "labels")]
    whole = Prediction(arrays[0].double(), arrays[1])
    first, last = (complete["samples"]["eigenvalues"][:, 0].argsort()[i] for i in (0, -1))
    for metric, axis in (("nll", "x"), ("accuracy", "x2"), ("ece", "x3")):
        low, high, flat, sharp, mean = [t for t in figure.data if (t.xaxis or "x") == axis]
        assert (flat.name, sharp.name) == ("flat first", "sharp first")
        for trace in (low, high, flat, sharp, mean):
            assert len(trace.y) == 10
            assert trace.y[-1] == pytest.approx(whole.metrics()[metric])
        assert flat.y[0] == pytest.approx(whole.sample_metrics()[first][metric])
        assert sharp.y[0] == pytest.approx(whole.sample_metrics()[last][metric])
        assert (low.y <= mean.y + 1e-12).all()
        assert (mean.y <= high.y + 1e-12).all()


def test_without_curvature_there_are_random_orders_alone(complete: Run, started: Run) -> None:
    group = complete["predictions"]
    started.write("predictions", dict(group), group.attributes)
    figure = figures.averaging_figure(started)
    assert len(figure.data) == 9
    assert "no order by flatness: curvature not measured" in title(figure)


def test_runs_keep_their_colours_and_an_absent_one_is_named(complete: Run, started: Run) -> None:
    figure = figures.calibration_figure(started, complete)
    points, bars = (trace for trace in figure.data if trace.meta)
    assert points.marker.color == bars.marker.color == figures.theme.MARKS[1][0]
    assert "digits-map-0: predictions not recorded" in title(figure)


def test_predictions_that_are_not_finite_are_one_line(started: Run) -> None:
    arrays = {"log_probabilities": np.full((2, 3, 4), np.nan), "labels": [0, 1, 2]}
    started.write("predictions", arrays)
    with pytest.raises(InputError, match="hold NaN"):
        figures.calibration_figure(started)


def test_training_without_validation_has_one_panel(started: Run) -> None:
    losses = {"epoch": [1, 2], "train_loss": [2.0, 1.0], "validation_loss": [np.nan, np.nan]}
    started.write("training", losses)
    (line,) = figures.training_figure(started).data
    assert list(line.y) == [2, 1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "NaN"),
        (-float("inf"), "−∞"),
        (0.0, "0"),
        (0.04123, "0.0412"),
        (9.996, "10.0"),
        (1234.5, "1,230"),
        (-0.5, "−0.500"),
        (3.14e7, "3.14×10⁷"),
        (2.5e-5, "2.50×10⁻⁵"),
    ],
)
def test_numbers_are_written_to_three_digits(value: float | None, text: str) -> None:
    assert formats.number(value) == text


def test_times_are_written_for_people() -> None:
    assert formats.moment("2026-03-04T13:34:56+01:00") == "2026-03-04 12:34 UTC"
    assert formats.moment("yesterday") == "yesterday"
    assert [formats.shortened("digits-fp-bma-0", n) for n in (15, 8, 3)] == [
        "digits-fp-bma-0",
        "digi…a-0",
        "d…0",
    ]
    assert [formats.duration(s) for s in (3.21, 48, 252, 7500)] == [
        "3.2 s",
        "48 s",
        "4 min 12 s",
        "2 h 05 min",
    ]


def test_a_line_between_samples_and_a_curve_share_an_axis(complete: Run, tmp_path: Path) -> None:
    figure = figures.lines_figure(complete)
    straight, curve, through = figure.data
    assert [trace.name for trace in figure.data] == [
        "straight",
        "Bezier curve (test)",
        "random direction",
    ]
    np.testing.assert_allclose(straight.x, curve.x)
    np.testing.assert_allclose(straight.y, 0.3 + straight.x * (1 - straight.x))
    assert {straight.xaxis, curve.xaxis} == {"x"}
    assert through.xaxis == "x2"
    assert "straight 0.250, Bezier curve (test) 0.125" in title(figure)
    columns = dict(
        zip(straight.meta["columns"], zip(*straight.customdata, strict=True), strict=True)
    )
    np.testing.assert_array_equal(columns["accuracy"], complete["lines/samples"]["accuracy"])
    about = complete.attributes_of("lines/samples")
    complete.write("lines/held-out", dict(complete["lines/samples"]), about)  # a name of one's own
    assert "straight (held-out)" in [trace.name for trace in figures.lines_figure(complete).data]
    gap = np.where(straight.x > 0.5, np.nan, straight.y)  # not evaluated yet
    complete.write("lines/samples", dict(complete["lines/samples"]) | {"loss": gap}, about)
    assert "straight NaN" in title(figures.lines_figure(complete))
    alone = surface_of(Run.create(tmp_path / "alone.h5"), [[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(NotMeasured, match="--line bezier"):
        figures.lines_figure(alone)


def test_a_run_that_cannot_be_drawn_is_named_beside_those_that_can(
    complete: Run, tmp_path: Path
) -> None:
    bad = Run.create(tmp_path / "bad.h5")
    predictions = complete["predictions"]
    nothing = np.full_like(predictions["log_probabilities"], np.nan)
    bad.write(
        "predictions", dict(predictions) | {"log_probabilities": nothing}, predictions.attributes
    )
    found = title(figures.calibration_figure(complete, bad))
    assert "ECE 0.0" in found
    assert "bad: log-probabilities hold NaN" in found
    with pytest.raises(InputError, match="log-probabilities hold NaN"):
        figures.calibration_figure(bad)
