"""The training records of the chosen runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from landscape.store import Run
from landscape_app import figures
from landscape_app.components import SCALES, graph, section, setting
from landscape_app.pages.page import Page, marks
from landscape_app.url import View


def _layout() -> list[Any]:
    return [
        section(
            "Epoch by epoch",
            "Losses, accuracy on the validation split, the learning rate and, for methods that "
            "perturb the weights, the length of the perturbation.",
            graph("training", "Losses, validation accuracy and learning rate over training"),
        )
    ]


def _controls(_: Sequence[Run], view: View) -> list[Any]:
    return [
        setting("Over", "time", {"epoch": "epochs", "seconds": "wall-clock time"}, view),
        setting("Loss scale", "loss", SCALES, view),
    ]


PAGE = Page(
    key="training",
    title="Training",
    layout=_layout,
    graphs={
        "training": lambda runs, view: figures.training_figure(
            *runs, time=view.setting("time"), log=view.log("loss"), marks=marks(runs, view)
        )
    },
    controls=_controls,
)
