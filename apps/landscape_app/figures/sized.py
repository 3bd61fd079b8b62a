"""Figures of another width: panels that do not fit side by side stand below each other."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape_app import formats
from landscape_app.figures import theme

_LETTER, _BOLD_LETTER = 7.2, 9.9
"""Width of a letter in wide fonts, in pixels: of text, and of the title."""
_LEAST = 232
"""Smallest width of a panel with its labels, in pixels."""
_LEFT, _RIGHT, _BOTTOM = 66, 16, 54
"""Room for the labels beside and below the panels, in pixels."""
_BAR = 92
"""Room for the scale of colours beside a panel."""
_BESIDE, _BELOW = 74, 58
"""Room between panels for the labels of the next one."""
_LINE, _ENTRY = 20, 22
"""Height of a line of details, and of a row of the legend."""
_SHAPES = (0.72, 0.62, 0.52, 0.45)
"""Height of a panel as a fraction of its width, for one row, two, three, and more."""
_DEEP, _UNDER, _FARTHER = 0.76, 64, 1.1
"""Height of a surface in 3D as a fraction of its width, room below it, and distance from it."""
_LOWEST, _HIGHEST = 150, 340
"""Smallest and largest height of a panel."""
_MANY, _LOW = 4, 100
"""Number of rows above which panels are lower, and their smallest height."""
_TURNED = -45
"""Angle of labels that do not fit side by side."""
_KEY = 52
"""Width of an entry of the legend without its name, in pixels."""
_SOLID = ("surface", "scatter3d")
_NO_ENTRY = ("contour", "surface")
"""Kinds of traces that are in the legend only if they ask for it."""


@dataclass(frozen=True)
class _Panel:
    """A panel of a figure.

    Attributes:
        x: Name of its x axis in the layout: ``xaxis``, ``xaxis2``, ...
        y: Name of its y axis.
        left: Left end of its x axis, as a fraction of the figure.
        right: Right end of its x axis.
        low: Lower end of its y axis.
        high: Upper end of its y axis.
    """

    x: str
    y: str
    left: float
    right: float
    low: float
    high: float


def sized(figure: go.Figure, width: int, titles: bool = True) -> go.Figure:
    """Lay a figure out for ``width`` pixels, with text as large as before.

    Panels stand below each other where they do not fit side by side. Title, details and legend are
    wrapped. ``layout.width`` and ``layout.height`` become the size of the figure.

    Args:
        figure: Figure of ``figures``. It is changed in place and returned.
        width: Width in pixels.
        titles: Whether the figure has its title and details.
    """
    about = figure.layout.meta or {}
    top = 10
    if titles:
        title = theme.broken(str(about.get("heading", "")), width / _BOLD_LETTER)
        details = [
            part
            for line in about.get("details", ())
            for part in theme.broken(line, width / _LETTER)
        ]
        text, lines = theme.heading(title, details, width, about.get("mark"))
        figure.update_layout(title_text=text)
        top = 36 + _LINE * lines
    else:
        figure.update_layout(title_text="")
    above_legend = top
    top += _legend_room(figure, width)
    left, right = _LEFT, _BAR if colour_bars(figure) else _RIGHT
    panels = _panels(figure)
    inner = width - left - right
    if any(trace.type in _SOLID for trace in figure.data):
        inner_height, left, right, bottom = _DEEP * width, 0, 0, _UNDER
        _fit_scene(figure, width)
    elif len({panel.x for panel in panels}) < len(panels):
        # Panels that share an axis keep together.
        square = next(p for p in panels if figure.layout[p.y].scaleanchor)
        inner_height = min(inner, theme.SQUARE) / (square.high - square.low)
        for panel in panels:
            figure.layout[panel.x].update(title=_wrapped(figure.layout[panel.x].title.text, inner))
            figure.layout[panel.y].update(title=_wrapped(figure.layout[panel.y].title.text, inner))
        bottom = _BOTTOM
    else:
        inner_height, bottom = _arrange(figure, panels, inner)
    height = round(top + inner_height + bottom)
    return figure.update_layout(
        width=width,
        height=height,
        margin={"t": top, "l": left, "r": right, "b": bottom},
        legend_y=1 - above_legend / height,
        meta=dict(about) | {"sized": width},
    )


def _fit_scene(figure: go.Figure, width: int) -> None:
    """Look at a scene from farther away, and lay the scale of its colours below it."""
    for bar in colour_bars(figure):
        bar.update(orientation="h", x=0.5, y=0, yanchor="top", len=0.8, thickness=12)
        bar.title.update(side="bottom")
        # Where a bar turns, Plotly leaves its old labels and margin, unless it is another bar.
        bar.parent.update(uid="bar-below")
    eye = figure.layout.scene.camera.eye
    if width < theme.SQUARE and eye.x is not None:
        eye.update(**{axis: _FARTHER * eye[axis] for axis in "xyz"})


def _panels(figure: go.Figure) -> list[_Panel]:
    """The panels of a figure, row by row."""
    panels = []
    for y in figure.select_yaxes():
        y_name = y.plotly_name
        x_name = "xaxis" + (y.anchor or "x").removeprefix("x")
        left, right = figure.layout[x_name].domain or (0.0, 1.0)
        low, high = y.domain or (0.0, 1.0)
        panels.append(_Panel(x_name, y_name, left, right, low, high))
    return sorted(panels, key=lambda panel: (-round(panel.high, 3), panel.left))


def _arrange(figure: go.Figure, panels: Sequence[_Panel], inner: float) -> tuple[float, int]:
    """Place the panels in as many columns as fit: their height in total, and the room below."""
    rows = list(dict.fromkeys(round(panel.high, 3) for panel in panels))
    most = max(sum(round(panel.high, 3) == row for panel in panels) for row in rows)
    least = min(_LEAST, theme.WIDE / most) - _BESIDE
    columns = max(1, min(most, int((inner + _BESIDE) / (least + _BESIDE))))
    num_rows = math.ceil(len(panels) / columns)
    titles = [_title_of(figure, panels, panel) for panel in panels]
    for panel in panels:
        if figure.layout[panel.y].title.font.color == theme.HIDDEN:  # the panel's title says it
            figure.layout[panel.y].update(title_text="")
    _label_axes(figure, panels, columns)
    beside = _BESIDE
    for _ in range(2):  # titles in more lines leave less room for the panels
        panel_width = (inner - (columns - 1) * beside) / columns
        panel_height = _height(figure, panels, panel_width, num_rows)
        more = 0
        for index, panel in enumerate(panels):
            x, y = figure.layout[panel.x], figure.layout[panel.y]
            x.update(title=_wrapped(x.title.text, panel_width + _LEFT / 2))
            y.update(title=_wrapped(y.title.text, panel_height + _BELOW / 2))
            more = max(more, y.title.text.count("<br>") if index % columns else 0)
        beside = _BESIDE + _LINE * more
    lines = max(figure.layout[panel.x].title.text.count("<br>") for panel in panels)
    turned = max(_turn(figure.layout[panel.x], panel_width) for panel in panels)
    turned += _LINE * lines
    has_x = [panel.x for panel in panels if figure.layout[panel.x].title.text]
    has_labels = any(figure.layout[panel.x].showticklabels is not False for panel in panels)
    between = (_BELOW if has_x else 34 if has_labels else 16) + turned
    heads = [_wrap(title, panel_width + 2 * _RIGHT) for title in titles]
    head = 8 + 16 * max(heads) if max(heads) else 0
    inner_height = num_rows * (panel_height + head) + (num_rows - 1) * between
    for index, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        row, column = divmod(index, columns)
        left = column * (panel_width + beside) / inner
        above = 1 - (head + row * (panel_height + head + between)) / inner_height
        below = max(0.0, above - panel_height / inner_height)
        domain = [left, min(1.0, left + panel_width / inner)]
        figure.layout[panel.x].update(domain=domain)
        figure.layout[panel.y].update(domain=[below, above])
        if title is not None:
            title.update(x=sum(domain) / 2, y=above)
    return inner_height, (_BOTTOM if has_x else 34) + turned


def _height(figure: go.Figure, panels: Sequence[_Panel], width: float, rows: int) -> float:
    """The height of a panel. A plane with the same scale on both axes has that of its ranges."""
    x, y = figure.layout[panels[0].x], figure.layout[panels[0].y]
    if y.scaleanchor and x.range and y.range and np.ptp(x.range) > 0:
        return width * float(np.clip(np.ptp(y.range) / np.ptp(x.range), 0.3, 1.6))
    lowest = _LOWEST if rows <= _MANY else _LOW
    return float(np.clip(_SHAPES[min(rows, len(_SHAPES)) - 1] * width, lowest, _HIGHEST))


def _label_axes(figure: go.Figure, panels: Sequence[_Panel], columns: int) -> None:
    """Give each panel the labels that it had from a panel beside or below it."""
    words: list[str | None] = []
    for panel in panels:
        x = figure.layout[panel.x]
        below = [other for other in panels if other.left == panel.left and other.high < panel.high]
        last = min(below, key=lambda other: other.high, default=panel)
        words.append(x.title.text or figure.layout[last.x].title.text)
    for index, panel in enumerate(panels):
        under = index + columns
        same = under < len(panels) and words[under] == words[index]
        matched = same and figure.layout[panel.x].matches is not None
        figure.layout[panel.x].update(title_text="" if matched else words[index])
        y = figure.layout[panel.y]
        if y.showticklabels is False and y.matches and not index % columns:
            source = figure.layout["yaxis" + y.matches.removeprefix("y")]
            y.update(showticklabels=True, title_text=y.title.text or source.title.text)


def _turn(axis: Any, width: float) -> int:
    """Turn the labels of an axis that do not fit side by side: the room that they take."""
    texts = [str(text) for text in axis.ticktext or ()]
    if axis.type == "log" or not texts or axis.showticklabels is False:
        return 0
    lines = [line for text in texts for line in text.split("<br>")]
    longest = max(len(theme.without_markup(line)) for line in lines)
    if longest * _LETTER + 8 < width / len(texts):
        axis.update(tickangle=0)
        return 14 * (max(text.count("<br>") for text in texts) + 1) - 14
    one_line = [text.replace("<br>", " ") for text in texts]
    shortened = [formats.shortened(text, 26) for text in one_line]
    axis.update(ticktext=shortened, tickangle=_TURNED)
    return round(0.72 * _LETTER * max(map(len, shortened)))


def _title_of(figure: go.Figure, panels: Sequence[_Panel], panel: _Panel) -> Any:
    """The annotation above a panel, if there is one."""
    for note in figure.layout.annotations:
        is_above = note.xref == "paper" and note.yref == "paper" and note.yanchor == "bottom"
        if is_above and panel.left <= note.x <= panel.right and abs(note.y - panel.high) < 1e-6:
            return note
    return None


def _wrap(note: Any, width: float) -> int:
    """Wrap the title of a panel: its number of lines."""
    if note is None:
        return 0
    parts = theme.without_markup(note.text).replace("_", "_ ")  # lines end between parts of a name
    lines = [line.replace("_ ", "_") for line in theme.broken(parts, width / _LETTER)]
    note.update(text="<br>".join(map(formats.plain, lines)))
    return len(lines)


def _wrapped(title: str | None, width: float) -> dict[str, Any]:
    """The title of an axis in lines; one that is hidden or has markup stays as it is."""
    if not title or "<" in title:
        return {"text": title or ""} | ({"font": {"size": theme.TEXT}} if title else {})
    lines = theme.broken(html.unescape(title), width / _LETTER)
    return {"text": "<br>".join(map(formats.plain, lines)), "font": {"size": theme.TEXT}}


def colour_bars(figure: go.Figure) -> list[Any]:
    """The scales of colours beside the panels."""
    bars = []
    for trace in figure.data:
        if trace.type in ("contour", "surface") and trace.showscale is not False:
            bars.append(trace.colorbar)
        elif trace.type == "scatter" and "colorbar" in trace.marker.to_plotly_json():
            bars.append(trace.marker.colorbar)
    return bars


def _legend_room(figure: go.Figure, width: int) -> int:
    """Wrap the legend, which takes the whole width: its height."""
    entries: list[list[str]] = []
    for trace in figure.data:
        shows = trace.showlegend or (trace.showlegend is None and trace.type not in _NO_ENTRY)
        if trace.name and shows:
            name = theme.without_markup(trace.name)
            lines = theme.broken(name, (width - _KEY) / _LETTER)
            trace.update(name="<br>".join(map(formats.plain, lines)))
            entries.append(lines)
    figure.update_layout(showlegend=bool(entries) and figure.layout.showlegend is not False)
    if not figure.layout.showlegend:
        return 0
    widths = [_KEY + _LETTER * max(map(len, lines)) for lines in entries]
    # Plotly gives all entries the width of the longest if they do not fit in one row.
    columns = len(widths) if sum(widths) <= width else max(1, int(width / max(widths)))
    heights = [_ENTRY + 17 * (len(lines) - 1) for lines in entries]
    rows = [max(heights[at : at + columns]) for at in range(0, len(heights), columns)]
    look = {"orientation": "h", "xref": "container", "x": 0, "xanchor": "left", "entrywidth": 0}
    figure.update_layout(legend=look | {"yref": "container", "yanchor": "top"})
    return 8 + sum(rows)
