"""What averaging over posterior samples does to the predictions of the chosen runs."""

from __future__ import annotations

from typing import Any

from landscape_app import figures
from landscape_app.components import graph, section
from landscape_app.pages.page import Page, marks


def _layout() -> list[Any]:
    return [
        section(
            "Single samples and their average",
            "What averaging over the samples gains over any single one of them.",
            graph("metrics", "NLL and accuracy of single samples and of their average"),
        ),
        section(
            "How many samples, and which",
            "The average over the first n samples: the flat ones first, the sharp ones first, or "
            "in random order.",
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
