"""The training records of the chosen runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from dash import html

from landscape.store import Run
from landscape_app import figures
from landscape_app.components import SCALES, graph, link, section, setting
from landscape_app.figures import along, run_curves
from landscape_app.figures.group_curves import CurvePanel, group_curves_figure
from landscape_app.groups import RunGroup
from landscape_app.pages.page import Page, marks
from landscape_app.url import View


def _layout() -> list[Any]:
    return [
        section(
            "Epoch by epoch",
            "Losses, accuracy on the validation split, the learning rate and, for methods that "
            "perturb the weights, the length of the perturbation.",
            graph("training", "Losses, validation accuracy and learning rate over training"),
        ),
        section(
            "Along the training",
            "The curvature at weights that were kept along the training, and their distance to the "
            "plane of their two principal directions.",
            graph("along", "Curvature, loss and distance to the plane along the training"),
        ),
    ]


def _controls(_: Sequence[Run], view: View) -> list[Any]:
    return [
        setting("Over", "time", {"epoch": "epochs", "seconds": "wall-clock time"}, view),
        setting("Loss scale", "loss", SCALES, view),
        setting("Scale of curvature", "eigenvalues", SCALES, view),
    ]


def _below(runs: Sequence[Run], view: View) -> Any:
    """A link to the path of each training on its plane."""
    if not any("surfaces/trajectory" in run.groups for run in runs):
        return None
    path = replace(view.on("surface"), plane="trajectory", at=None)
    return html.P(["Surface: ", link("the path of the training on its plane", path), "."])


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


def _along_panels(groups: Sequence[RunGroup]) -> list[CurvePanel]:
    unit = along.unit_of(run for group in groups for run in group.runs)
    return [
        CurvePanel(along.title(unit), quantity.axis, partial(along.curve, name=name, unit=unit))
        for name, quantity in along.QUANTITIES.items()
        if quantity.kind != along.DISTANCE
    ]


PAGE = Page(
    key="training",
    title="Training",
    layout=_layout,
    graphs={
        "training": lambda runs, view: figures.training_figure(
            *runs, time=view.setting("time"), log=view.log("loss"), marks=marks(runs, view)
        ),
        "along": lambda runs, view: figures.along_figure(
            *runs,
            log={along.CURVATURE: view.log("eigenvalues"), along.LOSS: view.log("loss")},
            marks=marks(runs, view),
        ),
    },
    grouped={
        "training": lambda groups, view: group_curves_figure(
            groups,
            _panels(view.setting("time")),
            name="training",
            title="Training record",
            by=view.by,
            log=view.log("loss"),
        ),
        "along": lambda groups, view: group_curves_figure(
            groups,
            _along_panels(groups),
            name="along",
            title="Curvature and loss along the training",
            by=view.by,
            log=view.log("eigenvalues"),
        ),
    },
    controls=_controls,
    below=_below,
)
