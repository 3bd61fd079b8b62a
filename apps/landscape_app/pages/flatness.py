"""Curvature at the posterior samples of the chosen runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from landscape.store import Run
from landscape_app import figures
from landscape_app.components import SCALES, graph, section, setting
from landscape_app.figures import run_curves
from landscape_app.figures.group_curves import CurvePanel, group_curves_figure
from landscape_app.figures.group_values import group_values_figure
from landscape_app.figures.groups import group_marks
from landscape_app.figures.scatter import Item, scatter_figure
from landscape_app.pages.page import Page, marks
from landscape_app.quantities import readings
from landscape_app.url import View

_BY_RANK = CurvePanel(
    "rank of the eigenvalue",
    "eigenvalue (nat)",
    run_curves.by_rank,
    factor=1.0,
    x_axis={"dtick": 1},
)
_DENSITY = CurvePanel("eigenvalue (nat)", "density (1/nat)", run_curves.density, factor=1.0)


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
        section(
            "Measures of flatness",
            "Further measures at each sample. Those of normalised logits are free of confidence.",
            graph("measures", "Measures of flatness at each sample, with their mean"),
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
        "measures": lambda runs, view: figures.measures_figure(
            *runs, picked=view.picked, marks=marks(runs, view)
        ),
    },
    grouped={
        "spread": lambda groups, view: group_values_figure(
            groups,
            ("lambda_1", "trace", "train_loss"),
            name="spread",
            title="Largest eigenvalue, trace and the training loss beside them",
            by=view.by,
            log=view.log("eigenvalues"),
        ),
        "eigenvalues": lambda groups, view: group_curves_figure(
            groups,
            [_BY_RANK],
            name="eigenvalues",
            title="Largest eigenvalues by rank, mean over samples",
            by=view.by,
            log=view.log("eigenvalues"),
        ),
        "relation": lambda groups, view: scatter_figure(
            [
                Item(summary.name, summary.name, readings(summary), group.label)
                for group in groups
                for summary in group.summaries
            ],
            "lambda_1",
            "nll",
            marks=dict(zip((group.label for group in groups), group_marks(groups), strict=True)),
        ),
        "density": lambda groups, view: group_curves_figure(
            groups, [_DENSITY], name="density", title="Spectral density", by=view.by, log=True
        ),
    },
    controls=_controls,
    brushed=("eigenvalues", "spread", "relation", "measures"),
)
