"""The figures of docs/evidence.md, from the run files of ``landscape study``.

    python docs/evidence.py runs/study

Needs the extra ``notebooks`` (kaleido) and Chrome or Chromium.
"""

import argparse
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from landscape.store import Run
from landscape.store.summary import Spread
from landscape.study import CONTESTANTS
from landscape.study import readings as read
from landscape.study.averaging import ORDERS, curves

IMAGES = Path(__file__).parent / "images"
SHOWN = ("swag", "vi", "sgld", "fp-bma")
COLOURS = ("#3366aa", "#cc6633", "#999999")


def main() -> None:
    """Write every figure as SVG."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    runs = results(parser.parse_args().folder / "runs")
    IMAGES.mkdir(exist_ok=True)
    for name, figure in (
        ("evidence-nll", nll_figure(runs)),
        ("evidence-flatness", flatness_figure(runs)),
        ("evidence-averaging", averaging_figure(runs)),
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
    """Test NLL of every method, with its interval over seeds."""
    spreads = {name: spread(each, read.of_test("nll")) for name, each in runs.items()}
    names = sorted(spreads, key=lambda name: -spreads[name].mean)
    colours = [COLOURS[name.startswith("fp-bma")] for name in names]
    figure = go.Figure(
        go.Scatter(
            x=[spreads[name].mean for name in names],
            y=names,
            mode="markers",
            marker_color=colours,
            error_x={
                "array": [spreads[name].high - spreads[name].mean for name in names],
                "thickness": 1,
                "color": COLOURS[2],
            },
        )
    )
    return figure.update_layout(
        title="Test NLL (nats), mean and 95 % interval over seeds", width=700, height=480
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


def spread(runs: list[Run], reading: read.Reading) -> Spread:
    """Over seeds."""
    return Spread.of(np.array([reading(run) for run in runs]))


if __name__ == "__main__":
    main()
