"""What the dashboard says of runs that failed or were killed, and of numbers that are missing."""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from landscape_app import figures, formats
from landscape_app.data import NotMeasured, progress
from landscape_app.figures.scale import asks_for_log
from landscape_app.folders import stamp
from landscape_app.navigation import compared
from landscape_app.pages import details, runs
from landscape_app.run_list import list_runs
from landscape_app.url import View

from landscape.cli import main
from landscape.store import Run, Summary, heartbeat, summarise


def title(figure: go.Figure) -> str:
    return str(figure.layout.title.text)


def silence(run: Run, seconds: float) -> None:
    """Leave the heartbeat of a process that ended so long ago."""
    beat = run.path.with_name(f".{run.path.name}.alive")
    beat.touch()
    then = time.time() - seconds
    os.utime(beat, (then, then))


def test_a_run_that_was_killed_says_stopped(complete: Run, started: Run) -> None:
    started.write("samples", {"trace": [1.0, 2.0]}, {"requested": 5})
    folder, view = started.path.parent, View("run", started.path.stem)
    for seconds, status, words in ((5, "running", "2 of 5"), (600, "stopped", "stopped at 2 of 5")):
        before = stamp(folder, view)
        silence(started, seconds)
        assert summarise(started).status == status
        assert progress(started) == f"{words} samples"
        (listed,) = list_runs(folder)
        assert isinstance(listed, Summary)
        assert listed.status == status
    assert stamp(folder, view) != before  # an open page is drawn again
    assert "This run was stopped" in str(details.content(folder, view))
    assert "standing-stopped" in str(compared([started], View(runs=(started.path.stem,))))
    assert "stopped: what it had saved" in title(figures.trace_figure(started))
    both = title(figures.trace_figure(complete, started))
    assert f"{started.path.stem}: stopped: what it had saved" in both
    started.set_attributes(status="complete")
    assert progress(started) == ""
    assert "stopped" not in title(figures.trace_figure(started))


def test_the_heart_beats_while_the_work_goes_on(
    started: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "_EVERY", 0.01)
    with heartbeat.heartbeat(started.path):
        for _ in range(2):  # a beat that is old is followed by a new one
            silence(started, 600)
            end = time.monotonic() + 60
            while heartbeat.has_stopped(started.path) and time.monotonic() < end:
                time.sleep(0.01)
            assert not heartbeat.has_stopped(started.path)
    assert [path.name for path in started.path.parent.iterdir()] == [started.path.name]
    silence(started, 600)
    assert heartbeat.has_stopped(started.path)


def test_a_failed_run_says_so_everywhere(complete: Run, started: Run) -> None:
    started.write("samples", {"trace": [1.0, 2.0]})
    started.set_attributes(status="failed")
    assert progress(started) == "failed"
    assert "standing-failed" in str(compared([started], View(runs=(started.path.stem,))))
    assert "failed: what it had saved" in title(figures.trace_figure(started))
    assert f"{started.path.stem}: failed" in title(figures.trace_figure(complete, started))


def test_decimals_follow_the_deviation() -> None:
    written = [
        formats.plus_minus(*pair)
        for pair in (
            (12.345, 0.4567),
            (12.345, 4.567),
            (1234.5, 456.7),
            (-0.01234, 0.000996),
            (3.14159e7, 2.2e6),
            (5.0, float("nan")),
            (5.0, 0.0),
            (float("inf"), 1.0),
            (0.0, 0.25),
        )
    ]
    assert written == [
        "12.35 ± 0.46",
        "12.3 ± 4.6",
        "1,230 ± 460",
        "−0.0123 ± 0.0010",
        "(3.14 ± 0.22)×10⁷",
        "5.00",
        "5.00 ± 0",
        "∞ ± 1.0",
        "0.00 ± 0.25",
    ]
    assert formats.percent_plus_minus(0.93456, 0.0123) == "93.5 ± 1.2 %"


def test_a_mean_that_is_not_finite_says_how_many_are(started: Run) -> None:
    largest = np.array([1.0, 2.0, 3.0, np.inf, 5.0])
    started.write("samples", {"eigenvalues": largest[:, None], "trace": [1.0, 2.0, 3.0, 4.0, 5.0]})
    (row,), *_ = runs.fill(started.path.parent, View())
    assert row["written"]["lambda_1"] == "4 of 5 finite"
    assert row["written"]["trace"] == "3.0 ± 1.6"
    assert row["lambda_1"] is None
    assert row["written"]["date"] == str(started.attributes["created_at"])[:10]


def test_a_scale_is_logarithmic_if_the_numbers_ask_for_it(started: Run) -> None:
    assert asks_for_log(np.array([0.1, 1.0, np.nan]))
    assert not asks_for_log(np.array([0.11, 1.0]))
    assert not asks_for_log(np.array([0.0, 100.0]))
    assert not asks_for_log(np.array([np.nan]))
    for highest, tick in ((9.0, False), (20.0, True)):
        grid = {"x": [0.0, 1.0], "y": [0.0, 1.0], "loss": [[1.0, 2.0], [3.0, highest]]}
        started.write("surfaces/samples", grid)
        figure = figures.surface_figure(started, "samples")
        assert (figure.data[0].colorbar.tickvals is not None) == tick
        sliced = figures.slices_figure(started, name="samples", at=(0.0, 0.0))
        assert (sliced.layout.yaxis.type == "log") == tick


COMMAND = re.compile(r"`(landscape [^`]*)`")


def do(message: str) -> int:
    """Do what a message suggests."""
    (command,) = COMMAND.findall(message)
    return main(shlex.split(command)[1:])


@pytest.mark.filterwarnings("ignore::landscape.LandscapeWarning")
def test_the_commands_that_the_page_suggests_work(tmp_path: Path) -> None:
    train = ["train", "digits", "map", "--model", "mlp", "--epochs", "1", "--out", str(tmp_path)]
    assert main([*train, "--name", "point", "--seed", "3"]) == 0
    path = tmp_path / "point.h5"
    for draw in (
        lambda run: figures.surface_figure(run, "samples"),
        figures.lines_figure,
        figures.trace_figure,
        figures.density_figure,
    ):
        with pytest.raises(NotMeasured) as caught:
            draw(Run.open(path))
        before = Run.open(path).groups
        assert do(str(caught.value)) == 0, str(caught.value)
        assert len(Run.open(path).groups) > len(before)
    measured = Run.open(path).config["measurement"]
    assert (measured["density_probes"], measured["seed"]) == (10, 3)
    with pytest.raises(NotMeasured, match="no command makes a plane of that name"):
        figures.surface_figure(Run.open(path), "of my own")
    with pytest.raises(NotMeasured, match="needs three samples, and this posterior has 1"):
        figures.surface_figure(Run.open(path), "pca")
