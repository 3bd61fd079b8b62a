"""The training records of the chosen runs."""

from __future__ import annotations

from typing import Any

from landscape_app import figures
from landscape_app.components import graph, section
from landscape_app.pages.page import Page, marks


def _layout() -> list[Any]:
    return [
        section(
            "Epoch by epoch",
            "Losses, accuracy on the validation split and, for methods that perturb the weights, "
            "the length of the perturbation.",
            graph("training", "Losses and validation accuracy by epoch"),
        )
    ]


PAGE = Page(
    key="training",
    title="Training",
    layout=_layout,
    graphs={"training": lambda runs, view: figures.training_figure(*runs, marks=marks(runs, view))},
)
