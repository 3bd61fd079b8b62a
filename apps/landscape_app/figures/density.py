"""Figure of the spectral density."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.errors import InputError
from landscape.store import Group, Run
from landscape.store.summary import number
from landscape_app import formats
from landscape_app.data import read_each
from landscape_app.figures import samples, theme
from landscape_app.figures.panels import Panels
from landscape_app.figures.samples import Picked
from landscape_app.figures.scale import Symlog

_NORMAL_QUANTILE = 1.96
_FAINT = 0.1
"""Lower end of the axis, as a fraction of the height of a single eigenvalue."""
_HOVER = "LABEL<br>eigenvalue %{customdata[0]:.4g}<br>density %{y:.3g}<extra></extra>"


@np.errstate(all="ignore")  # a file may hold any number
def density_figure(
    *runs: Run, picked: Picked = samples.NONE, marks: theme.Marks = theme.MARKS
) -> go.Figure:
    """The spectral density, averaged over posterior samples, with a confidence band.

    The eigenvalue axis is linear within one kernel width around zero, and logarithmic beyond.
    The band is Student's 95 % interval over the random probes of all samples. Samples with a
    density that is not finite are left out and counted.

    Args:
        *runs: The run files.
        picked: Samples to draw with their own densities, as thin lines.
        marks: Colour and marker of each run.

    Raises:
        NotMeasured: no run has spectral densities.
        InputError: a run file cannot be read.
    """
    groups = read_each(runs, "density", "grid", "density", optional=("standard_error",))
    if not any(np.isfinite(group["density"]).any() for group in groups.values()):
        raise InputError("no density has a finite value to draw")
    scale = Symlog(max(_width(group) for group in groups.values()))
    # All runs share one floor. A run with a lower floor would seem to reach farther.
    floor = min(_floor(runs[position], group) for position, group in groups.items())
    above = len(runs) > 1
    traces: list[theme.Trace] = []
    for position, group in groups.items():
        colour = marks[position][0]
        traces += _traces(runs[position], colour, group, scale, floor, picked, above)
    panels = Panels()
    grid_points = np.concatenate([group["grid"] for group in groups.values()])
    panels.x(title="eigenvalue (nat)", **scale.ticks(grid_points))
    highest = max(_highest(group) for group in groups.values())
    panels.y(
        title="density (1/nat)",
        type="log",
        exponentformat="power",
        dtick=1,
        range=[math.log10(floor), math.log10(max(highest, floor)) + 0.3],
    )
    matrix, matrix_details = samples.matrices(runs, groups)
    linear = formats.number(scale.threshold, 2)
    notes = "line: mean over samples · band: 95 % over probes"
    notes += " · dotted: highlighted samples" if any(picked.values()) else ""
    lines = samples.about(runs, groups, "density")
    sums = {position: [group["density"].sum(1)] for position, group in groups.items()}
    lines.append(samples.lost(runs, sums))
    title = f"Spectral density of {matrix}"
    details = [
        *lines,
        matrix_details,
        f"{notes} · axis: linear within ±{linear}, logarithmic beyond",
    ]
    figure = panels.drawn(traces)
    return samples.titled(figure, runs, "density", title, *details, legend_above=above)


def _traces(
    run: Run,
    colour: str,
    group: Group,
    scale: Symlog,
    floor: float,
    picked: Picked,
    legend: bool,
) -> list[theme.Trace]:
    traces: list[theme.Trace] = []
    name = samples.plain_name(run)
    grid, densities = group["grid"], group["density"]
    finite = np.isfinite(densities).all(1)
    mean = densities[finite].mean(0) if finite.any() else np.full(grid.shape, np.nan)
    shared = {"x": scale(grid), "mode": "lines", "legendgroup": name}
    columns: dict[str, Any] = {"x": grid, "y": mean}
    if "standard_error" in group:
        # The probes of different samples are independent.
        error = np.sqrt((group["standard_error"][finite] ** 2).sum(0)) / max(1, finite.sum())
        half = _quantile(group, int(finite.sum())) * error
        columns |= {"minus": half, "plus": half}
        ends = {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        for sign, fill in ((-1, None), (1, "tonexty")):
            band = np.maximum(mean + sign * half, floor)
            colours = {"fill": fill, "fillcolor": theme.faint(colour)}
            traces.append(theme.scatter(y=band, **shared, **ends, **colours))
    for index in samples.picked_of(run, picked):
        if index < len(densities):
            traces.append(
                theme.scatter(
                    y=_above(densities[index], floor),
                    name=f"{name}, sample {index}",
                    line={"color": colour, "width": 1, "dash": "dot"},
                    showlegend=False,
                    hovertemplate=_HOVER.replace("LABEL", f"%{{meta.run}}, sample {index}"),
                    **shared,
                    **samples.numbers(run, "density", of_sample=index, x=grid, y=densities[index]),
                )
            )
    traces.append(
        theme.scatter(
            y=_above(mean, floor),
            name=name,
            line={"color": colour, "width": 2},
            showlegend=legend,
            hovertemplate=_HOVER.replace("LABEL", "%{meta.run}"),
            **shared,
            **samples.numbers(run, "mean over samples", **columns),
        )
    )
    return traces


def _quantile(group: Group, samples: int) -> float:
    """Student's 97.5 % quantile for the probes of all samples; the normal one for old files."""
    probes = number(group.attributes, "probes")
    if probes is None or not 2 <= probes < math.inf:
        return _NORMAL_QUANTILE
    from scipy.special import stdtrit  # the import is too slow for the start of a page

    return float(stdtrit(samples * (probes - 1), 0.975))


def _highest(group: Group) -> float:
    """The largest finite density; 0 if there is none."""
    finite = group["density"][np.isfinite(group["density"])]
    return float(finite.max(initial=0.0))


def _above(density: np.ndarray, floor: float) -> np.ndarray:
    return np.where(density >= floor, density, np.nan)


def _width(group: Group) -> float:
    """Standard deviation of the kernel, the resolution of the density."""
    width = number(group.attributes, "kernel_width")
    if width is not None and math.isfinite(width) and width > 0:
        return width
    return float(np.ptp(group["grid"])) / 100 or 1.0


def _floor(run: Run, group: Group) -> float:
    """The lowest density to draw. Lower densities are tails of the kernel without meaning."""
    count = number(run.attributes, "parameter_count")
    highest = _highest(group)
    if count and math.isfinite(count) and count > 0:
        one = 1 / (count * _width(group) * math.sqrt(2 * math.pi))
        return float(min(_FAINT * one, _FAINT * highest)) or 1e-12
    return 1e-8 * highest or 1e-12
