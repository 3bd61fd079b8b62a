"""What is read from run files, and the tables that are made of it."""

import math
from pathlib import Path

import numpy as np
import pytest

from landscape.store import Run
from landscape.study import readings as read
from landscape.study.averaging import averaging_tables, curves
from landscape.study.bench import Finished
from landscape.study.plan import Training
from landscape.study.tables import Table, comparison, means, number, probability

LAMBDAS = np.array([[8.0, 4, 3, 2, 2], [2.0, 2, 2, 2, 1], [4.0, 3, 2, 1, 1]])
TRUE = np.array([0.5, 0.9, 0.8])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Three samples; the flattest is surest of the right class."""
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
    assert read.lambda_1(run) == pytest.approx(14 / 3)
    assert read.lambda_ratio(run) == pytest.approx((4 + 2 + 4) / 3)
    assert read.trace(run) == 7
    assert read.of_shifts("nll")(run) == 4
    assert read.of_shifts("nll", "noise")(run) == 2
    assert read.kinds_of_shifts(run) == ["noise", "blur"]
    finished = [Finished(Training("swag", "swag", {}, seed), run) for seed in (0, 3)]
    assert read.collect(finished, read.training_seconds) == {"swag": {0: 2.5, 3: 2.5}}


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
    (row,) = comparison("difference", results, "fp-bma").rows
    assert row[:3] == ("sam", "2", "-1.5 [-7.9, +4.9]")  # on the seeds that both have


def test_text_and_markdown() -> None:
    table = Table("A title", ("method", "NLL"), (("map", "1.0"), ("fp-bma", "0.95")), "A note.")
    assert table.text() == "A title\nmethod   NLL\nmap      1.0\nfp-bma  0.95\nA note."
    assert "| map | 1.0 |" in table.markdown()
    assert table.markdown().startswith("**A title**\n\n| method | NLL |\n| --- | --- |\n")


def test_numbers_as_text() -> None:
    shown = [number(value) for value in (0.0, 1234.5, 0.98765, 0.00123456, math.inf, 3e9)]
    assert shown == ["0.00", "1234", "0.988", "0.00123", "inf", "3.00e+09"]
    assert number(0.5, 2, sign=True) == "+0.50"
    assert [probability(p) for p in (math.nan, 0.034, 1e-9)] == ["-", "0.034", "<0.0001"]
