"""Columns and rows of the list of runs: what the grid shows of a run, or of a group of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from landscape.store import SampleMean, Summary
from landscape_app import formats
from landscape_app.groups import ListedGroup
from landscape_app.quantities import LABELS, readings
from landscape_app.settings import written as setting_text
from landscape_app.url import MOST_RUNS, View

# field, words, meaning
_TEXTS = (
    ("method", "Method", "Training method"),
    ("task", "Task", "Data and task of the training"),
    ("status", "Status", "running, complete, failed, or stopped: killed while it measured"),
)
_NUMBERS = (
    ("seed", "Seed", "Random seed of the run"),
    ("samples", "Samples", "Number of posterior samples in the averaged prediction"),
    ("accuracy", "Accuracy", "Accuracy of the average over samples"),
    ("nll", "NLL", "Negative log-likelihood of the average over samples, in nat"),
    ("rmse", "RMSE", "Root mean squared error of the average over samples, for regression"),
    ("ece", "ECE", "Expected calibration error of the average over samples"),
    ("lambda_1", "λ₁", "Largest eigenvalue: mean ± standard deviation over samples"),
    ("trace", "Trace", "Trace of the same matrix: mean ± standard deviation over samples"),
    ("training", "Training", "Wall-clock time of training"),
    ("date", "Date", "Day on which the run was made, in UTC"),
)
_WIDE = {"seed": 70, "samples": 93, "accuracy": 96, "lambda_1": 106, "trace": 102}
_WIDE |= {"training": 92, "date": 104, "method": 84, "task": 60, "status": 96}


def columns_of_grid() -> list[dict[str, Any]]:
    """The definitions of the grid's columns, in AG Grid's terms."""
    columns: list[dict[str, Any]] = [
        {
            "field": "chosen",
            "headerName": "Show",
            "headerTooltip": f"Choose up to {MOST_RUNS} runs to compare",
            "cellRenderer": "ChooseRun",
            "getQuickFilterText": {"function": "''"},
            "flex": 0,
            "width": 60,
            "minWidth": 60,
        },
        {"field": "name", "headerName": "Run", "headerTooltip": "Name of the file of the run"}
        | {"cellRenderer": "RunLink", "tooltipField": "about", "flex": 3, "minWidth": 140}
        | {"getQuickFilterText": {"function": "params.data.name + ' ' + params.data.label"}},
    ]
    for name, words, meaning in _TEXTS:
        column = {"field": name, "headerName": words, "headerTooltip": meaning}
        columns.append(column | {"tooltipField": name, "minWidth": _WIDE[name]})
    columns[-1] |= {"cellRenderer": "Status"}
    columns.append(
        {"field": "note", "headerName": "Note", "headerTooltip": "What is noted about the run"}
        | {"tooltipField": "note", "hide": True, "flex": 2, "minWidth": 90}  # see grid.js
    )
    for name, words, meaning in _NUMBERS:
        columns.append(
            {
                "field": name,
                "headerName": words,
                "headerTooltip": meaning,
                "tooltipField": f"over.{name}",  # if the number is a mean over samples
                "minWidth": _WIDE.get(name, 72),
                "hide": name == "rmse",  # shown once a run has one: see grid.js
                "type": "rightAligned",
                "filter": "agNumberColumnFilter",
                "getQuickFilterText": {"function": "''"},
                # The grid sorts by the number and shows the formatted text.
                "valueFormatter": {"function": f"params.data.written.{name}"},
            }
        )
    return columns


def run_row(run: Summary, chosen: bool, finite: Mapping[str, str]) -> dict[str, Any]:
    """A row of the grid.

    Args:
        run: Summary of the run.
        chosen: Whether the run is chosen.
        finite: Text in place of each mean over samples that is not finite.
    """
    written = {
        "seed": formats.ABSENT if run.seed is None else str(run.seed),
        "samples": formats.ABSENT if run.samples is None else f"{run.samples:,}",
        "accuracy": formats.percent(run.accuracy),
        "nll": formats.number(run.nll),
        "rmse": formats.number(run.rmse),
        "ece": formats.number(run.ece),
        "lambda_1": formats.spread(run.lambda_1),
        "trace": formats.spread(run.trace),
        "training": formats.duration(run.training_seconds),
        "date": formats.moment(run.created_at)[:10],
        **finite,
    }
    spreads = {"lambda_1": run.lambda_1, "trace": run.trace}
    # Two of them are comparable at equal training loss only.
    fit = "" if run.train_loss is None else f", training loss {formats.spread(run.train_loss)}"
    return {
        "name": run.name,
        "chosen": chosen,  # sort key; the check box itself follows the address
        "about": f"{run.name}, made {formats.moment(run.created_at)}",
        "method": run.method,
        "task": run.task,
        "status": run.status,
        "seed": run.seed,
        "samples": run.samples,
        "accuracy": formats.finite(run.accuracy),
        "nll": formats.finite(run.nll),
        "rmse": formats.finite(run.rmse),
        "ece": formats.finite(run.ece),
        **{name: formats.finite(mean.mean if mean else None) for name, mean in spreads.items()},
        "training": formats.finite(run.training_seconds),
        "date": formats.timestamp(run.created_at),
        "written": written,
        "over": {
            name: f"over {formats.counted(mean)}{fit}"
            for name, mean in spreads.items()
            if mean is not None
        },
    }


def group_row(group: ListedGroup, view: View) -> dict[str, Any]:
    """A row of the grid for a group: means and standard deviations over its runs."""
    tables = [readings(summary) for summary in group.summaries]
    means = {
        name: SampleMean.of(np.array([table[name].value for table in tables if name in table]))
        for name, *_ in _NUMBERS
        if name in LABELS
    }
    means["training"] = SampleMean.of(
        np.array(
            [table["training_seconds"].value for table in tables if "training_seconds" in table]
        )
    )
    written = {
        name: formats.spread(mean) if mean.count else formats.ABSENT for name, mean in means.items()
    }
    if means["accuracy"].count:
        accuracy = means["accuracy"]
        written["accuracy"] = formats.percent_plus_minus(accuracy.mean, accuracy.deviation)
    written["training"] = formats.duration(means["training"].mean)
    written["seed"] = f"n = {len(group.summaries)}"
    newest = max(summary.created_at for summary in group.summaries)
    written["date"] = formats.moment(newest)[:10]

    def same(name: str) -> str:
        values = {str(getattr(summary, name)) for summary in group.summaries}
        return values.pop() if len(values) == 1 else f"{len(values)} different"

    return {
        "name": group.label,
        "label": "",
        "group": True,
        "chosen": group.label in view.groups,
        "about": f"{group.label}: {', '.join(summary.name for summary in group.summaries)}",
        "method": same("method"),
        "task": same("task"),
        "status": same("status"),
        **{name: formats.finite(mean.mean) for name, mean in means.items()},
        "seed": len(group.summaries),
        "date": formats.timestamp(newest),
        "written": written,
        "over": {
            name: f"mean ± standard deviation over {formats.count(mean.count, 'run')}"
            for name, mean in means.items()
            if mean.count
        },
    }


def cell(value: object) -> object:
    """A setting as a number, to sort by, or as text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return formats.finite(value) if is_number else setting_text(value)  # type: ignore[arg-type]
