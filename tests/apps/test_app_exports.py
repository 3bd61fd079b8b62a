"""Pages and tables that leave the dashboard: whole, escaped, and where they were asked for."""

from __future__ import annotations

import csv
import io
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from landscape_app import exports, figures, pdf
from landscape_app.server import in_background

from landscape.errors import InputError
from landscape.store import Run

LINKED = b"""<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">
<image href="/etc/hostname" width="9" height="9"/></svg>"""


def test_every_figure_of_a_run_has_its_table(complete: Run, tmp_path: Path) -> None:
    written, faults = exports.write_csv(complete, tmp_path / "tables")
    names = {path.stem for path in written}
    figures = ("surface-samples", "surface-random", "eigenvalues", "density", "training")
    assert {f"{figure}-digits-swag-0" for figure in figures} <= names
    assert faults == []
    for path in written:
        head, *lines = list(csv.reader(path.read_text().splitlines()))
        assert head[0] == "series"
        assert lines


def test_what_cannot_be_drawn_is_told_and_does_not_stop_the_others(
    started: Run, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="nothing to draw"):
        exports.write_csv(started, tmp_path / "tables")
    nowhere = {"x": [0.0, 1.0], "y": [0.0, 1.0], "loss": np.full((2, 2), np.nan)}
    started.write("surfaces/samples", nowhere)
    started.write("samples", {"trace": [1.0, 2.0]})
    written, (fault,) = exports.write_csv(started, tmp_path / "tables")
    assert [path.name for path in written] == ["trace-digits-map-0.csv"]
    assert str(fault).startswith(f"surface-samples of {started.path}: ")
    assert "no finite loss" in str(fault)


def test_a_folder_has_a_table_of_its_runs_and_those_of_each(
    started: Run, new_run: Callable[..., Run], tmp_path: Path
) -> None:
    complete = new_run("complete", method="=1+1")
    complete.write("lines/bezier", {"loss": [1.0, 3.0, 2.5]})
    half = {"x": [0.0, 1.0], "y": [0.0, 1.0], "loss": [[1.0, 2.0], [np.nan] * 2]}
    complete.write("surfaces/pca", half | {"finished": [1, 0]})
    (tmp_path / "text.h5").write_text("not HDF5")
    out = tmp_path / "tables"
    written, faults = exports.write_folder_csv(tmp_path, out)
    with (out / "runs.csv").open() as file:
        found = {line["name"]: line for line in csv.DictReader(file)}
    assert set(found) == {complete.path.stem, started.path.stem}
    largest = complete["samples"]["eigenvalues"][:, 0]
    line = found["complete"]
    assert float(line["lambda_1_mean"]) == largest.mean()
    assert float(line["lambda_1_deviation"]) == largest.std(ddof=1)
    assert int(line["lambda_1_count"]) == float(line["lambda_1_effective"]) == len(largest)
    assert float(line["lambda_ratio_mean"]) > float(line["lambda_ratio_of_means_low"]) > 1
    assert float(line["nll"]) == complete.attributes_of("predictions")["nll"]
    assert found[started.path.stem]["lambda_1_mean"] == found[started.path.stem]["nll"] == ""
    assert line["matrix"] == "hessian"
    assert "bezier=0.5" in line["line_barriers"].split()
    assert line["unfinished"] == "surface 'pca': 1 of 2 rows"
    assert line["method"] == "'=1+1"  # no formula of a spreadsheet
    alone, _ = exports.write_csv(complete, tmp_path / "alone")
    for path in alone:
        assert (out / "complete" / path.name).read_bytes() == path.read_bytes()
    assert len(written) == 1 + len(alone)
    told = " ".join(map(str, faults))
    assert "digits-map-0.h5 holds nothing to draw" in told
    assert "text.h5 cannot be read" in told


def test_the_report_is_one_file_with_every_run_and_what_is_wrong(
    new_run: Callable[..., Run], tmp_path: Path
) -> None:
    new_run("one")
    new_run("a <b> & c", seed=1, method='"><script>alert(1)</script>')
    (tmp_path / "text.h5").write_text("not HDF5")
    page = tmp_path / "out" / "report.html"
    exports.write_report(tmp_path, page)
    text = page.read_text()
    assert "<summary>one</summary>" in text
    assert "<summary>a &lt;b&gt; &amp; c</summary>" in text
    assert "<script>alert" not in text
    assert "text.h5 cannot be read" in text
    assert "93.5 %" in text
    assert "<td>complete</td>" in text
    assert "RMSE</th>" not in text
    for word in ('src="', "href=", "@import", "<link", "<iframe"):
        assert word not in text.replace("<script>" + _plotly() + "</script>", "")
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]
    few = new_run("few", seed=3)
    few.write("samples", {"trace": [5.0, 6.0, np.nan]})
    exports.write_report(tmp_path, page)
    assert "<td>5.50 ± 0.71 (n = 2)</td>" in page.read_text()
    real = new_run("real", seed=2)
    real.write("predictions", dict(real["predictions"]), {"nll": 1.0, "rmse": 0.25})
    exports.write_report(tmp_path, page)
    assert "RMSE</th>" in page.read_text()
    assert "<td>0.25" in page.read_text()


def test_a_file_of_a_figure_says_figure_and_runs(
    new_run: Callable[..., Run], complete: Run
) -> None:
    odd = new_run("50 %, é <b>", seed=1)
    figure = figures.trace_figure(complete, odd)
    page = exports.figure_html(figure)
    title = "digits-swag-0, 50 %, é &lt;b&gt;: Trace of the Hessian"
    assert f"<title>{title}</title>" in page
    name = "trace-digits-swag-0-50____é__b_"
    assert figure.layout.meta["file"] == name
    with in_background(odd.path.parent) as site:
        address = f"{site}/export/spread.csv?run=50%20%25%2C%20%C3%A9%20%3Cb%3E"
        with urllib.request.urlopen(address) as answer:
            told = answer.headers["Content-Disposition"]
    assert told.endswith("filename*=UTF-8''spread-50____%C3%A9__b_.csv")


def _plotly() -> str:
    import plotly.offline

    return str(plotly.offline.get_plotlyjs())


def test_a_page_does_not_replace_a_run(complete: Run, tmp_path: Path) -> None:
    before = complete.path.read_bytes()
    with pytest.raises(InputError, match=r"ends in \.html"):
        exports.write_run_html(complete, complete.path)
    assert complete.path.read_bytes() == before
    with pytest.raises(InputError, match="no run in"):
        exports.write_report(tmp_path, tmp_path / "report.html")


def test_the_links_below_a_figure_give_it_as_it_is_on_the_screen(complete: Run) -> None:
    with in_background(complete.path.parent) as site:
        query = "?run=digits-swag-0&plane=random&loss=log"
        with urllib.request.urlopen(f"{site}/export/surface-0.csv{query}") as answer:
            told = answer.headers["Content-Disposition"]
            assert told == "attachment; filename*=UTF-8''surface-random-digits-swag-0.csv"
            lines = list(csv.DictReader(io.StringIO(answer.read().decode())))
        losses = [float(line["z"]) for line in lines if line["series"] == "loss"]
        assert {line["run"] for line in lines} == {"digits-swag-0"}
        np.testing.assert_array_equal(losses, complete["surfaces/random"]["loss"].ravel())
        with urllib.request.urlopen(f"{site}/export/spread.html{query}") as answer:
            page = answer.read().decode()
        assert "<title>digits-swag-0: Largest eigenvalue and trace of the Hessian</title>" in page
        assert len(page) > 3_000_000  # Plotly's script is in it


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("spread.csv", "choose a run"),
        ("spread.csv?run=absent", "no run 'absent'"),
        ("spread.csv?run=..%2Fsecret", "not the name of a run"),
        ("trace.exe?run=digits-map-0", "no figure 'trace' as 'exe'"),
        ("nothing.csv?run=digits-map-0", "no figure 'nothing'"),
        ("spread.csv?run=digits-map-0", "landscape measure"),
        ("surface-3.csv?run=digits-map-0", "nothing in the figure"),
    ],
)
def test_a_link_that_leads_nowhere_says_so(path: str, said: str, started: Run) -> None:
    with in_background(started.path.parent) as site:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{site}/export/{path}")
        assert caught.value.code == 404
        assert said in caught.value.read().decode()


def test_pdf_without_typst_says_what_to_install(
    started: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    with in_background(started.path.parent) as site:
        drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
        kind = {"Content-Type": "image/svg+xml"}
        request = urllib.request.Request(f"{site}/export/pdf", drawing, kind)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 400
        said = caught.value.read().decode()
        assert said == "PDF needs 'pip install typst'\n"


@pytest.mark.parametrize(
    ("drawing", "kind", "status", "said"),
    [
        (b"", "image/svg+xml", 400, "cannot be written as PDF"),
        (b"<svg", "image/svg+xml", 400, "cannot be written as PDF"),
        (LINKED, "image/svg+xml", 400, "linked image"),
        (LINKED, "text/plain", 415, "send an SVG"),
        (b" " * (pdf.MOST_BYTES + 1), "image/svg+xml", 413, ""),
    ],
    ids=["empty", "cut", "a link", "another type", "large"],
)
def test_what_is_no_drawing_is_refused(
    drawing: bytes, kind: str, status: int, said: str, started: Run
) -> None:
    with in_background(started.path.parent) as site:
        request = urllib.request.Request(f"{site}/export/pdf", drawing, {"Content-Type": kind})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == status
        assert said in caught.value.read().decode()
