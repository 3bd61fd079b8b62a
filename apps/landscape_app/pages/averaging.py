"""The effect of averaging over posterior samples on the predictions of the chosen runs."""

from __future__ import annotations

from typing import Any

from landscape_app import figures
from landscape_app.components import graph, section
from landscape_app.pages.page import Page, marks


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
    brushed=("metrics",),
)
