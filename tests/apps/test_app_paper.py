"""Figures for a paper: as wide as asked for, with text of 8 points, of any runs."""

from __future__ import annotations

import itertools
import math
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pypdfium2
import pypdfium2.raw as pdfium
import pytest
from landscape_app import drawings, figures, paper
from landscape_app.figures import theme
from landscape_app.url import View
from PIL import Image

from landscape.cli import main
from landscape.errors import InputError
from landscape.store import Run

MILLIMETRE = 72 / 25.4
"""Points of a millimetre."""
WIDTHS = (316, 802)
"""Pixels of a figure in a narrow window, and in two columns of a paper."""


def font_sizes(drawing: str) -> set[float]:
    """The sizes of the text of an SVG in points, from its size in mm and its own coordinates."""
    root = ElementTree.fromstring(drawing)
    width = float(root.attrib["width"].removesuffix("mm"))
    height = float(root.attrib["height"].removesuffix("mm"))
    _, _, across, down = map(float, root.attrib["viewBox"].split())
    assert width / across == pytest.approx(height / down, rel=1e-5)
    sizes = set()
    for element in root.iter("{http://www.w3.org/2000/svg}text"):
        if "".join(element.itertext()).strip():
            size = re.search(r"font-size: ([\d.]+)px", element.attrib["style"])
            assert size
            sizes.add(round(float(size[1]) * width / across * MILLIMETRE, 2))
    for element in root.iter("{http://www.w3.org/2000/svg}tspan"):
        size = re.search(r"font-size: ?([\d.]+)px", element.attrib.get("style", ""))
        if size:
            sizes.add(round(float(size[1]) * width / across * MILLIMETRE, 2))
    return sizes


def letter_sizes(page: pypdfium2.PdfPage) -> set[float]:
    """The sizes of the letters of a PDF in points, as they are on the page."""
    text = page.get_textpage()
    sizes = set()
    for index in range(text.count_chars()):
        matrix = pdfium.FS_MATRIX()
        if pdfium.FPDFText_GetUnicode(text, index) > 32 and pdfium.FPDFText_GetMatrix(
            text, index, matrix
        ):
            nominal = pdfium.FPDFText_GetFontSize(text, index)
            sizes.add(round(nominal * math.hypot(matrix.c, matrix.d), 1))
    return sizes


@pytest.mark.browser
@pytest.mark.usefixtures("chromium")
def test_files_have_the_width_and_the_text_that_a_paper_asks_for(
    new_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(new_run("one").path)
    out = tmp_path / "out" / "figures.zip"
    command = ["export", run, "--figure", "spread,surface", "--format", "pdf,svg,png"]
    assert main([*command, "--width", "84mm", "--out", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out)]
    with zipfile.ZipFile(out) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    stems = ("spread-one", "surface-samples-one")
    assert set(files) == {
        "captions.txt",
        *(f"{stem}.{kind}" for stem in stems for kind in ("pdf", "svg", "png")),
    }
    assert "line: mean over samples with its 95 % interval" in files["captions.txt"].decode()
    for stem in stems:
        drawing = files[f"{stem}.svg"].decode()
        assert ElementTree.fromstring(drawing).attrib["width"] == "84mm"
        assert font_sizes(drawing) == {8.0}
        document = pypdfium2.PdfDocument(files[f"{stem}.pdf"])
        (sheet,) = document
        left, _, right, _ = sheet.get_mediabox()
        assert (right - left) / MILLIMETRE == pytest.approx(84, abs=0.05)
        assert 8.0 in letter_sizes(sheet)
        assert letter_sizes(sheet) <= {8.0, 5.6}  # a subscript has 70 % of its line
        document.close()
        (tmp_path / "image.png").write_bytes(files[f"{stem}.png"])
        with Image.open(tmp_path / "image.png") as image:
            assert image.width / 600 * 25.4 == pytest.approx(84, abs=0.1)
            assert image.convert("RGB").getpixel((3, image.height - 3)) == (255, 255, 255)


def test_figures_go_by_the_names_of_the_dashboard(
    complete: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    known = drawings.figure_names()
    assert {"surface", "slices", "spread", "eigenvalues", "calibration", "scatter"} <= set(known)
    assert drawings.chosen_names(["all"]) == known
    out = str(tmp_path / "out")
    for words, told in {
        "--figure sprea": f"no figure 'sprea': known are {', '.join(known)}, all",
        "--figure spread --format eps": "no format 'eps': known are pdf, svg, png",
        "--figure spread --width 3mm": "'3mm' is no width: it is 50 to 400 mm, such as 84mm",
        "--figure spread --width wide": "'wide' is no width",
        "--figure density": "spectral density not measured",
    }.items():
        path = complete.path
        if "density" in words:
            path = tmp_path / "bare.h5"
            Run.create(path, method="map", task="digits", seed=0, config={})
        assert main(["export", str(path), *words.split(), "--out", out]) == 2
        assert told in capsys.readouterr().err
    assert main(["export", str(complete.path), "--csv", out, "--out", out]) == 2
    assert main(["export", str(complete.path), str(complete.path), "--csv", out]) == 2


def test_runs_come_from_any_files_and_folders(new_run: Callable[..., Run], tmp_path: Path) -> None:
    names = ["a-seed0", "a-seed1", "b-seed0", "b-seed1", "c"]
    runs = [new_run(name, seed=seed) for seed, name in enumerate(names)]
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "broken.h5").write_text("no HDF5")
    (runs[4].path).rename(other / "c.h5")
    found, (fault,) = drawings.find_runs([tmp_path, other / "c.h5"])
    assert [run.path.stem for run in found] == names
    assert "broken.h5" in str(fault)
    # More than four runs are groups: two seeds each, and one alone. The mean is that of the files.
    ((name, figure),) = drawings.drawings(found, ["spread"], View())
    assert name == "spread"
    means = {
        trace.meta["group"]: trace.y[0]
        for trace in figure.data
        if trace.meta and trace.meta["series"].startswith("λ") and "mean" in trace.meta["series"]
    }
    for group, members in {"a": found[:2], "b": found[2:4], "c": found[4:]}.items():
        largest = [run["samples"]["eigenvalues"][:, 0].mean() for run in members]
        assert means[group] == pytest.approx(np.mean(largest))
    # A figure without groups is drawn for each run.
    alone = [figure for _, figure in drawings.drawings(found, ["surface"], View())]
    assert [figure.layout.meta["file"] for figure in alone] == [
        f"surface-samples-{name}" for name in names
    ]
    (told,) = drawings.drawings(found, ["scatter"], View())
    assert "one folder" in str(told[1])
    (other / "a-seed0.h5").write_bytes(found[0].path.read_bytes())
    with pytest.raises(InputError, match="the same name"):
        drawings.find_runs([tmp_path, other])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no run in"):
        drawings.find_runs([tmp_path / "empty"])


def every_figure(run: Run, other: Run) -> dict[str, go.Figure]:
    view = View.parse("/?at=0,0")
    names = drawings.figure_names()
    drawn = drawings.drawings([run, other], names, view, run.path.parent)
    return {f"{name} {place}": part for place, (name, part) in enumerate(drawn)}


def test_panels_fit_the_width_and_stand_apart(new_run: Callable[..., Run]) -> None:
    one, two = new_run("one"), new_run("two", seed=1)
    fresh = {
        name: figure.to_plotly_json()
        for name, figure in every_figure(one, two).items()
        if isinstance(figure, go.Figure)
    }
    assert len(fresh) > 10
    for (name, drawn), width in itertools.product(fresh.items(), WIDTHS):
        figure = figures.sized(go.Figure(drawn), width)
        layout = figure.layout
        assert layout.width == width
        margin = layout.margin
        inner = (width - margin.l - margin.r, layout.height - margin.t - margin.b)
        boxes = []
        for y in figure.select_yaxes():
            x = layout["xaxis" + (y.anchor or "x").removeprefix("x")]
            (left, right), (low, high) = x.domain or (0, 1), y.domain or (0, 1)
            assert 0 <= left < right <= 1
            assert -1e-9 <= low < high <= 1 + 1e-9
            boxes.append((left * inner[0], right * inner[0], low * inner[1], high * inner[1]))
            assert boxes[-1][1] - boxes[-1][0] > 100, f"{name} at {width}"
        for first, second in itertools.combinations(boxes, 2):
            beside = first[1] + 40 < second[0] or second[1] + 40 < first[0]
            below = first[3] + 15 < second[2] or second[3] + 15 < first[2]
            assert beside or below, f"{name} at {width}"
        title = theme.without_markup(layout.title.text.replace("<br>", "\n"))
        assert all(len(line) * 6 < width for line in title.split("\n"))
        assert margin.t >= 17 * len(title.split("\n"))


def test_a_figure_without_titles_says_the_same_in_its_caption(complete: Run) -> None:
    figure = figures.spread_figure(complete)
    said = theme.without_markup(figure.layout.title.text.replace("<br>", "\n")).split("\n")
    told = paper.caption(figure.layout.meta)
    assert all(part in told for line in said[1:] for part in line.split(" · "))
    bare = paper.for_paper(figure, 84, titles=False)
    assert bare.layout.title.text == ""
    assert bare.layout.margin.t < 40
    assert bare.layout.paper_bgcolor in (None, "white")
