"""How many eigenvalues there are of which size."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from landscape.store import Group, Run
from landscape.store.summary import number
from landscape_app.data import read_each
from landscape_app.figures import samples, theme
from landscape_app.figures.samples import Picked
from landscape_app.figures.scale import Symlog

_NORMAL_QUANTILE = 1.96
_FAINT = 0.1
"""Of the height of one eigenvalue: what the axis still shows."""
_HOVER = "%{meta}<br>eigenvalue %{customdata:.4g}<br>density %{y:.3g}<extra></extra>"


def density_figure(
    *runs: Run, picked: Picked = samples.NONE, marks: theme.Marks = theme.MARKS
) -> go.Figure:
    """The spectral density, averaged over posterior samples, with the band of its estimate.

    The eigenvalue axis is linear within one width of the kernel around zero, logarithmic beyond.
    The band is 1.96 standard errors over random probes.

    Args:
        *runs: The run files.
        picked: Samples whose own densities are drawn, too, as thin lines.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has spectral densities.
        InputError: a run file cannot be read.
    """
    found = read_each(runs, "density", "grid", "density", optional=("standard_error",))
    widths = [_width(group) for group in found.values()]
    scale = Symlog(max(widths))
    figure = go.Figure()
    floors = []
    for position, group in found.items():
        floors.append(_floor(runs[position], group))
        _add(figure, runs[position], marks[position][0], group, scale, floors[-1], picked)
    every = np.concatenate([group["grid"] for group in found.values()])
    figure.update_xaxes(title_text="eigenvalue (nat)", **scale.ticks(every))
    highest = max(float(group["density"].max()) for group in found.values())
    figure.update_yaxes(
        title_text="density (1/nat)",
        type="log",
        exponentformat="power",
        range=[math.log10(min(floors)), math.log10(max(highest, min(floors))) + 0.3],
    )
    matrix, which = samples.matrices(runs, found)
    notes = "line: mean over samples · band: 95 % over probes · linear around 0"
    lines = samples.about(runs, found, "density")
    title = f"Spectral density of {matrix}"
    return theme.titled(figure, title, *lines, which, notes, legend_above=True)


def _add(
    figure: go.Figure,
    run: Run,
    colour: str,
    group: Group,
    scale: Symlog,
    floor: float,
    picked: Picked,
) -> None:
    name = samples.plain_name(run)
    grid, every = group["grid"], group["density"]
    x, mean = scale(grid), every.mean(0)
    shared = {"x": x, "mode": "lines", "legendgroup": name}
    if "standard_error" in group:
        # The samples' probes are independent of each other.
        error = np.sqrt((group["standard_error"] ** 2).sum(0)) / len(every)
        ends = {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        for sign, fill in ((-1, None), (1, "tonexty")):
            band = np.maximum(mean + sign * _NORMAL_QUANTILE * error, floor)
            words = f"{name}: {'lower' if sign < 0 else 'upper'} end of the band"
            colours = {"fill": fill, "fillcolor": theme.faint(colour)}
            figure.add_trace(go.Scatter(y=band, name=words, **shared, **ends, **colours))
    hover = {"customdata": grid, "hovertemplate": _HOVER}
    for index in samples.picked_of(run, picked):
        if index < len(every):
            words = f"{name}, sample {index}"
            thin = {"color": colour, "width": 1, "dash": "dot"}
            y = np.where(every[index] >= floor, every[index], np.nan)
            figure.add_trace(
                go.Scatter(
                    y=y, name=words, meta=words, line=thin, showlegend=False, **shared, **hover
                )
            )
    figure.add_trace(
        go.Scatter(
            y=np.where(mean >= floor, mean, np.nan),
            name=name,
            meta=name,
            line={"color": colour, "width": 2},
            **shared,
            **hover,
        )
    )


def _width(group: Group) -> float:
    """Standard deviation of the kernel, below which nothing is told apart."""
    width = number(group.attributes, "kernel_width")
    if width is not None and math.isfinite(width) and width > 0:
        return width
    return float(np.ptp(group["grid"])) / 100 or 1.0


def _floor(run: Run, group: Group) -> float:
    """Where the density is that of less than an eigenvalue: tails of the kernel, of no meaning."""
    count = number(run.attributes, "parameter_count")
    highest = float(np.nanmax(group["density"]))
    if count and math.isfinite(count) and count > 0:
        one = 1 / (count * _width(group) * math.sqrt(2 * math.pi))
        return float(min(_FAINT * one, _FAINT * highest)) or 1e-12
    return 1e-8 * highest or 1e-12
