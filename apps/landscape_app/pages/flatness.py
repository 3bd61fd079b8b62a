"""Curvature at the posterior samples of the chosen runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from landscape.store import Run
from landscape_app import figures
from landscape_app.components import graph, section, setting
from landscape_app.pages.page import Page
from landscape_app.url import View


def _layout() -> list[Any]:
    return [
        section(
            "Flatness",
            "Curvature of the loss at each sample of the posterior: smaller is flatter.",
            graph("eigenvalues", "Largest Hessian eigenvalues of each sample"),
            graph("trace", "Trace of the Hessian at each sample"),
        )
    ]


def _controls(_: Sequence[Run], view: View) -> list[Any]:
    scales = {"linear": "linear", "log": "logarithmic"}
    return [setting("Eigenvalue axis", "eigenvalues", scales, view)]


PAGE = Page(
    key="flatness",
    title="Flatness",
    layout=_layout,
    graphs={
        "eigenvalues": lambda runs, view: figures.eigenvalues_figure(
            *runs, log=view.setting("eigenvalues") == "log", picked=view.picked
        ),
        "trace": lambda runs, view: figures.trace_figure(*runs, picked=view.picked),
    },
    controls=_controls,
)
