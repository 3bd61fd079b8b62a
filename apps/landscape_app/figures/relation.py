"""Figure of flatness against test metrics: do flatter samples predict better?"""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from landscape.prediction import Correlation, spearman
from landscape.prediction.correlation import FEWEST
from landscape.store import Run
from landscape_app import formats
from landscape_app.data import each_of
from landscape_app.figures import samples, theme
from landscape_app.figures.panels import Panels
from landscape_app.figures.samples import Picked
from landscape_app.joined import flatness_and_error

_PANELS = (
    ("nll", "NLL, one sample (nat)", "NLL"),
    ("error", "error, one sample", "error"),
    ("rmse", "RMSE, one sample", "RMSE"),  # regression
)
_HOVER = (
    "%{customdata[0]}, sample %{customdata[1]}<br>λ<sub>1</sub> %{x:.4g}<br>%{y:.4g}<extra></extra>"
)


@np.errstate(all="ignore")  # a file may hold any number
def relation_figure(
    *runs: Run, picked: Picked = samples.NONE, marks: theme.Marks = theme.MARKS
) -> go.Figure:
    """lambda_1 of every sample against its NLL and its error, with rank correlations.

    Args:
        *runs: The run files.
        picked: Samples to highlight.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has both curvature and predictions of the same samples.
        InputError: a run file cannot be read.
    """
    groups = each_of(runs, flatness_and_error)
    panels = [panel for panel in _PANELS if any(panel[0] in group for group in groups.values())]
    traces: list[theme.Trace] = []
    notes = []
    for position, group in groups.items():
        colour, symbol = marks[position]
        name = samples.plain_name(runs[position])
        correlations = []
        for column, (quantity, _, words) in enumerate(panels, start=1):
            if quantity not in group:
                continue
            traces.append(
                theme.scatter(
                    x=group["lambda_1"],
                    y=group[quantity],
                    mode="markers",
                    name=name,
                    legendgroup=name,
                    showlegend=column == 1 and len(runs) > 1,
                    marker={"color": colour, "symbol": symbol, "size": 9},
                    hovertemplate=_HOVER,
                    **Panels.axes(column),
                    **samples.points(
                        runs[position], words, len(group["lambda_1"]), picked, axes="xy"
                    ),
                )
            )
            correlation = spearman(group["lambda_1"], group[quantity], places=group.get("places"))
            correlations.append(f"{words} {_written(correlation, len(group['lambda_1']))}")
        prefix = f"{runs[position].name}: " if len(runs) > 1 else ""
        notes.append(f"{prefix}{', '.join(correlations)}")
    row = Panels(cols=len(panels), horizontal_spacing=0.11)
    for column, (quantity, label, _) in enumerate(panels, start=1):
        metric_values = [group[quantity] for group in groups.values() if quantity in group]
        look = theme.room(np.concatenate(metric_values))
        look |= {"tickformat": ".1~%"} if quantity == "error" else {}
        row.x(col=column, title="λ<sub>1</sub> (nat)")
        row.y(col=column, title=label, **look)
    matrix, matrix_details = samples.matrices(runs, groups)
    about = f"Spearman's ρ with its 95 % interval over samples, for {FEWEST} samples or more"
    remarks = [samples.different_data(runs, groups), samples.absent(runs, groups)]
    words = " and ".join(words for *_, words in panels)
    title = f"Largest eigenvalue of {matrix} against test {words}"
    details = [*notes, matrix_details, about, *remarks]
    figure = row.drawn(traces)
    return samples.titled(figure, runs, "relation", title, *details, legend_above=len(runs) > 1)


def _written(correlation: Correlation, num_samples: int) -> str:
    rho = "undefined" if math.isnan(correlation.rho) else f"= {formats.number(correlation.rho, 2)}"
    interval = ""
    if not math.isnan(correlation.low):
        interval = f" [{formats.number(correlation.low, 2)}, {formats.number(correlation.high, 2)}]"
    num_lost = num_samples - correlation.count
    lost = f" of {num_samples}: {num_lost} not finite" if num_lost else ""
    effective = ""
    if correlation.effective < correlation.count:
        effective = f" of a chain, worth {formats.number(correlation.effective, 2)}"
    return f"ρ {rho}{interval} (n = {correlation.count}{lost}{effective})"
