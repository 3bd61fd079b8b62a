"""Figure of the loss along the measured lines and curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.runtime import limits
from landscape.store import Group, Run
from landscape.store.summary import barrier, number
from landscape_app import formats
from landscape_app.data import each_of, line_names, missing, read
from landscape_app.figures import samples, theme
from landscape_app.figures.panels import Panels
from landscape_app.figures.scale import asks_for_log, log_ticks

# kind, label, dash
_BETWEEN = (
    ("samples", "straight", "dot"),
    ("bezier", "Bezier curve", "solid"),
    ("chain", "polygonal chain", "dash"),
)
_THROUGH = (
    ("pca", "first principal direction", "solid"),
    ("eigenvectors", "eigenvector of λ₁", "dash"),
    ("random", "random direction", "dot"),
)
_PANELS = (
    (_BETWEEN, "share of the way from sample 0 to sample 1"),
    (_THROUGH, "length along the line"),
)
_HOVER = "%{meta.run}: %{meta.series}<br>%{x:.4g}: loss %{y:.4g}<extra></extra>"


@np.errstate(all="ignore")  # a file may hold any number
def lines_figure(
    *runs: Run, log: bool | None = None, marks: theme.Marks = theme.MARKS
) -> go.Figure:
    """Loss along each line and curve: between two samples, and along directions.

    Points with a loss that is not finite are gaps.

    Args:
        *runs: The run files.
        log: Whether the axis of the loss is logarithmic. Losses that are not positive are then left
            out. By default it is if the losses ask for it.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has a line.
        InputError: a run file cannot be read.
    """
    lines_by_run = each_of(runs, _read)
    curves = [
        (panel, position, label, dash, group)
        for panel, (kinds, _) in enumerate(_PANELS)
        for position, (lines, _) in lines_by_run.items()
        for label, dash, group in _of_kinds(lines, kinds)
    ]
    if not curves:
        raise missing(runs[0], "lines/samples")
    if log is None:
        log = asks_for_log(np.concatenate([group["loss"] for *_, group in curves]))
    panels = sorted({panel for panel, *_ in curves})
    traces: list[theme.Trace] = []
    for panel, position, label, dash, group in curves:
        run, (colour, _) = runs[position], marks[position]
        x, loss = group["x"], group["loss"]
        columns: dict[str, Any] = {"accuracy": group["accuracy"]} if "accuracy" in group else {}
        if panel == 0 and group.attributes.get("kind") == "samples":
            x = x / (number(group.attributes, "distance") or 1.0)
        drawable = np.isfinite(loss) & ((loss > 0) | (not log))
        prefix = f"{samples.plain_name(run)}: " if len(runs) > 1 else ""
        traces.append(
            theme.scatter(
                x=x,
                y=np.where(drawable, loss, np.nan),
                mode="lines",
                connectgaps=False,
                line={"color": colour, "width": 2, "dash": dash},
                name=prefix + label,
                hovertemplate=_HOVER,
                **Panels.axes(panels.index(panel) + 1),
                **samples.numbers(run, label, x=x, y=loss, **columns),
            )
        )
    row = Panels(cols=len(panels), shared_yaxes=True, horizontal_spacing=0.05)
    for column, panel in enumerate(panels, start=1):
        row.x(col=column, title=_PANELS[panel][1])
    row.y(col=1, title="loss (nat)")
    if log:
        ticks, labels = log_ticks(np.concatenate([group["loss"] for *_, group in curves]))
        row.y(type="log", tickvals=ticks, ticktext=labels)
    barriers = [
        f"{runs[position].name + ': ' if len(runs) > 1 else ''}{label} "
        f"{formats.number(barrier(group))}"
        for panel, position, label, _, group in curves
        if panel == 0
    ]
    barrier_line = f"barrier above the higher end (nat): {', '.join(barriers)}" if barriers else ""
    left_out = {
        position: f"{formats.count(more, 'more line')}: not drawn"
        for position, (_, more) in lines_by_run.items()
        if more
    }
    details = [barrier_line, samples.by_run(runs, left_out), samples.absent(runs, lines_by_run)]
    title = "Loss along lines and curves"
    figure = row.drawn(traces)
    return samples.titled(figure, runs, "lines", title, *details, legend_above=True)


def _read(run: Run) -> tuple[dict[str, Group], int]:
    """The lines of a run that are drawn, by name, and the number of lines left out."""
    names = line_names(run)
    lines: dict[str, Group] = {}
    left = limits.MAX_DRAWN
    for count, name in enumerate(names):
        group = read(run, f"lines/{name}", "x", "loss", optional=("accuracy",))
        left -= sum(values.size for values in group.values())
        if left < 0 or count == limits.MAX_DRAWN_MEMBERS:
            return lines, len(names) - count
        if len(group["x"]):
            lines[name] = group
    if not lines:
        raise missing(run, "lines/samples")
    return lines, 0


def _of_kinds(
    lines: Mapping[str, Group], kinds: tuple[tuple[str, str, str], ...]
) -> Iterator[tuple[str, str, Group]]:
    """The lines of some kinds: the label, the dash and the group of each line."""
    for kind, words, dash in kinds:
        for name, group in lines.items():
            if group.attributes.get("kind", name.partition("-")[0]) == kind:
                more = name.removeprefix(kind).removeprefix("-")  # the split, or another name
                yield words + (f" ({more})" if more else ""), dash, group
