"""The effect of averaging over posterior samples on the predictions of the chosen runs."""

from __future__ import annotations

from functools import partial
from typing import Any

from landscape_app import figures
from landscape_app.components import graph, section
from landscape_app.figures import run_curves
from landscape_app.figures.group_curves import CurvePanel, group_curves_figure
from landscape_app.figures.group_values import group_values_figure
from landscape_app.pages.page import Page, marks

_ORDERS = {"flat_first": ("flat first", "solid"), "random": ("random order", "dot")}
_METRICS = {"nll": "NLL (nat)", "accuracy": "accuracy", "ece": "ECE"}
_PANELS = [
    CurvePanel(
        "samples averaged",
        label,
        partial(run_curves.average, metric=metric, order=order),
        dash=dash,
        words=words,
        percent=metric == "accuracy",
    )
    for metric, label in _METRICS.items()
    for order, (words, dash) in _ORDERS.items()
]


def _layout() -> list[Any]:
    return [
        section(
            "Single samples and their average",
            "The metrics of each single sample, and of the average over all samples.",
            graph("metrics", "NLL and accuracy of single samples and of their average"),
        ),
        section(
            "Number and order of samples",
            "The average over the first n samples, ordered with flat samples first, with sharp "
            "samples first, or at random.",
            graph("averaging", "NLL, accuracy and ECE of the average over the first n samples"),
        ),
    ]


PAGE = Page(
    key="averaging",
    title="Averaging",
    layout=_layout,
    graphs={
        "metrics": lambda runs, view: figures.metrics_figure(
            *runs, picked=view.picked, marks=marks(runs, view)
        ),
        "averaging": lambda runs, view: figures.averaging_figure(*runs, marks=marks(runs, view)),
    },
    grouped={
        "metrics": lambda groups, view: group_values_figure(
            groups,
            ("nll", "accuracy", "ece", "rmse"),
            name="metrics",
            title="Test metrics of the average over samples",
            by=view.by,
        ),
        "averaging": lambda groups, view: group_curves_figure(
            groups,
            _PANELS,
            name="averaging",
            title="The average over the first n samples",
            by=view.by,
            log=False,
        ),
    },
    brushed=("metrics",),
)
