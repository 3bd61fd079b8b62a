"""Parallel coordinates: each line goes through the values of its run, and gaps are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from landscape_app import table
from landscape_app.figures.parallel import parallel_figure
from landscape_app.figures.scatter import Item
from landscape_app.pages import compare
from landscape_app.quantities import Reading
from landscape_app.url import View
from made import start_run

from landscape.errors import InputError

MARKS = {"a": ("#0072B2", "circle"), "b": ("#D55E00", "square")}


def items(*rows: dict[str, float | str]) -> list[Item]:
    return [
        Item(
            f"run{index}",
            f"run{index}",
            {key: Reading(value) for key, value in row.items() if not isinstance(value, str)},
            "ab"[index % 2],
            texts={key: value for key, value in row.items() if isinstance(value, str)},
        )
        for index, row in enumerate(rows)
    ]


def heights(figure: object, axes: int) -> np.ndarray:
    """The heights of the lines, (lines, axes), NaN where a line has a gap."""
    lines = [np.array(t.y, dtype=float) for t in figure.data if t.meta]  # type: ignore[attr-defined]
    return np.concatenate([line.reshape(-1, axes + 1)[:, :axes] for line in lines])


def test_a_line_goes_through_the_values_on_linear_log_and_word_axes() -> None:
    rows = items(
        {"x": 1.0, "trace": 1.0, "ball": "none"},
        {"x": 2.0, "trace": 10.0, "ball": "sam"},
        {"x": 3.0, "trace": 10_000.0, "ball": "none"},
    )
    figure = parallel_figure(rows, ["x", "trace", "ball"], marks=MARKS)
    expected = [[0, 0, 0], [1, 1, 0], [0.5, 0.25, 1]]  # those of the series a come first
    np.testing.assert_allclose(heights(figure, 3), expected, atol=1e-12)
    linear = parallel_figure(rows, ["x", "trace", "ball"], marks=MARKS, log=False)
    np.testing.assert_allclose(heights(linear, 3)[2, 1], 9 / 9999)
    shown = {(row["run"], row["quantity"]): row["value"] for row in table.rows(figure)}
    assert len(shown) == 9
    assert shown["run1", "trace (nat)"] == "10.00"
    assert shown["run2", "ball"] == "none"


def test_gaps_and_items_that_are_left_out_are_told() -> None:
    rows = items(
        {"x": 1.0, "y": 2.0, "z": 3.0},
        {"x": 2.0, "z": 4.0},
        {"x": 3.0},
        {"x": 0.5, "y": 2.5, "z": 1.0},
    )
    figure = parallel_figure(rows, ["x", "y", "z"], marks=MARKS)
    assert np.isnan(heights(figure, 3)).sum() == 1
    title = str(figure.layout.title.text)
    assert "3 runs, a line each" in title
    assert "1 of 4 runs left out: too few values" in title
    assert "1 with a gap" in title
    with pytest.raises(InputError, match="two axes or more"):
        parallel_figure(rows, ["x", "absent"], marks=MARKS)


def test_a_number_colours_the_lines_from_its_lowest_to_its_highest() -> None:
    rows = items(*({"x": float(index), "nll": 1.0 + index, "y": 0.0} for index in range(3)))
    figure = parallel_figure(rows, ["x", "y"], marks=MARKS, colour="nll")
    lines = [trace for trace in figure.data if trace.meta]
    colours = [trace.line.color for trace in lines]
    assert (colours[0], colours[-1]) == ("rgb(68, 1, 84)", "rgb(253, 231, 37)")
    (bar,) = [trace for trace in figure.data if trace.marker.colorbar.title.text]
    assert list(bar.marker.color) == [1.0, 3.0]


def test_the_page_has_the_axes_of_the_address(tmp_path: Path) -> None:
    for index in range(3):
        run = start_run(tmp_path, f"run{index}", method=("swag", "vi")[index % 2], seed=index)
        config = {"method": {"radius": 10.0**-index if index else None, "ball": "ab"[index % 2]}}
        run.set_attributes(config=json.dumps(config), status="complete")
        run.write("predictions", {"nll": [0.5]}, {"nll": 0.5 + index, "accuracy": 0.9})
    address = "/compare?axes=method.ball,method.radius,nll&axscale=linear"
    assert View.parse(address).address == address
    figure = compare.draw_parallel(tmp_path, View.parse(address))
    assert len(figure.layout.xaxis.ticktext) == 3
    assert "1 with a gap" in str(figure.layout.title.text)  # a radius that is not set
    filtered = compare.draw_parallel(tmp_path, View.parse(f"{address}&where=method.ball:a"))
    assert {row["run"] for row in table.rows(filtered)} == {"run0", "run2"}
    *_, values = compare.fill(tmp_path, View.parse("/compare"))
    assert values["axes"] == ["method", "method.radius", "method.ball", "nll", "accuracy"]
    chosen = compare.fill(tmp_path, View.parse(address))[-1]["axes"]
    assert chosen == ["method.ball", "method.radius", "nll"]
