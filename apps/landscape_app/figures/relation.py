"""Whether the flatter samples of a posterior predict better."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscape.prediction import Correlation, spearman
from landscape.prediction.correlation import FEWEST
from landscape.store import Run
from landscape_app import formats
from landscape_app.data import each_of
from landscape_app.figures import samples, theme
from landscape_app.figures.samples import Picked
from landscape_app.joined import flatness_and_error

_PANELS = (
    ("nll", "NLL, one sample (nat)", "NLL"),
    ("error", "error, one sample", "error"),
    ("rmse", "RMSE, one sample", "RMSE"),  # of real targets
)
_HOVER = (
    "%{customdata[0]}, sample %{customdata[1]}<br>λ<sub>1</sub> %{x:.4g}<br>%{y:.4g}<extra></extra>"
)


@np.errstate(all="ignore")  # a file may hold any number
def relation_figure(
    *runs: Run, picked: Picked = samples.NONE, marks: theme.Marks = theme.MARKS
) -> go.Figure:
    """lambda_1 of every sample against its own NLL and its own error, with rank correlations.

    Args:
        *runs: The run files.
        picked: Samples to highlight.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has both curvature and predictions, of the same samples.
        InputError: a run file cannot be read.
    """
    found = each_of(runs, flatness_and_error)
    panels = [panel for panel in _PANELS if any(panel[0] in group for group in found.values())]
    figure = make_subplots(cols=len(panels), horizontal_spacing=0.11)
    notes = []
    for position, group in found.items():
        colour, symbol = marks[position]
        name = samples.plain_name(runs[position])
        numbers = []
        for column, (quantity, _, words) in enumerate(panels, start=1):
            if quantity not in group:
                continue
            figure.add_trace(
                theme.scatter(
                    x=group["lambda_1"],
                    y=group[quantity],
                    mode="markers",
                    name=name,
                    legendgroup=name,
                    showlegend=column == 1 and len(runs) > 1,
                    marker={"color": colour, "symbol": symbol, "size": 9},
                    hovertemplate=_HOVER,
                    **samples.points(
                        runs[position], words, len(group["lambda_1"]), picked, axes="xy"
                    ),
                ),
                row=1,
                col=column,
            )
            found_here = spearman(group["lambda_1"], group[quantity], places=group.get("places"))
            numbers.append(f"{words} {_written(found_here, len(group['lambda_1']))}")
        whose = f"{runs[position].path.stem}: " if len(runs) > 1 else ""
        notes.append(f"{whose}{', '.join(numbers)}")
    for column, (quantity, label, _) in enumerate(panels, start=1):
        every = [group[quantity] for group in found.values() if quantity in group]
        look = theme.room(np.concatenate(every))
        look |= {"tickformat": ".1~%"} if quantity == "error" else {}
        figure.update_xaxes(title_text="λ<sub>1</sub> (nat)", col=column)
        figure.update_yaxes(title_text=label, **look, col=column)
    matrix, which = samples.matrices(runs, found)
    about = f"Spearman's ρ with its 95 % interval over samples, from {FEWEST} on"
    remarks = [samples.different_data(runs, found), samples.absent(runs, found)]
    words = " and ".join(words for *_, words in panels)
    title = f"Largest eigenvalue of {matrix} against test {words}"
    details = [*notes, which, about, *remarks]
    return samples.titled(figure, runs, "relation", title, *details, legend_above=len(runs) > 1)


def _written(found: Correlation, samples_in_all: int) -> str:
    rho = "undefined" if math.isnan(found.rho) else f"= {formats.number(found.rho, 2)}"
    interval = ""
    if not math.isnan(found.low):
        interval = f" [{formats.number(found.low, 2)}, {formats.number(found.high, 2)}]"
    others = samples_in_all - found.count
    lost = f" of {samples_in_all}: {others} not finite" if others else ""
    worth = ""
    if found.effective < found.count:
        worth = f" of a chain, worth {formats.number(found.effective, 2)}"
    return f"ρ {rho}{interval} (n = {found.count}{lost}{worth})"
