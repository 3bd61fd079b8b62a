"""What all figures of groups of runs share: the groups' marks, and words about their runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from landscape_app import formats
from landscape_app.figures import theme
from landscape_app.groups import ListedGroup, RunGroup

MEAN = "mean over runs"


def group_marks(groups: Sequence[ListedGroup]) -> list[theme.Mark]:
    """Colour and marker of each group; 35 groups have different ones."""
    colours = (*theme.OKABE_ITO[:3], theme.ORANGE, theme.PURPLE, theme.SKY, theme.GREY)
    return [
        (colours[group.place % len(colours)], theme.SYMBOLS[group.place % len(theme.SYMBOLS)])
        for group in groups
    ]


def titled(
    figure: go.Figure,
    groups: Sequence[RunGroup],
    name: str,
    title: str,
    by: Sequence[str],
    *details: str,
    height: int | None = None,
    **look: Any,
) -> go.Figure:
    """Set the title of a figure of groups, with words about their runs, settings and data.

    Args:
        figure: The figure.
        groups: The groups.
        name: Name of the figure, for its file.
        title: Title of the figure.
        by: Names of the settings that make the groups.
        *details: More lines below the title.
        height: Height of the figure in pixels, if it has one of its own.
        **look: More arguments of ``theme.titled``.
    """
    settings = ", ".join(by)
    sizes = {len(group.runs) for group in groups}
    about = (
        f"{formats.count(len(groups), 'group')} by {settings}, "
        f"{formats.count(sizes.pop(), 'run')} each"
        if len(sizes) == 1
        else f"groups by {settings}: "
        + ", ".join(f"{group.label} {formats.count(len(group.runs), 'run')}" for group in groups)
    )
    mixed = " · ".join(
        f"{group.label}: its runs also differ in {', '.join(group.differ[:3])}"
        f"{' and more' if len(group.differ) > 3 else ''}"
        for group in groups
        if group.differ
    )
    # Seeds may draw data of their own. Groups are comparable if they have the same sets of data.
    data_of = {
        frozenset(run.attributes.get("data_fingerprint") for run in group.runs) for group in groups
    }
    data = "the groups differ in their data: compare within the same data only"
    file = formats.file_name(f"{name}-by-{'-'.join(by)}")
    meta = {"file": file, "title": title} | ({} if height is None else {"height": height})
    figure.update_layout(meta=meta)
    other_data = data if len(data_of) > 1 else ""
    return theme.titled(figure, title, about, mixed, other_data, *details, **look)
