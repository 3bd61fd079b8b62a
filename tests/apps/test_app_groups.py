"""Runs grouped by their settings: means and intervals over runs are those of scipy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from landscape_app import table
from landscape_app.app import create_app
from landscape_app.figures.group_curves import mean_curve
from landscape_app.figures.groups import group_marks
from landscape_app.groups import chosen_groups, groupings, groups
from landscape_app.navigation import grouped
from landscape_app.pages import FIGURE_PAGES, runs
from landscape_app.pages.page import Chosen
from landscape_app.url import View
from made import start_run
from scipy import stats

from landscape.errors import InputError
from landscape.store import Run

RANKS = (2, 10)
SEEDS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two ranks and three seeds, and one run of another method without curvature."""
    path = tmp_path_factory.mktemp("grouped")
    for rank in RANKS:
        for seed in range(SEEDS):
            run = start_run(path, f"swag-{rank}-seed{seed}", seed=seed)
            config = {"method": {"name": "swag", "rank": rank}, "task": {"seed": seed}}
            run.set_attributes(config=json.dumps(config), status="complete")
            values = np.array([[4.0, 2.0], [6.0, 3.0]]) * (rank + seed)
            run.write("samples", {"eigenvalues": values, "trace": values.sum(1)})
            nll = 1 / (rank + seed)
            run.write("predictions", {"nll": [nll, nll]}, {"nll": nll, "accuracy": 0.9})
            epochs = np.arange(1, 4 + seed)
            losses = {"epoch": epochs, "train_loss": rank * epochs + seed}
            run.write("training", losses)
    other = start_run(path, "map-seed0", method="map")
    other.write("predictions", {"nll": [2.0]}, {"nll": 2.0, "accuracy": 0.5})
    return path


def draw(folder: Path, address: str, graph: str) -> go.Figure:
    view = View.parse(address)
    page = next(page for page in FIGURE_PAGES if page.key == view.page)
    figure = page.draw(graph, Chosen.of(folder, view), view)
    assert figure is not None
    return figure


def test_groups_are_runs_with_the_same_settings_but_for_the_seed(folder: Path) -> None:
    assert groupings(folder) == ["name", "method", "task", "method.rank", "task.shots"]
    by_rank = groups(folder, ["method.rank"])
    assert [(group.label, len(group.summaries)) for group in by_rank] == [
        ("rank 2", 3),
        ("rank 5", 1),
        ("rank 10", 3),
    ]
    assert [run.name for run in by_rank[2].summaries] == [f"swag-10-seed{s}" for s in range(3)]
    assert [group.differ for group in by_rank] == [(), (), ()]  # and not in their seeds
    (map_runs, swag_runs) = groups(folder, ["method"])
    assert (map_runs.label, swag_runs.label) == ("map", "swag")
    assert swag_runs.differ == ("method.rank",)
    assert [group.label for group in groups(folder, ["name"])] == ["map", "swag-2", "swag-10"]
    two = groups(folder, ["method", "method.rank"])
    assert [group.label for group in two] == ["map, rank 5", "swag, rank 2", "swag, rank 10"]


def test_an_address_names_groups(folder: Path) -> None:
    view = View.parse("/flatness?by=method.rank&group=rank%2010&group=rank%202")
    assert view.address == "/flatness?by=method.rank&group=rank+10&group=rank+2"
    shown = chosen_groups(folder, view)
    assert [group.label for group in shown] == ["rank 2", "rank 10"]
    for group in shown:  # the open runs are those of the summaries
        assert [run.path.stem for run in group.runs] == [run.name for run in group.summaries]
    every = chosen_groups(folder, View.parse("/flatness?by=method.rank"))
    marks = dict(zip((group.label for group in every), group_marks(every), strict=True))
    assert group_marks(shown) == [marks["rank 2"], marks["rank 10"]]  # as among all of them
    text = str(grouped(folder, view))
    assert "rank 10" in text
    assert "all 3 groups" in text
    assert len(chosen_groups(folder, View.parse("/flatness?by=method&group=gone"))) == 2


def test_a_point_is_a_run_and_a_bar_students_interval_of_the_mean(folder: Path) -> None:
    figure = draw(folder, "/flatness?by=method.rank", "spread")
    found = table.rows(figure)
    for rank in RANKS:
        largest = 5.0 * (rank + np.arange(SEEDS))  # the mean over two samples
        points = [
            row for row in found if row["group"] == f"rank {rank}" and row["series"] == "λ1 (nat)"
        ]
        assert [row["y"] for row in points] == largest.tolist()
        assert [row["run"] for row in points] == [f"swag-{rank}-seed{s}" for s in range(SEEDS)]
        (mean,) = (
            row
            for row in found
            if row["group"] == f"rank {rank}" and row["series"] == "λ1 (nat), mean over runs"
        )
        interval = stats.t.interval(0.95, SEEDS - 1, largest.mean(), stats.sem(largest))
        assert mean["y"] == pytest.approx(largest.mean())
        assert mean["y"] + mean["plus"] == pytest.approx(interval[1])
        assert mean["y"] - mean["minus"] == pytest.approx(interval[0])
    title = str(figure.layout.title.text)
    assert "groups by method.rank: rank 2 3 runs, rank 5 1 run, rank 10 3 runs" in title
    assert "rank 5: 1 run without a number" in title
    both = draw(folder, "/averaging?by=method", "metrics")
    assert "swag: its runs also differ in method.rank" in str(both.layout.title.text)


def test_the_mean_of_curves_is_taken_where_they_exist() -> None:
    short = (np.array([1.0, 2.0]), np.array([1.0, 3.0]))
    long = (np.array([1.0, 2.0, 3.0]), np.array([2.0, 5.0, 9.0]))
    x, mean, low, high = mean_curve([short, long])
    np.testing.assert_array_equal(x, [1, 2, 3])
    np.testing.assert_allclose(mean, [1.5, 4.0, 9.0])
    ends = [stats.t.interval(0.95, 1, np.mean(pair), stats.sem(pair)) for pair in ((1, 2), (3, 5))]
    np.testing.assert_allclose(low, [ends[0][0], ends[1][0], np.nan])
    np.testing.assert_allclose(high, [ends[0][1], ends[1][1], np.nan])
    between, values, *_ = mean_curve([(np.array([0.0, 2.0]), np.array([0.0, 4.0])), short])
    np.testing.assert_array_equal(between, [0, 1, 2])
    np.testing.assert_allclose(values, [0.0, (2 + 1) / 2, (4 + 3) / 2])
    gap, lost, *_ = mean_curve([(np.array([1.0, 2.0]), np.array([np.inf, 1.0]))])
    np.testing.assert_array_equal(gap, [1, 2])
    np.testing.assert_array_equal(lost, [np.nan, 1])


def test_curves_of_groups_hold_every_run_and_their_mean(folder: Path) -> None:
    found = table.rows(draw(folder, "/training?by=method.rank&group=rank%2010", "training"))
    single = [row for row in found if row["run"] == "swag-10-seed2"]
    assert [(row["x"], row["y"]) for row in single] == [(e, 10 * e + 2) for e in range(1, 6)]
    mean = [row for row in found if row["series"] == "training batches, mean over runs"]
    assert [row["y"] for row in mean] == pytest.approx([11, 21, 31, 41.5, 52])
    interval = stats.t.interval(0.95, 2, 11, stats.sem([10, 11, 12]))
    assert (mean[0]["low"], mean[0]["high"]) == pytest.approx(interval)
    by_rank = table.rows(draw(folder, "/flatness?by=method.rank&group=rank%202", "eigenvalues"))
    mean = [row for row in by_rank if row["series"] == "mean over runs"]
    assert [row["y"] for row in mean] == pytest.approx([5 * 3, 2.5 * 3])


def test_the_list_has_a_row_for_each_group(folder: Path) -> None:
    rows, *_ = runs.fill(folder, View.parse("/?by=method.rank&group=rank%202"))
    assert [(row["name"], row["seed"], row["chosen"]) for row in rows] == [
        ("rank 2", 3, True),
        ("rank 5", 1, False),
        ("rank 10", 3, False),
    ]
    nll = 1 / (10 + np.arange(SEEDS))
    assert rows[2]["nll"] == pytest.approx(nll.mean())
    assert rows[2]["written"]["nll"] == f"{nll.mean():.4f} ± {nll.std(ddof=1):.4f}"
    assert rows[1]["written"]["lambda_1"] == "–"


def test_groups_are_exported_and_a_page_of_single_runs_says_so(folder: Path) -> None:
    client = create_app(folder).server.test_client()
    answer = client.get("/export/spread.csv?by=method.rank")
    assert answer.status_code == 200
    assert "spread-by-method.rank.csv" in answer.headers["Content-Disposition"]
    assert answer.get_data(as_text=True).startswith("series,group,run,quantity_y")
    assert client.get("/export/surface-0.csv?by=method.rank").status_code == 404
    with pytest.raises(InputError, match="spectral density not measured"):
        draw(folder, "/flatness?by=method", "density")


def test_many_groups_have_their_own_marks_and_no_bands(tmp_path: Path) -> None:
    run = start_run(tmp_path, "one")
    run.write("samples", {"eigenvalues": [[2.0, 1.0]], "trace": [3.0]})
    for rank in range(30):
        path = tmp_path / f"swag-{rank}-seed0.h5"
        path.write_bytes(run.path.read_bytes())
        config = {"method": {"name": "swag", "rank": rank}}
        Run.open(path).set_attributes(config=json.dumps(config))
    view = View.parse("/flatness?by=method.rank")
    assert len(groups(tmp_path, view.by)) == 30
    shown = chosen_groups(tmp_path, view)
    assert len(shown) == 24
    assert len(set(group_marks(shown))) == 24
    figure = draw(tmp_path, "/flatness?by=method.rank", "eigenvalues")
    assert not any(trace.fill for trace in figure.data)
    assert "lines: means over runs; up to 4 groups" in str(figure.layout.title.text)
