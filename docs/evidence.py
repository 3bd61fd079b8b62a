"""Make the figures and pages of docs/evidence/ from the folders of ``landscape study``.

    python docs/evidence.py runs/digits runs/digits-100 runs/mnist
    python docs/evidence.py --pages runs/paper

The script copies the pages and the tuning results of each folder to ``docs/evidence/``, and draws
the figures that the pages have. A page's section ``Why``, which a person has written, stays.
Without ``--pages`` the script also draws the figures of ``docs/evidence/earlier.md`` from the first
folder, and that of averages from the second one, which has more samples. It needs the extra
``notebooks`` (kaleido) and Chrome or Chromium.
"""

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.results import SampleMean
from landscape.store import Run
from landscape.study import CANDIDATES, metrics
from landscape.study.averaging import ORDERS, curves

IMAGES = Path(__file__).parent / "images"
PAGES = Path(__file__).parent / "evidence"
SHOWN = ("swag", "vi", "laplace", "fp-bma")
WHY = "\n## Why\n"
PALETTE = (
    "#3366aa",
    "#cc6633",
    "#339966",
    "#aa3377",
    "#bbaa33",
    "#66ccee",
    "#777777",
    "#000000",
    "#aa8866",
)
SYMBOLS = (
    "circle",
    "diamond",
    "square",
    "cross",
    "x",
    "triangle-up",
    "star",
    "pentagon",
    "hexagon",
)
COLOURS = ("#3366aa", "#cc6633", "#999999")


def main() -> None:
    """Copy the pages, and write every figure as SVG."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="folders of studies")
    parser.add_argument("--pages", action="store_true", help="only copy and draw the pages")
    options = parser.parse_args()
    for folder in options.folders:
        (PAGES / folder.name).mkdir(parents=True, exist_ok=True)
        if (folder / "tuning.json").exists():
            shutil.copy(folder / "tuning.json", PAGES / folder.name)
        for page in folder.glob("*.md"):
            copy_page(page, PAGES / folder.name / page.name)
    if options.pages:
        return
    if len(options.folders) < 2:
        parser.error("the figures of docs/evidence/earlier.md need two folders; see --pages")
    first, second = options.folders[:2]
    runs = results(first / "runs")
    IMAGES.mkdir(exist_ok=True)
    for name, figure in (
        ("evidence-nll", nll_figure(runs)),
        ("evidence-flatness", flatness_figure(runs)),
        ("evidence-averaging", averaging_figure(results(second / "runs"))),
        ("evidence-radius", radius_figure(first / "ablation")),
    ):
        figure.update_layout(template="plotly_white", font_size=12, margin={"t": 40, "r": 20})
        figure.write_image(IMAGES / f"{name}.svg")


def copy_page(page: Path, copy: Path) -> None:
    """Copy the page of a study. Add its figures below the title and keep the copy's ``Why``."""
    _, why, reason = copy.read_text().partition(WHY) if copy.exists() else ("", "", "")
    title, _, tables = page.read_text().partition("\n\n")
    parts = [title]
    numbers = page.with_suffix(".json")
    figures = json.loads(numbers.read_text()) if numbers.exists() else []
    for index, figure in enumerate(figures):
        name = f"{page.stem}-{index + 1}.svg" if len(figures) > 1 else f"{page.stem}.svg"
        draw(figure).write_image(copy.parent / name)
        parts.append(f"![{figure['title']}]({name})")
    copy.write_text("\n\n".join([*parts, tables]).rstrip() + "\n" + why + reason)


def draw(figure: dict[str, Any]) -> go.Figure:
    """A ``landscape.study.figures.Figure``, read from its file."""
    from plotly.subplots import make_subplots

    panels = figure["panels"]
    columns = min(figure["columns"], len(panels))
    rows = math.ceil(len(panels) / columns)
    drawn = make_subplots(
        rows,
        columns,
        subplot_titles=[panel["title"] for panel in panels],
        horizontal_spacing=0.03 if all(map(sideways, panels)) else 0.08,
        vertical_spacing=0.16,
    )
    labels = dict.fromkeys(series["label"] for panel in panels for series in panel["series"])
    styles = {
        label: (PALETTE[i % len(PALETTE)], SYMBOLS[i % len(SYMBOLS)])
        for i, label in enumerate(labels)
    }
    named: set[str] = set()
    tallest = 0
    for index, panel in enumerate(panels):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        tallest = max(
            [tallest, *(len(series["x"]) for series in panel["series"] if sideways(panel))]
        )
        if panel["contours"]:
            lines = panel["contours"]
            start, end, size = lines["levels"]
            drawn.add_contour(
                x=lines["x"],
                y=lines["y"],
                z=lines["z"],
                contours={"start": start, "end": end, "size": size, "coloring": "lines"},
                colorscale="Greys",
                showscale=False,
                line_width=0.7,
                **place,
            )
        for series in panel["series"]:
            colour, symbol = styles[series["label"]]
            places, bars = ("y", "error_x") if sideways(panel) else ("x", "error_y")
            drawn.add_scatter(
                **{places: series["x"], "x" if sideways(panel) else "y": series["y"]},
                mode="lines" if series["line"] else "markers",
                name=series["label"],
                legendgroup=series["label"],
                showlegend=series["label"] not in named,
                line_color=colour,
                marker={"color": colour, "symbol": symbol, "size": 6, "opacity": 0.8},
                **{bars: errors(series)},
                **place,
            )
            named.add(series["label"])
        titles = [panel["x"], panel["y"]]
        across, up = reversed(titles) if sideways(panel) else titles
        drawn.update_xaxes(title_text=across, **place)
        drawn.update_yaxes(title_text=up, **place)
        if sideways(panel):  # the names stand once in a row
            drawn.update_yaxes(showticklabels=place["col"] == 1, **place)
            drawn.update_xaxes(zerolinecolor="#888888", **place)
        for axis, update in (("x", drawn.update_xaxes), ("y", drawn.update_yaxes)):
            if axis in panel["logarithmic"]:
                update(type="log", **place)
    return drawn.update_layout(
        title=figure["title"],
        template="plotly_white",
        font_size=11,
        width=340 * columns + 160 if columns > 1 else 820,
        height=max(300, 18 * tallest) * rows + 120 if columns > 1 else 460,
        margin={"t": 80, "r": 20},
    )


def sideways(panel: dict[str, Any]) -> bool:
    """Whether x of a panel goes up; files of earlier versions do not say so."""
    return bool(panel.get("sideways"))


def errors(series: dict[str, Any]) -> dict[str, Any] | None:
    """Error bars of a series, from the ends of its intervals."""
    if not series["low"]:
        return None
    triples = list(zip(series["y"], series["low"], series["high"], strict=True))
    return {
        "array": [high - y for y, _, high in triples],
        "arrayminus": [y - low for y, low, _ in triples],
        "symmetric": False,
        "thickness": 1,
        "width": 2,
    }


def results(folder: Path) -> dict[str, list[Run]]:
    """Run files by method."""
    by_method = {}
    for name in CANDIDATES:
        paths = sorted(folder.glob(f"{name}-seed*.h5"))
        if paths:
            by_method[name] = [Run.open(path) for path in paths]
    return by_method


def nll_figure(runs: dict[str, list[Run]]) -> go.Figure:
    """Test NLL of every method, without and with the best temperature, with intervals."""
    series = {
        label: {name: spread(of_method, metric) for name, of_method in runs.items()}
        for label, metric in (
            ("as trained", metrics.test_metric("nll")),
            ("at the best temperature", metrics.tempered_metric("nll")),
        )
    }
    names = sorted(runs, key=lambda name: -series["as trained"][name].mean)
    figure = go.Figure()
    for (label, spreads), symbol in zip(series.items(), ("circle", "circle-open"), strict=True):
        figure.add_scatter(
            x=[spreads[name].mean for name in names],
            y=names,
            mode="markers",
            name=label,
            marker={
                "symbol": symbol,
                "size": 8,
                "color": [COLOURS[name.startswith("fp-bma")] for name in names],
            },
            error_x={
                "array": [spreads[name].high - spreads[name].mean for name in names],
                "thickness": 1,
                "color": COLOURS[2],
            },
        )
    return figure.update_layout(
        title="Test NLL (nats), mean and 95 % interval over seeds", width=760, height=480
    )


def flatness_figure(runs: dict[str, list[Run]]) -> go.Figure:
    """lambda_1 of the samples against test NLL, one point per method and seed."""
    figure = go.Figure()
    for name, of_method in runs.items():
        figure.add_scatter(
            x=[metrics.lambda_1(run) for run in of_method],
            y=[metrics.test_metric("nll")(run) for run in of_method],
            mode="markers",
            name=name,
            marker={"symbol": len(figure.data), "size": 8},
        )
    ticks = {"tickvals": [2, 5, 10, 20, 50, 100]}
    figure.update_xaxes(type="log", title="lambda_1, mean over posterior samples", **ticks)
    figure.update_yaxes(title="test NLL (nats)")
    return figure.update_layout(
        title="Flatness and prediction, a point a method and seed", width=700, height=480
    )


def averaging_figure(runs: dict[str, list[Run]]) -> go.Figure:
    """NLL of the average over n samples in three orders."""
    from plotly.subplots import make_subplots

    shown = [name for name in SHOWN if name in runs]
    figure = make_subplots(1, len(shown), subplot_titles=shown)
    for column, name in enumerate(shown, 1):
        by_seed = [curves(run)["nll"] for run in runs[name]]
        for order, colour in zip(ORDERS, COLOURS, strict=True):
            mean = np.mean([curve[order] for curve in by_seed], 0)
            figure.add_scatter(
                x=np.arange(1, len(mean) + 1),
                y=mean,
                name=order,
                line_color=colour,
                showlegend=column == 1,
                row=1,
                col=column,
            )
    figure.update_xaxes(title="samples n")
    figure.update_yaxes(title="test NLL (nats)", col=1)
    return figure.update_layout(width=900, height=360)


def radius_figure(folder: Path) -> go.Figure:
    """lambda_1 and test NLL over FP-BMA's radius, for a prior from the source and around zero."""
    from plotly.subplots import make_subplots

    shown = {
        "lambda_1, mean over samples": metrics.lambda_1,
        "test NLL (nats)": metrics.test_metric("nll"),
    }
    figure = make_subplots(1, len(shown), horizontal_spacing=0.12)
    for (prefix, label), colour in zip(
        (("radius-", "prior: SWAG's posterior"), ("around-zero-radius-", "prior: N(0, s^2)")),
        COLOURS[1::-1],
        strict=True,
    ):
        runs: dict[float, list[Run]] = {}
        for path in folder.glob(f"{prefix}*-seed*.h5"):
            radius = path.stem.removeprefix(prefix).partition("-seed")[0]
            runs.setdefault(float(radius), []).append(Run.open(path))
        radii = sorted(runs)
        for column, metric in enumerate(shown.values(), 1):
            spreads = [spread(runs[radius], metric) for radius in radii]
            errors = [over_seeds.high - over_seeds.mean for over_seeds in spreads]
            figure.add_scatter(
                x=[str(radius) for radius in radii],
                y=[over_seeds.mean for over_seeds in spreads],
                error_y={"array": errors, "thickness": 1},
                name=label,
                marker_color=colour,
                showlegend=column == 1,
                row=1,
                col=column,
            )
    for column, title in enumerate(shown, 1):
        figure.update_yaxes(title=title, col=column)
    figure.update_xaxes(
        title="radius",
        type="category",
        categoryorder="array",
        categoryarray=["0.0", "0.05", "0.2", "0.5", "1.0", "2.0", "5.0", "10.0"],
    )
    return figure.update_layout(
        title="What the worst-case step changes, mean and 95 % interval over seeds",
        width=900,
        height=380,
    )


def spread(runs: list[Run], metric: metrics.Metric) -> SampleMean:
    """Mean and interval of a metric over seeds."""
    return SampleMean.of(np.array([metric(run) for run in runs]))


if __name__ == "__main__":
    main()
