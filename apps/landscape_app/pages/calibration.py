"""The calibration of the averaged predictions of the chosen runs."""

from __future__ import annotations

from typing import Any

from landscape_app import figures
from landscape_app.components import graph, section
from landscape_app.pages.page import Page, marks


def _layout() -> list[Any]:
    return [
        section(
            "Reliability of the averaged prediction",
            "The accuracy of the averaged prediction at each level of its confidence. Below the "
            "diagonal it is overconfident.",
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
