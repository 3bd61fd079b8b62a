"""The calibration of the averaged predictions of the chosen runs."""

from __future__ import annotations

from typing import Any

from landscape_app import figures
from landscape_app.components import graph, section
from landscape_app.figures import run_curves, theme
from landscape_app.figures.group_curves import CurvePanel, group_curves_figure
from landscape_app.pages.page import Page, marks

_RELIABILITY = CurvePanel(
    "confidence, in bins of ten examples or more",
    "accuracy",
    run_curves.calibration,
    percent=True,
    x_axis={"tickformat": ".0%", "range": [0, 1]},
    y_range=(0, 1),
)


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
    grouped={
        "calibration": lambda groups, view: group_curves_figure(
            groups,
            [_RELIABILITY],
            name="calibration",
            title="Reliability of the averaged prediction",
            by=view.by,
            log=False,
            width=theme.SQUARE,
        )
    },
)
