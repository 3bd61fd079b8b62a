"""Curvature at the posterior samples of the chosen runs."""

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
            "Curvature at each sample",
            "Smaller is flatter. To highlight samples in every figure that shows them, click one, "
            "draw a box around several (Box Select, at the top of a figure), or type their numbers "
            "above.",
            graph("spread", "Largest eigenvalue and trace at each sample"),
            graph("eigenvalues", "Largest eigenvalues at each sample, by rank"),
        ),
        section(
            "Flatness and prediction",
            "The test metrics of each sample against its largest eigenvalue.",
            graph("relation", "Largest eigenvalue against NLL and error of each sample"),
        ),
        section(
            "All eigenvalues",
            "The distribution of all eigenvalues, estimated with random probes.",
            graph("density", "Spectral density"),
        ),
    ]


def _controls(_: Sequence[Run], view: View) -> list[Any]:
    return [setting("Scale of curvature", "eigenvalues", SCALES, view)]


PAGE = Page(
    key="flatness",
    title="Flatness",
    layout=_layout,
    graphs={
        "eigenvalues": lambda runs, view: figures.eigenvalues_figure(
            *runs,
            log=view.log("eigenvalues"),
            picked=view.picked,
            marks=marks(runs, view),
        ),
        "spread": lambda runs, view: figures.spread_figure(
            *runs,
            log=view.log("eigenvalues"),
            picked=view.picked,
            marks=marks(runs, view),
        ),
        "relation": lambda runs, view: figures.relation_figure(
            *runs, picked=view.picked, marks=marks(runs, view)
        ),
        "density": lambda runs, view: figures.density_figure(
            *runs, picked=view.picked, marks=marks(runs, view)
        ),
    },
    controls=_controls,
    brushed=("eigenvalues", "spread", "relation"),
)
