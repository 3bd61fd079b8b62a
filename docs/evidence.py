"""The figures and pages behind docs/evidence.md, from the folders of ``landscape study``.

    python docs/evidence.py runs/digits runs/digits-100 runs/mnist

Copies each folder's pages and its trials to ``docs/evidence/``, and draws the first one's figures;
that of averages is the second one's, which has more samples. Needs the extra ``notebooks``
(kaleido) and Chrome or Chromium.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from landscape.store import Run
from landscape.store.summary import SampleMean
from landscape.study import CONTESTANTS
from landscape.study import readings as read
from landscape.study.averaging import ORDERS, curves

IMAGES = Path(__file__).parent / "images"
PAGES = Path(__file__).parent / "evidence"
SHOWN = ("swag", "vi", "laplace", "fp-bma")
COLOURS = ("#3366aa", "#cc6633", "#999999")


def main() -> None:
    """Copy the pages, and write every figure as SVG."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="of the studies")
    parser.add_argument("averaging", type=Path, help="of the study of averages")
    parser.add_argument("more", type=Path, nargs="*", help="of which only the pages are copied")
    given = parser.parse_args()
    for folder in (given.folder, given.averaging, *given.more):
        (PAGES / folder.name).mkdir(parents=True, exist_ok=True)
        for page in (*folder.glob("*.md"), folder / "tuning.json"):
            shutil.copy(page, PAGES / folder.name)
    runs = results(given.folder / "runs")
    IMAGES.mkdir(exist_ok=True)
    for name, figure in (
        ("evidence-nll", nll_figure(runs)),
        ("evidence-flatness", flatness_figure(runs)),
        ("evidence-averaging", averaging_figure(results(given.averaging / "runs"))),
        ("evidence-radius", radius_figure(given.folder / "ablation")),
    ):
        figure.update_layout(template="plotly_white", font_size=12, margin={"t": 40, "r": 20})
        figure.write_image(IMAGES / f"{name}.svg")


def results(folder: Path) -> dict[str, list[Run]]:
    """Run files by method."""
    found = {}
    for name in CONTESTANTS:
        paths = sorted(folder.glob(f"{name}-seed*.h5"))
        if paths:
            found[name] = [Run.open(path) for path in paths]
    return found


def nll_figure(runs: dict[str, list[Run]]) -> go.Figure:
    """Test NLL of every method as it is and at the best temperature, with intervals over seeds."""
    found = {
        label: {name: spread(each, reading) for name, each in runs.items()}
        for label, reading in (
            ("as trained", read.of_test("nll")),
            ("at the best temperature", read.of_tempered("nll")),
        )
    }
    names = sorted(runs, key=lambda name: -found["as trained"][name].mean)
    figure = go.Figure()
    for (label, spreads), symbol in zip(found.items(), ("circle", "circle-open"), strict=True):
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
    """lambda_1 of the samples against test NLL, a point a method and seed."""
    figure = go.Figure()
    for name, each in runs.items():
        figure.add_scatter(
            x=[read.lambda_1(run) for run in each],
            y=[read.of_test("nll")(run) for run in each],
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
        found = [curves(run)["nll"] for run in runs[name]]
        for order, colour in zip(ORDERS, COLOURS, strict=True):
            mean = np.mean([each[order] for each in found], 0)
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
    """lambda_1 and test NLL over FP-BMA's radius, with the source's prior and one around zero."""
    from plotly.subplots import make_subplots

    shown = {"lambda_1, mean over samples": read.lambda_1, "test NLL (nats)": read.of_test("nll")}
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
        for column, reading in enumerate(shown.values(), 1):
            spreads = [spread(runs[radius], reading) for radius in radii]
            figure.add_scatter(
                x=[str(radius) for radius in radii],
                y=[each.mean for each in spreads],
                error_y={"array": [each.high - each.mean for each in spreads], "thickness": 1},
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


def spread(runs: list[Run], reading: read.Reading) -> SampleMean:
    """Over seeds."""
    return SampleMean.of(np.array([reading(run) for run in runs]))


if __name__ == "__main__":
    main()
