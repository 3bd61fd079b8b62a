"""How far the averaged predictions of the chosen runs can be believed."""

from __future__ import annotations

from typing import Any

from landscape_app import figures
from landscape_app.components import graph, section
from landscape_app.pages.page import Page, marks


def _layout() -> list[Any]:
    return [
        section(
            "Reliability of the averaged prediction",
            "How often the averaged prediction is right, by how sure it is. Below the diagonal it "
            "is surer than right.",
            graph("calibration", "Accuracy of the averaged prediction by its confidence"),
        )
    ]


PAGE = Page(
    key="calibration",
    title="Calibration",
    layout=_layout,
    graphs={
        "calibration": lambda runs, view: figures.calibration_figure(*runs, marks=marks(runs, view))
    },
)
