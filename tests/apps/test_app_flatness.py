"""The figures of the flatness page: what they draw is what the file and scipy say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go
import pytest
from landscape_app import figures, formats, table
from landscape_app.data import NotMeasured
from landscape_app.figures.scale import Symlog, log_ticks
from landscape_app.joined import flatness_and_error
from landscape_app.pages import details
from landscape_app.url import View
from scipy import stats

from landscape.errors import InputError
from landscape.store import Run


def title(figure: go.Figure) -> str:
    return str(figure.layout.title.text)


def scored(run: Run, eigenvalues: list[float], nll: list[float], seed: int = 3) -> Run:
    run.write("samples", {"eigenvalues": [[v] for v in eigenvalues]}, {"seed": seed})
    accuracy = np.where(np.isfinite(nll), 1 - np.asarray(nll) / 10, np.nan)
    run.write("predictions", {"nll": nll, "accuracy": accuracy}, {"seed": 3})
    return run


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (None, "the Hessian"),
        ("hessian", "the Hessian"),
        ("gauss-newton", "the Gauss–Newton matrix"),
        ("empirical-fisher", "the empirical Fisher information"),
    ],
)
def test_the_titles_name_the_matrix(matrix: str | None, words: str, started: Run) -> None:
    attributes = {"seed": 3} if matrix is None else {"seed": 3, "matrix": matrix}
    arrays = {"eigenvalues": [[3.0], [2.0], [1.0]], "trace": [4.0, 3.0, 2.0]}
    started.write("samples", arrays, attributes)
    started.write("predictions", {"nll": [1.0] * 3, "accuracy": [0.5] * 3}, {"seed": 3})
    grid = {"grid": np.linspace(0, 1, 9), "density": np.ones((3, 9))}
    started.write("density", grid, attributes)
    for draw in (
        figures.eigenvalues_figure,
        figures.trace_figure,
        figures.spread_figure,
        figures.relation_figure,
        figures.density_figure,
    ):
        assert words in title(draw(started))


def test_runs_of_different_matrices_are_told_apart(complete: Run, started: Run) -> None:
    started.write("samples", {"trace": [1.0]}, {"matrix": "gauss-newton"})
    found = title(figures.trace_figure(complete, started))
    assert "Trace of the curvature matrix" in found
    assert "digits-swag-0: the Hessian · digits-map-0: the Gauss–Newton matrix" in found


def test_the_correlation_in_the_title_is_that_of_scipy(started: Run) -> None:
    generator = np.random.default_rng(0)
    x = generator.lognormal(size=30)
    y = x + generator.lognormal(size=30)
    figure = figures.relation_figure(scored(started, x.tolist(), y.tolist()))
    rho = stats.spearmanr(x, y).statistic
    assert f"NLL ρ = {formats.number(rho, 2)} [" in title(figure)
    assert "(n = 30)" in title(figure)
    np.testing.assert_allclose(figure.data[0].y, y)
    np.testing.assert_allclose(figure.data[1].y, y / 10)


def test_the_correlation_of_a_chain_says_what_its_samples_are_worth(
    new_run: Callable[..., Run],
) -> None:
    run = new_run("chain", method="sgld")
    x, y = np.random.default_rng(0).normal(size=(2, 40)).cumsum(1)
    places = {"chain": [0] * 40, "place": np.arange(40)}
    run.write("samples", {"eigenvalues": x[:, None], "trace": x, **places}, {"seed": 3})
    accuracy = 1 / (1 + np.exp(-y))
    run.write("predictions", {"nll": y, "accuracy": accuracy, **places}, {"seed": 3})
    assert "(n = 40 of a chain, worth " in title(figures.relation_figure(run))
    row = next(row for row in figures.metrics_table(run) if row.name == "nll")
    assert row.single is not None
    assert row.single.effective < 20 < row.single.count
    shown = str(details.content(run.path.parent, View(name="chain")))
    assert "over 40 samples of a Markov chain, worth " in shown
    run.write("samples", {"eigenvalues": x[:, None]}, {"seed": 3})  # as written before
    assert "] (n = 40)" not in title(figures.relation_figure(run))


def test_few_samples_have_no_interval(started: Run) -> None:
    few, enough = (
        title(figures.relation_figure(scored(started, list(range(n)), list(range(n)))))
        for n in (5, 6)
    )
    assert "NLL ρ = 1.0 (n = 5)" in few
    assert "NLL ρ = 1.0 [" in enough


def test_samples_are_paired_only_if_they_are_the_same(started: Run) -> None:
    run = scored(started, [1.0, 2.0], [3.0, 4.0, 5.0])
    assert flatness_and_error(run)["nll"].tolist() == [3, 4]  # the first of more are the same
    with pytest.raises(NotMeasured, match=r"different samples \(seeds 4 and 3\).*--seed 3`"):
        flatness_and_error(scored(started, [1.0, 2.0], [3.0, 4.0], seed=4))


def test_a_lone_sample_has_no_correlation(started: Run) -> None:
    assert "NLL ρ undefined" in title(figures.relation_figure(scored(started, [1.0], [1.0])))


def test_the_spread_holds_every_sample_with_its_error(complete: Run, started: Run) -> None:
    started.write("samples", {"eigenvalues": [[2.0], [-1.0]], "trace": [5.0, 4.0]})
    figure = figures.spread_figure(complete, started, picked={"digits-map-0": [1]})
    of = {(trace.meta["series"], trace.meta["run"]): trace for trace in figure.data if trace.meta}
    largest, other = of["λ1", "digits-swag-0"], of["λ1", "digits-map-0"]
    trace = of["trace", "digits-swag-0"]
    group = complete["samples"]
    np.testing.assert_array_equal(largest.y, group["eigenvalues"][:, 0])
    np.testing.assert_array_equal(largest.error_y.array, group["residuals"][:, 0])
    np.testing.assert_array_equal(trace.y, group["trace"])
    np.testing.assert_array_equal(trace.error_y.array, group["trace_standard_error"])
    assert (list(largest.selectedpoints), list(other.selectedpoints)) == ([], [1])
    assert "1 not positive" in title(figures.spread_figure(complete, started, log=True))


def test_few_samples_have_a_mean_with_its_interval_and_no_box(started: Run) -> None:
    generator = np.random.default_rng(0)
    for count in (19, 20):
        trace = generator.normal(5, 1, count)
        started.write("samples", {"eigenvalues": trace[:, None], "trace": trace})
        figure = figures.spread_figure(started)
        boxes = [trace for trace in figure.data if trace.type == "box"]
        assert len(boxes) == (2 if count == 20 else 0)
        (mean,) = [t for t in figure.data if t.meta and t.meta["series"].startswith("trace: mean")]
        interval = stats.t.interval(0.95, count - 1, trace.mean(), stats.sem(trace))
        assert mean.y[0] == pytest.approx(trace.mean())
        assert mean.y[0] + mean.error_y.array[0] == pytest.approx(interval[1])
        assert mean.y[0] - mean.error_y.arrayminus[0] == pytest.approx(interval[0])


def test_a_highlighted_sample_without_curvature_says_so(complete: Run, started: Run) -> None:
    picked = {"digits-swag-0": [3, 11, 12]}
    words = "highlighted sample 11, 12: not measured, not here"
    for draw in (figures.spread_figure, figures.eigenvalues_figure, figures.trace_figure):
        assert words in title(draw(complete, picked=picked))
        assert "not here" not in title(draw(complete, picked={"digits-swag-0": [3]}))
    started.write("samples", {"eigenvalues": [[2.0]], "trace": [5.0]})
    both = figures.spread_figure(complete, started, picked=picked)
    assert f"digits-swag-0: {words}" in title(both)


def test_the_density_is_the_mean_with_the_error_of_the_mean(complete: Run) -> None:
    group = complete["density"]
    lower, upper, line = figures.density_figure(complete).data
    mean = group["density"].mean(0)
    seen = mean > 1e-3
    np.testing.assert_allclose(np.asarray(line.y)[seen], mean[seen])
    np.testing.assert_array_equal([point[0] for point in line.customdata], group["grid"])
    error = np.sqrt((group["standard_error"] ** 2).sum(0)) / len(group["density"])
    expected = 2 * 1.96 * error
    np.testing.assert_allclose((np.asarray(upper.y) - lower.y)[seen], expected[seen], rtol=1e-6)
    assert upper.fill == "tonexty"


def test_the_densities_of_highlighted_samples_are_drawn(complete: Run) -> None:
    figure = figures.density_figure(complete, picked={"digits-swag-0": [4, 99]})
    (thin,) = [trace for trace in figure.data if "sample 4" in str(trace.name)]
    assert np.nanmax(thin.y) == pytest.approx(complete["density"]["density"][4].max())
    assert len(figure.data) == 4


def test_the_axis_is_linear_around_zero_and_the_same_on_both_sides() -> None:
    scale = Symlog(0.1)
    values = np.array([-100.0, -0.001, 0.0, 0.001, 0.01, 100.0])
    drawn = scale(values)
    np.testing.assert_allclose(drawn, -scale(-values))
    assert drawn[4] / drawn[3] == pytest.approx(10, rel=0.05)
    assert (np.diff(drawn) > 0).all()
    ticks = scale.ticks(values)
    marks = [float(text.replace("−", "-")) for text in ticks["ticktext"]]
    assert {-100, -10, -1, 0, 1, 10, 100} <= set(marks)
    np.testing.assert_allclose(ticks["tickvals"], scale(np.array(marks)))
    assert np.diff(ticks["tickvals"]).min() > 0.05 * np.ptp(
        ticks["tickvals"]
    )  # labels do not touch


def test_an_axis_of_one_decade_has_more_marks_than_powers_of_ten() -> None:
    ticks = Symlog(0.016).ticks(np.array([-0.06, 1.5]))
    assert {"0.05", "0.2", "0.5", "1"} <= set(ticks["ticktext"])


def test_densities_end_on_one_floor(new_run: Callable[..., Run]) -> None:
    """A run of fewer parameters has a higher one of its own."""
    large, small = new_run("large"), new_run("small", seed=1)
    small.set_attributes(parameter_count=12)
    lines = [
        next(trace for trace in figures.density_figure(*runs).data if trace.name == "large")
        for runs in ((large,), (large, small))
    ]
    np.testing.assert_array_equal(lines[0].y, lines[1].y)
    figure = figures.density_figure(large, small)
    lowest = [float(np.nanmin(trace.y)) for trace in figure.data if trace.name]
    floor = 10 ** figure.layout.yaxis.range[0]
    assert all(floor <= low < 2 * floor for low in lowest)


def test_errors_that_are_all_the_same_lie_in_the_middle_of_their_axis(started: Run) -> None:
    run = scored(started, [1.0, 2.0, 3.0], [3.0, 3.0, 3.0])
    layout = figures.relation_figure(run).layout
    assert np.mean(layout.yaxis.range) == pytest.approx(3)
    assert np.mean(layout.yaxis2.range) == pytest.approx(0.3)


def test_error_bars_fade_with_the_samples_that_are_not_highlighted(complete: Run) -> None:
    group = complete["samples"]
    faded, chosen, _ = figures.trace_figure(complete, picked={"digits-swag-0": [2, 5]}).data
    assert faded.error_y.color.startswith("rgba")
    assert list(faded.selectedpoints) == [2, 5]
    np.testing.assert_array_equal(chosen.y, group["trace"][[2, 5]])
    np.testing.assert_array_equal(chosen.error_y.array, group["trace_standard_error"][[2, 5]])
    assert chosen.error_y.color == figures.theme.MARKS[0][0]
    plain, _ = figures.trace_figure(complete).data
    assert plain.error_y.color == figures.theme.MARKS[0][0]


def test_eigenvalues_have_the_colour_of_their_run(complete: Run) -> None:
    marks = figures.theme.MARKS[2:]
    *ranks, mean = figures.eigenvalues_figure(complete, marks=marks).data
    assert len(ranks) == 5
    assert {trace.marker.color for trace in (*ranks, mean)} == {marks[0][0]}


def test_runs_of_other_data_or_samples_are_told_why(new_run: Callable[..., Run]) -> None:
    one, other, lost = (new_run(name) for name in ("one", "other", "lost"))
    one.set_attributes(data_fingerprint="a")
    other.set_attributes(data_fingerprint="a")
    assert "data of the runs differ" not in title(figures.relation_figure(one, other))
    other.set_attributes(data_fingerprint="b")
    for draw in (figures.relation_figure, figures.metrics_figure, figures.averaging_figure):
        assert "data of the runs differ" in title(draw(one, other))
    lost.write("samples", dict(lost["samples"]), {"seed": 7})
    reason = "curvature and predictions are of different samples (seeds 7 and None)"
    assert f"lost: {reason}" in title(figures.relation_figure(one, lost))
    assert f"lost: no order by flatness: {reason}" in title(figures.averaging_figure(one, lost))
    assert str(lost.path.parent) not in title(figures.averaging_figure(one, lost))


def test_samples_without_a_finite_value_are_counted_out(started: Run) -> None:
    eigenvalues, nll = [1.0, 2.0, 3.0, 4.0, np.nan], [1.0, 2.0, np.inf, 4.0, 5.0]
    run = scored(started, eigenvalues, nll)
    trace = [1.0, np.nan, 3.0, np.inf, 5.0]
    run.write("samples", {"eigenvalues": [[v] for v in eigenvalues], "trace": trace}, {"seed": 3})
    found = title(figures.relation_figure(run))
    assert "NLL ρ = 1.0 (n = 3 of 5: 2 not finite)" in found  # and no interval of so few
    assert "1 value not finite: not drawn" in title(figures.eigenvalues_figure(run))
    assert "2 values not finite: not drawn" in title(figures.trace_figure(run))
    assert "3 values not finite: not drawn" in title(figures.spread_figure(run))
    # accuracy is 1 - nll / 10
    assert "2 values not finite: not drawn" in title(figures.metrics_figure(run))


def test_a_density_leaves_out_what_is_not_finite_and_its_band_is_students(started: Run) -> None:
    grid = {"grid": np.linspace(0, 1, 9)}
    density = np.stack([np.full(9, 1.0), np.full(9, np.nan), np.full(9, 3.0)])
    error = np.where(np.isnan(density), np.nan, 0.2)
    arrays = grid | {"density": density, "standard_error": error}
    # 1.96, or of two probes at each of two samples t(2) = 4.303
    for attributes, quantile in (({}, 1.96), ({"probes": 2}, 4.303)):
        started.write("density", arrays, attributes)
        figure = figures.density_figure(started)
        line = next(row for row in table.rows(figure) if row["series"] == "mean over samples")
        assert line["y"] == 2.0
        assert line["plus"] == pytest.approx(quantile * 0.2 * 2**0.5 / 2, rel=1e-3)
        assert "1 value not finite: not drawn" in title(figure)
    started.write("density", grid | {"density": density[1:2]})
    with pytest.raises(InputError, match="no density has a finite value to draw"):
        figures.density_figure(started)


def test_an_average_says_how_many_samples_have_curvature(new_run: Callable[..., Run]) -> None:
    run = new_run("swag")
    group = run.read("samples", "eigenvalues")
    samples = len(group["eigenvalues"])
    kept = group["eigenvalues"][: samples - 2].copy()
    kept[1, 0] = np.nan
    run.write("samples", {"eigenvalues": kept}, group.attributes)
    found = title(figures.averaging_figure(run))
    assert f"{samples - 2} of {samples} samples, those with curvature" in found
    assert "λ1 of 1 sample is not finite: taken as the sharpest" in found


def test_real_targets_have_an_error_of_their_own(started: Run, complete: Run) -> None:
    rmse = [0.5, 0.7, 0.6]
    started.write("samples", {"eigenvalues": [[3.0], [2.0], [1.0]]}, {"seed": 3})
    started.write(
        "predictions", {"nll": [1.0, 2.0, 3.0], "rmse": rmse}, {"seed": 3, "rmse": 0.4, "nll": 0.9}
    )
    relation = figures.relation_figure(started)
    assert "against test NLL and RMSE" in title(relation)
    np.testing.assert_array_equal(relation.data[1].y, rmse)
    metrics = figures.metrics_figure(started)
    assert [trace.y[0] for trace in metrics.data if trace.meta.get("once")] == [0.9, 0.4]
    assert [row.name for row in figures.metrics_table(started)] == ["nll", "rmse"]
    both = figures.relation_figure(complete, started)
    assert "against test NLL and error and RMSE" in title(both)
    for draw in (figures.averaging_figure, figures.calibration_figure):
        with pytest.raises(NotMeasured, match="a regression predicts no classes"):
            draw(started)
        draw(complete, started)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([2.43, 6.74], ["3", "4", "5", "6"]),
        ([0.7, 1.3], ["0.7", "0.8", "0.9", "1"]),
        ([0.9, 12.0], ["1", "2", "5", "10"]),
        ([1.2, 1.9], ["1.20", "1.90"]),  # its ends
        ([3.0, 3.0], ["3.00"]),
        ([-1.0, 0.0, np.nan], []),
    ],
)
def test_a_logarithmic_axis_has_round_numbers(values: list[float], labels: list[str]) -> None:
    places, shown = log_ticks(np.array(values))
    assert shown == labels
    np.testing.assert_allclose(places, [float(label) for label in labels], rtol=1e-12)
