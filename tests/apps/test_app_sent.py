"""Plotly accepts every property of the figures, and gets them as it would send them itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from landscape_app import figures
from landscape_app.drawings import drawings, figure_names
from landscape_app.figures import theme
from landscape_app.figures.panels import figure_of
from landscape_app.figures.sent import sent
from landscape_app.url import View
from plotly.basedatatypes import BasePlotlyType
from plotly.utils import PlotlyJSONEncoder
from test_app_along import write as write_along
from test_app_measures import write_measures

from landscape.store import Run

VIEWS = {
    "colours": (3, "/compare?x=seed&y=nll&hue=nll&axes=seed,nll,accuracy"),
    "3d": (2, "/surface?view=3d&loss=log&at=0,0"),
    "slices": (2, "/surface?value=accuracy&ranges=nothing&at=0,0"),
    "groups": (5, "/flatness?by=method"),
    "training": (0, "/training"),
    "training-3d": (0, "/surface?view=3d&plane=trajectory"),
}
NAMES = {
    "3d": ["surface"],
    "slices": ["surface", "slices"],
    "groups": ["eigenvalues", "spread", "averaging"],
    "colours": ["scatter", "parallel", "calibration", "averaging", "density", "relation"],
    "training-3d": ["surface"],
}


def read_all(part: Any) -> None:
    """Read each property, as a notebook does that goes on with a figure."""
    for name in part.to_plotly_json().keys() - {"template"}:
        value = part[name]
        for inner in value if isinstance(value, tuple) else [value]:
            if isinstance(inner, BasePlotlyType):
                read_all(inner)


def as_plotly_sends_it(figure: go.Figure) -> Any:
    return json.loads(json.dumps(figure, cls=PlotlyJSONEncoder))


def as_sent(figure: go.Figure) -> Any:
    return json.loads(json.dumps(sent(figure), cls=PlotlyJSONEncoder))


@pytest.mark.parametrize("case", VIEWS)
def test_every_figure_passes_the_check_of_plotly(
    case: str, new_run: Callable[..., Run], tmp_path: Path
) -> None:
    count, address = VIEWS[case]
    runs = [new_run(f"run-{index}", seed=index) for index in range(count)]
    for run in runs[:2]:
        write_measures(run)
    runs = runs or [write_along(tmp_path, f"run-{index}", seed=index) for index in range(2)]
    names = NAMES.get(case) or figure_names()
    drawn = list(drawings(runs, names, View.parse(address), tmp_path))
    drawn = [(name, figure) for name, figure in drawn if isinstance(figure, go.Figure)]
    assert {name for name, _ in drawn} >= set(NAMES.get(case, ["surface"]))
    for name, figure in drawn:
        figures.darkened(figure)
        plain = as_plotly_sends_it(figure)
        parts = {"data": [trace.to_plotly_json() for trace in figure.data]}
        parts["layout"] = figure.layout.to_plotly_json()
        checked = go.Figure(parts)  # an error names the property that it does not accept
        assert as_plotly_sends_it(checked) == plain, name
        assert as_sent(figure) == plain, name
        for part in (figure.layout, *figure.data):
            read_all(part)


def test_what_a_user_changes_in_a_figure_is_checked(complete: Run) -> None:
    figure = figures.eigenvalues_figure(complete)
    for change in (
        lambda: figure.update_layout(width="wide"),
        lambda: figure.update_xaxes(type="logarithm"),
        lambda: figure.update_traces(marker_size="large"),
    ):
        with pytest.raises(ValueError, match="Invalid value"):
            change()


@pytest.mark.parametrize(
    "values",
    [
        np.arange(5),
        np.array([-129, 300]),
        np.array([2**31, 0]),
        np.array([2**40, -1]),
        np.array([2**63], dtype="u8"),
        np.array([[0.5, math.nan], [1.0, math.inf]]),
        np.arange(6, dtype="f4").reshape(1, 2, 3),
        np.arange(6.0).reshape(2, 3).T,
        np.array([]),
        np.array([True, False]),
        np.array(["a", "b"]),
        np.array([None, 1], dtype=object),
    ],
    ids=lambda values: f"{values.dtype}-{values.shape}",
)
def test_arrays_are_sent_as_by_plotly(values: np.ndarray) -> None:
    figure = figure_of([theme.scatter(y=values, customdata=values, marker={"size": values})], {})
    figure.update_layout(meta={"held": values, "parts": [{"range": values}]})
    assert as_sent(figure) == as_plotly_sends_it(figure)
