"""The loss along two straight lines of a surface, through one of its points."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscape.store import Run
from landscape_app import formats
from landscape_app.data import read_each
from landscape_app.figures import samples, theme
from landscape_app.figures.scale import log_ticks

_HOVER = "%{meta.run}<br>%{x:.4g}: loss %{y:.4g}<extra></extra>"


@np.errstate(all="ignore")  # a file may hold any number
def slices_figure(
    *runs: Run,
    name: str,
    at: tuple[float, float],
    log: bool = False,
    marks: theme.Marks = theme.MARKS,
) -> go.Figure:
    """Loss along x and along y, through the point of each run's grid that is nearest to ``at``.

    Points whose loss is not finite are gaps.

    Args:
        *runs: The run files.
        name: Name of the surface.
        at: x and y in the surface's own coordinates.
        log: Logarithmic axis of the loss; what is not positive is then left out, and counted.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has such a surface.
        InputError: a run file cannot be read.
    """
    found = read_each(runs, f"surfaces/{name}", "x", "y", "loss")
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    notes, drawn = [], []
    for position, group in found.items():
        column, row = (
            int(np.abs(group[axis] - place).argmin()) for axis, place in zip("xy", at, strict=True)
        )
        x, y, loss = group["x"], group["y"], group["loss"]
        whose = f"{runs[position].path.stem}: " if len(runs) > 1 else ""
        place = f"x {formats.number(float(x[column]))}, y {formats.number(float(y[row]))}"
        notes.append(f"{whose}{place}, loss {formats.number(float(loss[row, column]), 4)}")
        if any(
            not values.min() <= asked <= values.max()
            for values, asked in zip((x, y), at, strict=True)
        ):
            asked = f"x {formats.number(at[0])}, y {formats.number(at[1])}"
            notes.append(f"{whose}{asked} is outside the plane: that is the nearest point in it")
        for panel, (coordinates, values, here) in enumerate(
            ((x, loss[row], column), (y, loss[:, column], row)), start=1
        ):
            drawn.append(values)
            _add(
                figure,
                panel,
                marks[position],
                runs[position],
                coordinates,
                values,
                here,
                log,
                len(runs) > 1,
            )
    figure.update_xaxes(title_text="x, at the chosen y", col=1)
    figure.update_xaxes(title_text="y, at the chosen x", col=2)
    figure.update_yaxes(title_text="loss (nat)", col=1)
    every = np.concatenate(drawn)
    if log:
        ticks, labels = log_ticks(every)
        figure.update_yaxes(type="log", tickvals=ticks, ticktext=labels)
    blank = int(np.count_nonzero(~np.isfinite(every) | ((every <= 0) & log)))
    lost = f"{blank} of {every.size} points have no value to draw: left blank" if blank else ""
    title = f"Slices of the plane “{name}” through the chosen point"
    details = [" · ".join(notes), lost, samples.absent(runs, found)]
    above = len(runs) > 1
    return samples.titled(figure, runs, f"slices-{name}", title, *details, legend_above=above)


def _add(
    figure: go.Figure,
    panel: int,
    mark: theme.Mark,
    run: Run,
    coordinates: np.ndarray,
    values: np.ndarray,
    here: int,
    log: bool,
    legend: bool,
) -> None:
    colour, symbol = mark
    name = samples.plain_name(run)
    drawable = np.isfinite(values) & ((values > 0) | (not log))
    series = f"loss along {'xy'[panel - 1]}"
    shared = {"name": name, "legendgroup": name, "hovertemplate": _HOVER}
    figure.add_trace(
        theme.scatter(
            x=coordinates,
            y=np.where(drawable, values, np.nan),
            mode="lines",
            connectgaps=False,
            line={"color": colour, "width": 2},
            showlegend=panel == 1 and legend,
            **shared,
            **samples.numbers(run, series, x=coordinates, y=values),
        ),
        row=1,
        col=panel,
    )
    figure.add_trace(
        theme.scatter(
            x=coordinates[[here]],
            y=np.where(drawable, values, np.nan)[[here]],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 10},
            showlegend=False,
            hoverinfo="skip",
            name=name,
            legendgroup=name,
        ),
        row=1,
        col=panel,
    )
