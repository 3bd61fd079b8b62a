"""Figures for a paper: of a width in millimetres, with text of 8 points, on white."""

from __future__ import annotations

import asyncio
import itertools
import re
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from landscape.errors import InputError, refused
from landscape.runtime.files import atomic_write
from landscape.store import ensure_writable
from landscape_app import figures
from landscape_app.drawings import drawings, find_runs
from landscape_app.figures import theme
from landscape_app.pdf import to_pdf
from landscape_app.url import View

COLUMN, TWO_COLUMNS = 84.0, 174.0
"""Widths of one column and of two columns, in millimetres."""
POINTS = 8.0
"""Size of all text, in points."""
FORMATS = ("pdf", "svg", "png")
DOTS = 600
"""Dots per inch of a PNG at its width."""
_INCH = 25.4
_PIXEL = POINTS / theme.TEXT / 72 * _INCH
"""Millimetres of a pixel of a figure, so that its text has ``POINTS``."""
DOTS_PER_PIXEL = _PIXEL / _INCH * DOTS
"""Dots of a PNG for each pixel of a figure."""
NARROWEST, WIDEST = 50.0, 400.0
"""Smallest and largest width of a figure, in millimetres."""
CAPTIONS = "captions.txt"
_ROOT = re.compile(r'(<svg\b[^>]*?\swidth=")([\d.]+)("\sheight=")([\d.]+)(")')


def width_of(text: str) -> float:
    """The width that a text states, in millimetres: ``84mm``, ``84``.

    Raises:
        InputError: it states none, or one that is too small or too large.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:mm)?\s*", text)
    if not match or not NARROWEST <= float(match[1]) <= WIDEST:
        raise InputError(
            f"'{text}' is no width: it is {NARROWEST:g} to {WIDEST:g} mm, such as 84mm for one "
            "column and 174mm for two"
        )
    return float(match[1])


def for_paper(figure: go.Figure, width: float, titles: bool = True) -> go.Figure:
    """Lay a figure out for a paper. It is changed in place and returned.

    Args:
        figure: Figure of ``figures``.
        width: Width in millimetres. ``layout.width`` becomes the width in pixels, of which 13 are
            as high as text of 8 points.
        titles: Whether the figure has its title and details.
    """
    figures.sized(figure, round(width / _PIXEL), titles)
    title = str(figure.layout.title.text or "")
    size = {"font": {"size": theme.TEXT}}
    figure.update_layout(
        font_size=theme.TEXT,
        title={"text": re.sub(r"font-size: [\d.]+px", f"font-size: {theme.TEXT}px", title), **size},
        legend=size | {"title": size},
    )
    axis = {"title": size, "tickfont": {"size": theme.TEXT}}
    figure.update_xaxes(axis)
    figure.update_yaxes(axis)
    figure.update_annotations(size)
    figure.update_scenes(xaxis=axis, yaxis=axis, zaxis=axis)
    for bar in figures.colour_bars(figure):
        bar.update(axis)
    return figure


def in_millimetres(drawing: str, width: float) -> str:
    """An SVG of a figure for a paper with its size in millimetres in place of pixels.

    Args:
        drawing: The SVG, as Plotly writes it.
        width: Width in millimetres.
    """

    def size(match: re.Match[str]) -> str:
        height = width * float(match[4]) / float(match[2])
        return f"{match[1]}{width:g}mm{match[3]}{height:.4f}mm{match[5]}"

    return _ROOT.sub(size, drawing, count=1)


def caption(about: Mapping[str, Any]) -> str:
    """The title and the details of a figure as text.

    Args:
        about: ``layout.meta`` of the figure.
    """
    lines = [f"{about['file']}: {about['title']}", *(f"  {line}" for line in about["details"])]
    return "\n".join(lines)


def write_figures(
    paths: Sequence[Path],
    out: Path,
    names: Sequence[str],
    *,
    formats: Sequence[str] = ("pdf",),
    width: float = COLUMN,
    titles: bool = True,
    view: View | None = None,
) -> tuple[list[Path], list[InputError]]:
    """Write figures of runs for a paper, with a text file of their titles and details.

    Args:
        paths: Run files and folders of run files.
        out: Folder for the files, or the name of one file that ends in ``.zip``.
        names: Names of the figures: see ``drawings.figure_names``.
        formats: Some of ``FORMATS``.
        width: Width in millimetres.
        titles: Whether figures have their titles and details.
        view: Choices of the pages.

    Returns:
        The files, and the errors of the figures that are left out.

    Raises:
        InputError: nothing can be drawn, ``out`` cannot be written, or Kaleido, Chrome or Typst
            is missing.
    """
    folder = out.parent if out.suffix == ".zip" else out
    ensure_writable(folder)
    runs, faults = find_runs(paths)
    only = paths[0] if len(paths) == 1 and paths[0].is_dir() else None
    shown: dict[str, go.Figure] = {}
    for name, figure in drawings(runs, names, view or View(), only):
        if isinstance(figure, InputError):
            faults.append(InputError(f"{name}: {figure}"))
        else:
            shown[unused(figure.layout.meta["file"], shown)] = figure
    if not shown:
        raise faults[-1] if faults else InputError("these runs have none of these figures")
    captions = "\n\n".join(caption(figure.layout.meta) for figure in shown.values()) + "\n"
    for figure in shown.values():
        for_paper(figure, width, titles)
    contents = draw(shown, formats, width) | {CAPTIONS: captions.encode()}
    if out.suffix == ".zip":
        with atomic_write(out) as temporary, temporary.open("wb") as stream:
            write_zip(stream, contents)
        return [out], faults
    for file, content in contents.items():
        with atomic_write(folder / file) as temporary:
            temporary.write_bytes(content)
    return [folder / file for file in contents], faults


def write_zip(stream: Any, contents: Mapping[str, bytes]) -> None:
    """Write a zip of files by their names."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def draw(shown: Mapping[str, go.Figure], formats: Sequence[str], width: float) -> dict[str, bytes]:
    """The files of figures for a paper, by their names: drawn by Kaleido in Chrome.

    Raises:
        InputError: Kaleido, Chrome or Typst is missing, or a figure cannot be drawn.
    """
    kinds = ["svg"] if {"svg", "pdf"} & set(formats) else []
    kinds += ["png"] if "png" in formats else []
    contents: dict[str, bytes] = {}
    with ThreadPoolExecutor(1) as thread:  # this one may have an event loop, as in a notebook
        rendered = thread.submit(asyncio.run, _rendered(shown, kinds)).result()
    for name, kind, content in rendered:
        if kind == "png":
            contents[f"{name}.png"] = content
            continue
        drawing = in_millimetres(content.decode(), width).encode()
        contents |= {f"{name}.svg": drawing} if "svg" in formats else {}
        contents |= {f"{name}.pdf": to_pdf(drawing)} if "pdf" in formats else {}
    return contents


async def _rendered(
    shown: Mapping[str, go.Figure], kinds: Sequence[str]
) -> list[tuple[str, str, bytes]]:
    """The name, the kind and the content of each drawing."""
    try:
        import kaleido
        from choreographer.browsers.chromium import ChromeNotFoundError
    except ImportError as error:
        raise InputError("figures need 'pip install kaleido' and Chrome or Chromium") from error
    offline = kaleido.PageGenerator(mathjax=False)
    results = []
    with refused("figures cannot be drawn"):
        try:
            async with kaleido.Kaleido(page_generator=offline) as browser:
                for name, figure in shown.items():
                    size = {"width": figure.layout.width, "height": figure.layout.height}
                    for kind in kinds:
                        scale = DOTS_PER_PIXEL if kind == "png" else 1
                        how = {"format": kind, "scale": scale, **size}
                        results.append((name, kind, await browser.calc_fig(figure, how)))
        except ChromeNotFoundError as error:
            raise InputError("figures need Chrome or Chromium: none is found") from error
    return results


def unused(name: str, used: Mapping[str, Any]) -> str:
    """The name, with a number if it is used already."""
    names = (f"{name}-{count}" for count in itertools.count(2))
    return next(other for other in itertools.chain([name], names) if other not in used)
