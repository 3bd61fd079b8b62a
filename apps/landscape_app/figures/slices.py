"""Figure of the loss along two straight lines through a point of a surface."""

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
    """Loss along x and along y, through the grid point of each run that is nearest to ``at``.

    Points with a loss that is not finite are gaps.

    Args:
        *runs: The run files.
        name: Name of the surface.
        at: x and y of the point, in the coordinates of the surface.
        log: Whether the axis of the loss is logarithmic. Losses that are not positive are then left
            out and counted.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has such a surface.
        InputError: a run file cannot be read.
    """
    groups = read_each(runs, f"surfaces/{name}", "x", "y", "loss")
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    notes, drawn = [], []
    for position, group in groups.items():
        column, row = (
            int(np.abs(group[axis] - place).argmin()) for axis, place in zip("xy", at, strict=True)
        )
        x, y, loss = group["x"], group["y"], group["loss"]
        prefix = f"{runs[position].path.stem}: " if len(runs) > 1 else ""
        place = f"x {formats.number(float(x[column]))}, y {formats.number(float(y[row]))}"
        notes.append(f"{prefix}{place}, loss {formats.number(float(loss[row, column]), 4)}")
        if any(
            not values.min() <= requested <= values.max()
            for values, requested in zip((x, y), at, strict=True)
        ):
            requested = f"x {formats.number(at[0])}, y {formats.number(at[1])}"
            notes.append(
                f"{prefix}{requested} is outside the plane: slices through its nearest point"
            )
        for panel, (coordinates, values, nearest) in enumerate(
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
                nearest,
                log,
                len(runs) > 1,
            )
    figure.update_xaxes(title_text="x, at the chosen y", col=1)
    figure.update_xaxes(title_text="y, at the chosen x", col=2)
    figure.update_yaxes(title_text="loss (nat)", col=1)
    all_values = np.concatenate(drawn)
    if log:
        ticks, labels = log_ticks(all_values)
        figure.update_yaxes(type="log", tickvals=ticks, ticktext=labels)
    blank = int(np.count_nonzero(~np.isfinite(all_values) | ((all_values <= 0) & log)))
    lost = f"{blank} of {all_values.size} points have no value to draw: left blank" if blank else ""
    title = f"Slices of the plane “{name}” through the chosen point"
    details = [" · ".join(notes), lost, samples.absent(runs, groups)]
    above = len(runs) > 1
    return samples.titled(figure, runs, f"slices-{name}", title, *details, legend_above=above)


def _add(
    figure: go.Figure,
    panel: int,
    mark: theme.Mark,
    run: Run,
    coordinates: np.ndarray,
    values: np.ndarray,
    nearest: int,
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
            x=coordinates[[nearest]],
            y=np.where(drawable, values, np.nan)[[nearest]],
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
