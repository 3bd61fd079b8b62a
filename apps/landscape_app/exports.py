"""Exports that need no server: figures as HTML, their numbers as CSV, and reports of folders."""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import plotly.graph_objects as go
import plotly.io
import plotly.offline

from landscape.errors import InputError
from landscape.results import SampleMean
from landscape.runtime import limits
from landscape.runtime.files import atomic_write
from landscape.store import Run, Summary, ensure_writable, summarise
from landscape.store.summary import unfinished
from landscape_app import figures, formats
from landscape_app.data import NotMeasured, surface_names
from landscape_app.drawings import Drawing, drawings, shared_planes
from landscape_app.folders import load_run
from landscape_app.run_list import BrokenRun, list_runs
from landscape_app.table import Row, as_csv, to_csv
from landscape_app.url import View

_FIGURES: Mapping[str, Callable[[Run], go.Figure]] = {
    "lines": figures.lines_figure,
    "eigenvalues": figures.eigenvalues_figure,
    "trace": figures.trace_figure,
    "spread": figures.spread_figure,
    "relation": figures.relation_figure,
    "density": figures.density_figure,
    "measures": figures.measures_figure,
    "metrics": figures.metrics_figure,
    "averaging": figures.averaging_figure,
    "calibration": figures.calibration_figure,
    "training": figures.training_figure,
}
_IN_A_REPORT = ("lines", "eigenvalues", "trace", "averaging", "calibration")
"""Figures of each run in a report, beside the surfaces. More figures would make it large."""
_OPEN = 2
"""Number of parts of a page that are open at first: the figures of all runs and of the first."""
_COMPARED = ("spread", "eigenvalues", "metrics", "averaging", "calibration")
"""Figures of all runs of a report, beside the planes that they share."""

_SPREADS = ("train_loss", "lambda_1", "lambda_ratio", "lambda_ratio_of_means", "trace")
_COLUMNS: Mapping[str, Callable[[Summary], str]] = {
    "Run": lambda run: run.name,
    "Method": lambda run: run.method,
    "Task": lambda run: run.task,
    "Seed": lambda run: formats.ABSENT if run.seed is None else str(run.seed),
    "Samples": lambda run: formats.ABSENT if run.samples is None else str(run.samples),
    "Accuracy": lambda run: formats.percent(run.accuracy),
    "NLL": lambda run: formats.number(run.nll),
    "RMSE": lambda run: formats.number(run.rmse),
    "ECE": lambda run: formats.number(run.ece),
    "Training loss": lambda run: _spread(run, run.train_loss),
    "λ₁": lambda run: _spread(run, run.lambda_1),
    "Trace": lambda run: _spread(run, run.trace),
    "Status": lambda run: run.status,
}
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 1200px; margin: 2em auto;
  padding: 0 1.5em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px; text-align: right; border-bottom: 1px solid #dfe4ea; }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; }
td:first-child { overflow-wrap: anywhere; min-width: 9em; }
.wide { overflow-x: auto; }
summary { cursor: pointer; font-size: 19px; font-weight: 600; margin: 1em 0 0.5em; }
.figure { height: 460px; margin-bottom: 2em; } .tall { height: 620px; } p { color: #5f6b7a; }
"""
# The page draws the figures of a run when a reader opens it. Drawing a hundred runs at once takes
# minutes.
_DRAW = """
const draw = (details) => {
  if (!details.open) return;
  for (const place of details.querySelectorAll(".figure:empty")) {
    const { data, layout } = JSON.parse(place.nextElementSibling.textContent);
    Plotly.newPlot(place, data, layout, CONFIG);
  }
};
for (const details of document.querySelectorAll("details")) {
  details.addEventListener("toggle", () => draw(details));
  draw(details);
}
"""


def figure_html(figure: go.Figure) -> str:
    """Return ``figure`` as one HTML page with Plotly's script; the page needs no network."""
    about = figure.layout.meta
    config = figures.CONFIG | {"toImageButtonOptions": {"filename": about["file"]}}
    drawn = plotly.io.to_html(
        figure,
        config=config,
        include_plotlyjs=True,
        full_html=False,
        default_height="calc(100vh - 16px)",
    )
    return f"{_head(about['title'], 'body { margin: 8px; }')}{drawn}</body></html>\n"


def figures_of(run: Run, names: Sequence[str] = tuple(_FIGURES)) -> Iterator[Drawing]:
    """Yield the surfaces of a run, then those of the figures ``names`` that the file has data for.

    Yields:
        The name of a figure, and the figure or the reason why it cannot be drawn.

    Raises:
        InputError: the file cannot be read.
    """
    planes = surface_names(run)
    left = limits.MAX_EXPORTED
    for count, name in enumerate(planes):
        if left < 0 or count == limits.MAX_DRAWN_MEMBERS:
            more = formats.count(len(planes) - count, "more surface")
            yield "surfaces", InputError(f"{more}: not drawn here, but in the dashboard")
            break
        for drawn in _drawn(run, f"surface-{name}", partial(figures.surface_figure, name=name)):
            left -= 0 if isinstance(drawn[1], InputError) else drawn[1].data[0].z.size
            yield drawn
    for name in names:
        yield from _drawn(run, name, _FIGURES[name])


def _drawn(run: Run, name: str, draw: Callable[[Run], go.Figure]) -> Iterator[Drawing]:
    """Yield a figure or the error that prevents it; yield nothing if it was not measured."""
    try:
        yield name, draw(run)
    except NotMeasured:
        return
    except InputError as fault:
        yield name, fault


def write_csv(run: Run, folder: Path) -> tuple[list[Path], list[InputError]]:
    """Write the numbers behind each figure of a run into ``folder``, one file for each figure.

    Returns:
        The files, and the errors of the figures that cannot be drawn.

    Raises:
        InputError: the run cannot be read, it holds nothing to draw, or the folder cannot be
            written.
    """
    ensure_writable(folder)
    written, faults = [], []
    for name, figure in figures_of(run):
        if isinstance(figure, InputError):
            faults.append(InputError(f"{name} of {run.path}: {figure}"))
            continue
        path = folder / f"{figure.layout.meta['file']}.csv"
        with atomic_write(path) as temporary:
            temporary.write_text(to_csv(figure), encoding="utf-8")
        written.append(path)
    if not written:
        raise InputError(f"{run.path} holds nothing to draw: train or measure it first")
    return written, faults


def write_folder_csv(folder: Path, out: Path) -> tuple[list[Path], list[InputError]]:
    """Write ``runs.csv`` with one line for each run, and the tables of each run in a subfolder.

    The columns of a statistic over samples hold the mean, the standard deviation, the number of
    samples, the 95 % interval of the mean, and the effective number of samples.

    Returns:
        The files, and the errors of the runs and figures that are left out.

    Raises:
        InputError: the folder holds no readable run, or ``out`` cannot be written.
    """
    summaries, broken = _runs_of(folder)
    ensure_writable(out)
    table = out / "runs.csv"
    rows = [
        _flat(summary) | {"unfinished": _unfinished(folder, summary.name)} for summary in summaries
    ]
    with atomic_write(table) as temporary:
        temporary.write_text(as_csv(rows, list(rows[0])), encoding="utf-8")
    written = [table]
    faults = [InputError(f"{folder / file.name} cannot be read: {file.reason}") for file in broken]
    for summary in summaries:
        try:
            run = load_run(folder, summary.name)
            files, new_faults = write_csv(run, out / formats.file_name(summary.name))
        except InputError as fault:  # nothing to draw yet
            files, new_faults = [], [fault]
        written += files
        faults += new_faults
    return written, faults


def write_run_html(run: Run, path: Path) -> None:
    """Write all figures of a run into one self-contained page.

    Raises:
        InputError: the run cannot be read, or ``path`` cannot be written.
    """
    _write_page(path, run.path.stem, [summarise(run)], [(run.path.stem, figures_of(run))])


def write_report(folder: Path, path: Path) -> None:
    """Write a table of a folder's runs and their main figures into one self-contained page.

    Figures of all runs come first: of groups by name without the seed, if there are more than four
    runs, and the planes that runs share. Then come the figures of each run.

    Raises:
        InputError: the folder holds no readable run, or ``path`` cannot be written.
    """
    summaries, broken = _runs_of(folder)
    runs = [load_run(folder, summary.name) for summary in summaries]
    parts = [(run.path.stem, figures_of(run, _IN_A_REPORT)) for run in runs]
    if len(runs) > 1:
        parts.insert(0, ("All runs", _compared(runs, folder)))
    _write_page(path, f"Runs in {folder.absolute().name}", summaries, parts, broken)


def _compared(runs: Sequence[Run], folder: Path) -> Iterator[Drawing]:
    """Yield the figures that compare the runs of a report; those without data are left out."""
    for name, figure in itertools.chain(
        drawings(runs, _COMPARED, View(), folder), shared_planes(runs, View())
    ):
        if not isinstance(figure, NotMeasured):
            yield name, figure


def _spread(run: Summary, mean: SampleMean | None) -> str:
    """Format a mean over samples; add their number if it differs from the "Samples" column."""
    suffix = "" if mean is None or mean.count == run.samples else f" (n = {mean.count})"
    return formats.spread(mean) + suffix


def _runs_of(folder: Path) -> tuple[list[Summary], list[BrokenRun]]:
    runs = list_runs(folder)
    summaries = [run for run in runs if isinstance(run, Summary)]
    if not summaries:
        raise InputError(f"there is no run in {folder} to report on; `landscape demo` makes some")
    return summaries, [run for run in runs if isinstance(run, BrokenRun)]


def _flat(summary: Summary) -> Row:
    """Return a summary as one line of a table; values that the run does not state are empty."""
    line: Row = {}
    for name, value in asdict(summary).items():
        if name in _SPREADS:
            parts = value or {part.name: "" for part in fields(SampleMean)}
            line |= {f"{name}_{part}": number for part, number in parts.items()}
        elif isinstance(value, tuple):
            line[name] = " ".join(value)
        elif isinstance(value, dict):
            numbers = {
                key: part["mean"] if isinstance(part, dict) else part for key, part in value.items()
            }
            line[name] = " ".join(f"{key}={number}" for key, number in numbers.items())
        else:
            line[name] = "" if value is None else value
    return line


def _unfinished(folder: Path, name: str) -> str:
    """Return text for a run with missing results; empty if the run is complete."""
    try:
        return "; ".join(unfinished(load_run(folder, name)))
    except InputError as fault:
        return str(fault)


def _write_page(
    path: Path,
    title: str,
    summaries: Sequence[Summary],
    parts: Sequence[tuple[str, Iterator[Drawing]]],
    broken: Sequence[BrokenRun] = (),
) -> None:
    if path.suffix.lower() not in (".html", ".htm"):  # it might replace a run file
        raise InputError(f"the name of a page ends in .html, not '{path.name}'")
    ensure_writable(path.parent)
    config = plotly.io.json.to_json_plotly(figures.CONFIG)
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as page:
        page.write(
            f"{_head(title, _STYLE)}<h1>{html.escape(title)}</h1>{_table(summaries)}"
            "<p>Accuracy, NLL (nat) and ECE: metrics of the average over samples, on the test set. "
            "λ₁ and trace: mean ± standard deviation over samples, or over n samples if n is given."
            "</p>"
        )
        page.writelines(
            f"<p>{html.escape(file.name)} cannot be read: {html.escape(file.reason)}</p>"
            for file in broken
        )
        page.write(f"<script>{plotly.offline.get_plotlyjs()}</script>")
        for index, (words, drawn) in enumerate(parts):
            state = " open" if index < _OPEN else ""
            page.write(f"<details{state}><summary>{html.escape(words)}</summary>")
            for name, figure in drawn:
                if isinstance(figure, InputError):
                    page.write(f"<p>{html.escape(str(figure))}</p>")
                    continue
                tall = " tall" if name.startswith(("surface", "calibration")) else ""
                page.write(
                    f'<div class="figure{tall}" role="group" aria-label="{html.escape(name)}">'
                    f'</div><script type="application/json">{_json(figure)}</script>'
                )
            page.write("</details>\n")
        page.write(f"<script>{_DRAW.replace('CONFIG', config)}</script></body></html>\n")


def _head(title: str, style: str) -> str:
    """Return the beginning of a page, up to the start of its body."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head><body>"
    )


def _json(figure: go.Figure) -> str:
    # This writer escapes "<". No text from a file can therefore end the script element.
    return str(plotly.io.json.to_json_plotly(figure.to_plotly_json()))


def _table(summaries: Sequence[Summary]) -> str:
    columns = {words: [cell(summary) for summary in summaries] for words, cell in _COLUMNS.items()}
    if all(cell == formats.ABSENT for cell in columns["RMSE"]):  # no run is a regression
        del columns["RMSE"]
    head = "".join(f'<th scope="col">{words}</th>' for words in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in zip(*columns.values(), strict=True)
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" tabindex="0" role="group" aria-label="Runs">{table}</div>'
