"""Figure of the loss along two straight lines through a point of a surface."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from landscape.store import Run
from landscape_app import formats
from landscape_app.data import share_plane
from landscape_app.figures import samples, theme
from landscape_app.figures import values as surface_values
from landscape_app.figures.frame import Shared
from landscape_app.figures.panels import Panels
from landscape_app.figures.scale import asks_for_log, log_ticks

_ABOVE, _ROW = 190, 220
"""Height in pixels of the titles, and of a row of panels."""
_SHARED = {
    "all": "the runs have planes of their own: equal coordinates are not equal weights",
    "colours": "coordinates are of each run's own plane; the loss is shared",
    "nothing": "all axes are each run's own: compare numbers, not looks",
}


@np.errstate(all="ignore")  # a file may hold any number
def slices_figure(
    *runs: Run,
    name: str,
    at: tuple[float, float],
    log: bool | None = None,
    shared: Shared = "all",
    marks: theme.Marks = theme.MARKS,
    value: str = "loss",
) -> go.Figure:
    """Loss along x and along y, through the grid point of each run that is nearest to ``at``.

    Points with a loss that is not finite are gaps.

    Args:
        *runs: The run files.
        name: Name of the surface.
        at: x and y of the point, in the coordinates of the surface.
        log: Whether the axis of the loss is logarithmic. Losses that are not positive are then left
            out and counted. By default it is if the losses of the surfaces ask for it.
        shared: Parts that the runs share: all axes; only the loss, with a row of panels for each
            run; or nothing.
        marks: Colour and marker of each run.
        value: What is drawn in place of the loss: one of ``values.VALUES``.

    Raises:
        NotMeasured: no run has such a surface.
        InputError: a run file cannot be read.
    """
    groups = surface_values.read_surfaces(runs, name, value)
    shown = surface_values.VALUES[value]
    is_one_plane = share_plane(runs, name)
    if is_one_plane:  # the slice is the same for all of them
        for position in list(groups)[1:]:
            del groups[position]
    if not shown.can_be_log:
        log = False
    elif log is None:
        log = asks_for_log(np.concatenate([group["loss"].ravel() for group in groups.values()]))
    rows = 1 if shared == "all" else len(groups)
    panels = Panels(
        rows=rows,
        cols=2,
        shared_yaxes=True if shared == "nothing" else "all",
        horizontal_spacing=0.05,
        vertical_spacing=0.3 / rows,
    )
    notes, drawn = [], []
    traces: list[theme.Trace] = []
    for index, (position, group) in enumerate(groups.items()):
        panel_row = 1 if rows == 1 else index + 1
        column, row = (
            int(np.abs(group[axis] - place).argmin()) for axis, place in zip("xy", at, strict=True)
        )
        x, y, loss = group["x"], group["y"], group["loss"]
        prefix = f"{runs[position].name}: " if len(groups) > 1 else ""
        place = f"x {formats.number(float(x[column]))}, y {formats.number(float(y[row]))}"
        number = formats.number(float(loss[row, column]), 4)
        notes.append(f"{prefix}{place}, {shown.words} {number}")
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
            traces += _traces(
                (panel_row, panel),
                (theme.BLUE, "circle") if is_one_plane else marks[position],
                runs[position],
                coordinates,
                values,
                nearest,
                log,
                len(groups) > 1,
                shown.words,
            )
        if log and shared == "nothing":
            ticks, labels = log_ticks(np.concatenate(drawn[-2:]))
            panels.y(panel_row, type="log", tickvals=ticks, ticktext=labels)
    panels.y(col=1, title=shown.axis)
    if log and shared != "nothing":
        ticks, labels = log_ticks(np.concatenate(drawn))
        panels.y(type="log", tickvals=ticks, ticktext=labels)
    panels.x(rows, 1, title="‖Δw‖ along x, at the chosen y")
    panels.x(rows, 2, title="‖Δw‖ along y, at the chosen x")
    all_values = np.concatenate(drawn)
    blank = int(np.count_nonzero(~np.isfinite(all_values) | ((all_values <= 0) & log)))
    lost = f"{blank} of {all_values.size} points have no value to draw: left blank" if blank else ""
    title = f"Slices of the plane “{name}” through the chosen point"
    details = [" · ".join(notes), lost, samples.absent(runs, groups)]
    if len(groups) > 1:
        details.append(_SHARED[shared])
    elif is_one_plane:
        details.append("the runs share this plane: the slices are the same for all of them")
    return samples.titled(
        panels.drawn(traces),
        runs,
        f"slices-{name}",
        title,
        *details,
        legend_above=len(groups) > 1,
        height=None if rows == 1 else _ABOVE + _ROW * rows,
    )


def _traces(
    cell: tuple[int, int],
    mark: theme.Mark,
    run: Run,
    coordinates: np.ndarray,
    values: np.ndarray,
    nearest: int,
    log: bool,
    legend: bool,
    words: str,
) -> list[theme.Trace]:
    colour, symbol = mark
    name = samples.plain_name(run)
    drawable = np.isfinite(values) & ((values > 0) | (not log))
    row, column = cell
    series = f"{words} along {'xy'[column - 1]}"
    hover = f"%{{meta.run}}<br>%{{x:.4g}}: {words} %{{y:.4g}}<extra></extra>"
    shared = {"name": name, "legendgroup": name, **Panels.axes(2 * (row - 1) + column)}
    return [
        theme.scatter(
            x=coordinates,
            y=np.where(drawable, values, np.nan),
            mode="lines",
            connectgaps=False,
            line={"color": colour, "width": 2},
            showlegend=column == 1 and legend,
            hovertemplate=hover,
            **shared,
            **samples.numbers(run, series, x=coordinates, y=values),
        ),
        theme.scatter(
            x=coordinates[[nearest]],
            y=np.where(drawable, values, np.nan)[[nearest]],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 10},
            showlegend=False,
            hoverinfo="skip",
            **shared,
        ),
    ]
