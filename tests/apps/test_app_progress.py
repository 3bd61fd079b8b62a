from __future__ import annotations

import numpy as np
import pytest
from landscape_app.data import NotMeasured, progress, read
from made import write_samples, write_surfaces

from landscape.store import Run


def leave_rows(run: Run, group: str, finished: int) -> None:
    """Make of a surface one of which so many rows are evaluated."""
    whole = dict(run[group])
    rows = np.arange(len(whole["y"])) < finished
    whole["loss"] = np.where(rows[:, None], whole["loss"], np.nan)
    run.write(group, whole | {"finished": rows}, run.attributes_of(group))


def test_a_surface_in_progress_says_how_many_rows_it_has(started: Run) -> None:
    assert progress(started) == "running"
    write_surfaces(started, np.random.default_rng(0))
    assert progress(started) == "running"  # whole, for all that the file says
    leave_rows(started, "surfaces/random", 12)
    assert progress(started) == "surface 'random': 12 of 41 rows"
    started.set_attributes(status="complete")
    assert progress(started) == ""


def test_samples_are_in_progress_beside_a_surface_only_while_some_are_left(started: Run) -> None:
    generator = np.random.default_rng(0)
    write_surfaces(started, generator)
    leave_rows(started, "surfaces/samples", 40)
    write_samples(started, generator, samples=3)
    about = dict(started.attributes_of("samples"))
    started.write("samples", dict(started["samples"]), about | {"requested": 4})
    assert progress(started) == "3 of 4 samples, surface 'samples': 40 of 41 rows"
    started.write("samples", dict(started["samples"]), about | {"requested": 3})
    assert progress(started) == "surface 'samples': 40 of 41 rows"
    leave_rows(started, "surfaces/samples", 41)
    assert progress(started) == "3 of 3 samples"


def test_a_line_in_progress_says_how_many_points_it_has(started: Run) -> None:
    x = np.linspace(0, 1, 9)
    points = {"x": x, "loss": x, "accuracy": x, "finished": x < 0.3}
    started.write("lines/bezier", points)
    assert progress(started) == "line 'bezier': 3 of 9 points"


@pytest.mark.parametrize(
    ("group", "command"),
    [
        ("surfaces/pca", "landscape surface digits-map-0.h5 --plane pca"),
        ("surfaces/samples-test", "landscape surface digits-map-0.h5 --plane samples --split test"),
        ("density", "landscape measure digits-map-0.h5 --density 10"),
        ("samples", "landscape measure digits-map-0.h5"),
    ],
)
def test_what_is_missing_names_the_command_that_makes_it(
    group: str, command: str, started: Run
) -> None:
    with pytest.raises(NotMeasured) as caught:
        read(started, group, "loss")
    said = str(caught.value).replace(f"{started.path.parent}/", "")
    assert said.endswith(f": run `{command}`")


def test_a_command_can_be_typed_whatever_the_file_is_called(started: Run) -> None:
    path = started.path.rename(started.path.with_name("a <b> & c.h5"))
    with pytest.raises(NotMeasured, match=r"`landscape measure '\S*a <b> & c\.h5'`"):
        read(Run.open(path), "samples", "trace")
