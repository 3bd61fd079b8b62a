"""Make the figures and pages of docs/evidence.md from the folders of ``landscape study``.

    python docs/evidence.py runs/digits runs/digits-100 runs/mnist

The script copies the pages and the tuning results of each folder to ``docs/evidence/``. It draws
the figures of the first folder. The figure of averages comes from the second folder, which has
more samples. The script needs the extra ``notebooks`` (kaleido) and Chrome or Chromium.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from landscape.results import SampleMean
from landscape.store import Run
from landscape.study import CANDIDATES, metrics
from landscape.study.averaging import ORDERS, curves

IMAGES = Path(__file__).parent / "images"
PAGES = Path(__file__).parent / "evidence"
SHOWN = ("swag", "vi", "laplace", "fp-bma")
COLOURS = ("#3366aa", "#cc6633", "#999999")


def main() -> None:
    """Copy the pages, and write every figure as SVG."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of the studies")
    parser.add_argument("averaging", type=Path, help="folder of the study of averages")
    parser.add_argument("more", type=Path, nargs="*", help="folders whose pages are copied")
    options = parser.parse_args()
    for folder in (options.folder, options.averaging, *options.more):
        (PAGES / folder.name).mkdir(parents=True, exist_ok=True)
        for page in (*folder.glob("*.md"), folder / "tuning.json"):
            shutil.copy(page, PAGES / folder.name)
    runs = results(options.folder / "runs")
    IMAGES.mkdir(exist_ok=True)
    for name, figure in (
        ("evidence-nll", nll_figure(runs)),
        ("evidence-flatness", flatness_figure(runs)),
        ("evidence-averaging", averaging_figure(results(options.averaging / "runs"))),
        ("evidence-radius", radius_figure(options.folder / "ablation")),
    ):
        figure.update_layout(template="plotly_white", font_size=12, margin={"t": 40, "r": 20})
        figure.write_image(IMAGES / f"{name}.svg")


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
