"""Numbers that are read from run files, and the tables that are made of them."""

import math
from pathlib import Path

import numpy as np
import pytest

from landscape.store import Run
from landscape.study import metrics
from landscape.study.averaging import averaging_tables, curves
from landscape.study.plan import Training
from landscape.study.runner import Finished
from landscape.study.statistics import holm
from landscape.study.tables import (
    Table,
    corrected,
    correlations,
    differences,
    means,
    number,
    probability,
)

LAMBDAS = np.array([[8.0, 4, 3, 2, 2], [2.0, 2, 2, 2, 1], [4.0, 3, 2, 1, 1]])
TRUE = np.array([0.5, 0.9, 0.8])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with three samples. The flattest is the most confident in the right class."""
    run = Run.create(tmp_path / "x.h5", method="swag", seed=0, training_seconds=2.5)
    run.write("samples", {"eigenvalues": LAMBDAS, "trace": [10.0, 4.0, 7.0], "loss": [0.1] * 3})
    log = np.log(np.stack([TRUE, 1 - TRUE], 1))[:, None]
    run.write(
        "predictions",
        {"log_probabilities": log, "labels": [0], "nll": -np.log(TRUE)},
        {"nll": float(-np.log(TRUE.mean()))},
    )
    run.write(
        "shifted",
        {name: [1.0, 3.0, 8.0] for name in ("accuracy", "nll", "ece", "brier")},
        {"shifts": '["noise-1", "noise-5", "blur-1"]'},
    )
    return run


def test_what_a_run_says(run: Run) -> None:
    assert metrics.lambda_1(run) == pytest.approx(14 / 3)
    assert metrics.lambda_ratio(run) == pytest.approx((4 + 2 + 4) / 3)
    assert metrics.lambda_ratio_of_means(run) == pytest.approx(14 / 4)
    assert metrics.trace(run) == 7
    assert metrics.shifted_metric("nll")(run) == 4
    assert metrics.shifted_metric("nll", "noise")(run) == 2
    assert metrics.kinds_of_shifts(run) == ["noise", "blur"]
    finished = [Finished(Training("swag", "swag", {}, seed), run) for seed in (0, 3)]
    assert metrics.collect(finished, metrics.training_seconds) == {"swag": {0: 2.5, 3: 2.5}}


def test_the_order_of_averaging(run: Run) -> None:
    found = curves(run)["nll"]
    flat, sharp = found["flat first"], found["sharp first"]
    assert np.exp(-flat) == pytest.approx([0.9, 0.85, TRUE.mean()], rel=1e-5)
    assert np.exp(-sharp) == pytest.approx([0.5, 0.65, TRUE.mean()], rel=1e-5)
    assert flat[0] < found["random"][0] < sharp[0]
    tables = averaging_tables([Finished(Training("swag", "swag", {}, 0), run)])
    gap = tables[1].rows[0][2]
    assert float(gap) == pytest.approx(np.log(0.9 / 0.5), rel=1e-2)
    assert tables[1].rows[1][0] == "mean over methods"
    assert float(tables[-1].rows[0][2]) == 1.0


def test_the_average_of_all_samples_says_nothing_of_their_order(run: Run, tmp_path: Path) -> None:
    fewer = Run.create(tmp_path / "fewer.h5", method="vi", seed=0)
    fewer.write("samples", {"eigenvalues": LAMBDAS[:2], "trace": [10.0, 4.0], "loss": [0.1] * 2})
    log = np.log(np.stack([TRUE[:2], 1 - TRUE[:2]], 1))[:, None]
    predictions = {"log_probabilities": log, "labels": [0], "nll": -np.log(TRUE[:2])}
    fewer.write("predictions", predictions)
    finished = [
        Finished(Training(name, name, {}, 0), each) for name, each in (("swag", run), ("vi", fewer))
    ]
    table = averaging_tables(finished)[1]
    assert table.columns[2:] == ("n = 1", "n = 2")
    (swag, vi, mean) = table.rows
    assert vi[3] == "-"  # of two samples in either order
    assert mean[3] == swag[3] != "-"


def test_means_and_comparisons() -> None:
    results = {"sam": {0: 1.0, 1: 2.0, 2: 3.0}, "fp-bma": {0: 2.0, 1: 4.0, 5: 9.0}}
    table = means("NLL", {"NLL": results}, digits=3)
    assert table.rows[0] == ("sam", "3", "2.00 [-0.484, 4.48]")
    (row,) = differences("difference", results, "fp-bma").rows
    assert row[:3] == ("sam", "2", "-1.5 [-7.9, +4.9]")  # on the seeds that both have
    cut = means("NLL", {"NLL": results}, within={"NLL": (0.0, math.inf)})
    assert cut.rows[0] == ("sam", "3", "2.00 [0.00, 4.48]")


def test_each_column_has_its_own_n() -> None:
    nan = math.nan
    whole, part = {0: 1.0, 1: 2.0, 2: 3.0}, {0: 1.0, 1: nan, 2: 3.0}
    columns = {"NLL": {"sam": whole, "map": whole}, "ratio": {"sam": part, "map": {0: nan}}}
    first, second = means("", columns).rows
    assert first == ("sam", "3", "2.00 [-0.484, 4.48]", "2.00 [-10.7, 14.7] (n = 2)")
    assert second == ("map", "3", "2.00 [-0.484, 4.48]", "-")
    results = {"sam": part, "map": whole, "fp-bma": {0: 5.0, 1: 5.0, 2: 6.0}}
    sam, other = differences("", results, "fp-bma").rows
    assert (sam[1], other[1]) == ("2", "3")
    assert sam[2].startswith("-3.5 [")
    assert differences("", results, "sam").rows[0][1] == "2"


def test_holms_correction_is_for_all_tests_of_a_page() -> None:
    generator = np.random.default_rng(0)
    tables = []
    for title in ("NLL", "ECE"):
        results = {
            name: dict(enumerate(generator.normal(shift, 1, 5)))
            for name, shift in (("sam", 2.0), ("swag", 0.5), ("fp-bma", 0.0))
        }
        tables.append(differences(title, results, "fp-bma"))
    p_values = [p for table in tables for p in table.p_values]
    assert len(p_values) == 4
    page = corrected([means("", {"NLL": results}), *tables])
    shown = [row[4] for table in page[1:] for row in table.rows]
    assert shown == [probability(p) for p in holm(p_values)]
    assert page[1].columns[4] == "t, Holm"
    assert [row[:4] for row in page[1].rows] == [row[:4] for row in tables[0].rows]


def test_correlations_of_few_pairs_have_no_interval() -> None:
    rhos = {"swag": {0: 0.9, 1: 0.95, 2: 0.7}, "ensemble": {0: 0.9, 1: 0.95, 2: 0.7}}
    table = correlations("", {"rho": (rhos, {"swag": 10, "ensemble": 5})})
    swag, ensemble = (row[2] for row in table.rows)
    assert ensemble == "0.850"
    low, high = map(float, swag.partition("[")[2].rstrip("]").split(","))
    assert -1 < low < 0.85 < high < 1


def test_text_and_markdown() -> None:
    table = Table("A title", ("method", "NLL"), (("map", "1.0"), ("fp-bma", "0.95")), "A note.")
    assert table.text() == "A title\nmethod   NLL\nmap      1.0\nfp-bma  0.95\nA note."
    assert "| map | 1.0 |" in table.markdown()
    assert table.markdown().startswith("**A title**\n\n| method | NLL |\n| --- | --- |\n")


def test_numbers_as_text() -> None:
    shown = [number(value) for value in (0.0, 1234.5, 0.98765, 0.00123456, math.inf, 3e9)]
    assert shown == ["0.00", "1234", "0.988", "0.00123", "inf", "3.00e+09"]
    assert number(0.5, 2, sign=True) == "+0.50"
    assert [number(value) for value in (0.9999, -0.09999, 9.996)] == ["1.00", "-0.100", "10.0"]
    assert [probability(p) for p in (math.nan, 0.034, 1e-9)] == ["-", "0.034", "<0.0001"]
