"""The colours of runs in the list: by a setting or by a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from plotly.colors import sample_colorscale

from landscape.store import Summary
from landscape_app import formats, quantities
from landscape_app.figures import theme
from landscape_app.figures.groups import group_marks
from landscape_app.figures.scale import asks_for_log
from landscape_app.folders import Where
from landscape_app.groups import all_settings, groupings, groups
from landscape_app.quantities import readings
from landscape_app.run_list import list_runs

_MOST_KEYS = 14
_COLOURS = "Viridis"

Sign = tuple[str, str, str]
"""A marker as text, its colour, and the words for it."""


@dataclass(frozen=True)
class Hues:
    """The markers of runs.

    Attributes:
        of_run: Marker of each run that has the value, by the name of the run.
        keys: Markers that a legend explains.
    """

    of_run: Mapping[str, Sign] = field(default_factory=dict)
    keys: tuple[Sign, ...] = ()


def hue_names(folder: Where) -> dict[str, str]:
    """The words for each setting and number that can colour the list, by their names.

    Raises:
        InputError: the folder cannot be read.
    """
    numbers = {
        name
        for run in list_runs(folder)
        if isinstance(run, Summary)
        for name in readings(run)
        if name not in ("seed", "samples")
    }
    words = {name: name for name in groupings(folder)}
    known = [name for name in quantities.LABELS if name in numbers]
    ordered = known + sorted(numbers - set(known))
    return words | {name: theme.without_markup(quantities.label(name)) for name in ordered}


def hues(folder: Where, name: str) -> Hues:
    """The markers of the runs of a folder by a setting, or by a number.

    Raises:
        InputError: the folder cannot be read.
    """
    if not name:
        return Hues()
    if name in groupings(folder):
        every = groups(folder, (name,))
        signs = [
            (theme.SIGNS[symbol], colour, group.label)
            for group, (colour, symbol) in zip(every, group_marks(every), strict=True)
        ]
        of_run = {
            run.name: sign
            for group, sign in zip(every, signs, strict=True)
            for run in group.summaries
        }
        return Hues(of_run, tuple(signs[:_MOST_KEYS]))
    values = _numbers(folder, name)
    if not values:
        return Hues()
    numbers = np.array(list(values.values()))
    drawn = np.log10(numbers) if asks_for_log(numbers) else numbers
    # Neither end of the colours is lost on white or on black.
    places = 0.1 + 0.8 * (drawn - drawn.min()) / (float(np.ptp(drawn)) or 1.0)
    colours = sample_colorscale(_COLOURS, places.tolist())
    label = theme.without_markup(quantities.label(name))
    of_run = {
        run: ("●", colour, f"{label} {formats.number(value)}")
        for (run, value), colour in zip(values.items(), colours, strict=True)
    }
    ends = (int(numbers.argmin()), int(numbers.argmax()))
    return Hues(of_run, tuple(list(of_run.values())[index] for index in ends))


def _numbers(folder: Where, name: str) -> dict[str, float]:
    numbers = {
        run.name: readings(run)[name].value
        for run in list_runs(folder)
        if isinstance(run, Summary) and name in readings(run)
    }
    if numbers:
        return numbers
    settings = {run: table.get(name) for run, table in all_settings(folder).items()}
    return {
        run: float(value)
        for run, value in settings.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
    }
