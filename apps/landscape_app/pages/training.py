"""The training records of the chosen runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from landscape.store import Run
from landscape_app import figures
from landscape_app.components import SCALES, graph, section, setting
from landscape_app.figures import run_curves
from landscape_app.figures.groups import CurvePanel, group_curves_figure
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


def _panels(time: str) -> list[CurvePanel]:
    x = {"epoch": "epoch", "seconds": "time since training began (s)"}[time]
    shown = {
        "train_loss": ("loss (nat)", "training batches", "dot"),
        "validation_loss": ("loss (nat)", "validation", "solid"),
        "validation_accuracy": ("validation accuracy", "", "solid"),
        "learning_rate": ("learning rate", "", "solid"),
    }
    return [
        CurvePanel(
            x,
            y,
            partial(run_curves.training, name=name, time=time),
            dash=dash,
            words=words,
            percent=name == "validation_accuracy",
        )
        for name, (y, words, dash) in shown.items()
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
    grouped={
        "training": lambda groups, view: group_curves_figure(
            groups,
            _panels(view.setting("time")),
            name="training",
            title="Training record",
            by=view.by,
            log=view.log("loss"),
        )
    },
    controls=_controls,
)
