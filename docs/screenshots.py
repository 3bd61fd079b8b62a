"""Save screenshots of the application on a folder of runs.

    python docs/screenshots.py RUNS_FOLDER OUT_FOLDER

Writes one image a page, of the two newest runs that have a surface (spectral densities are there if
they were measured), ``run.png`` and ``surface-3d.png``. If the folder has the demo's runs ``vi``
and ``fp-bma``, it shows these, and writes ``posteriors.png``: the loss around a sample of each.
Needs Playwright, kaleido and Chromium on the PATH.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

import numpy as np
import plotly.graph_objects as go
from landscape_app.run_list import list_runs
from landscape_app.server import in_background
from playwright.sync_api import Page, sync_playwright
from plotly.subplots import make_subplots

from landscape import Objective, Run, workflow
from landscape.curvature.estimators.lanczos import lanczos
from landscape.errors import InputError
from landscape.store import Summary

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
]

TWO = {"vi": "VI: gradient at the posterior", "fp-bma": "FP-BMA: gradient at the worst place"}
COLOURS = ("#d95f02", "#1b9e77")


def main() -> int:
    """Take the screenshots; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, help="folder of run files")
    parser.add_argument("out", type=Path, help="folder for the images")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("screenshots need chromium or google-chrome on the PATH", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        names = with_surface(arguments.runs)
        with in_background(arguments.runs) as site, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
            page = browser.new_page(
                viewport={"width": 1280, "height": 900}, device_scale_factor=1.5
            )
            take(page, site, names, arguments.out)
            browser.close()
        if all((arguments.runs / f"{name}.h5").exists() for name in TWO):
            two_posteriors(arguments.runs).write_image(arguments.out / "posteriors.png", scale=2)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def two_posteriors(folder: Path) -> go.Figure:
    """The loss around a sample of the demo's VI and one of FP-BMA, and the samples' eigenvalues.

    The plane holds the first sample of both posteriors, which have the same noise. Its second
    direction is the top eigenvector of the sum of their Hessians, so neither of the two chooses it.
    """
    trained = [workflow.load(folder / f"{name}.h5", device="cpu") for name in TWO]
    objective = Objective(trained[0].posterior.space, trained[0].task.train)
    first, second = (one.posterior.sample(1, 0)[0] for one in trained)
    hessians = [objective.hessian(w) for w in (first, second)]
    top = lanczos(lambda v: sum(h.matvec(v) for h in hessians), len(first), k=1, tolerance=1e-2)
    length = float((second - first).norm())
    across = (second - first) / length
    steep = top.vectors[0].to(across)
    steep = steep - across * (steep @ across)
    steep = steep / steep.norm()
    x, y = np.linspace(-0.5 * length, 1.5 * length, 61), np.linspace(-1.2, 1.2, 61)
    loss = [
        [float(objective.loss(first + float(a) * across + float(b) * steep)) for a in x] for b in y
    ]
    figure = make_subplots(
        1,
        2,
        column_widths=[0.64, 0.36],
        horizontal_spacing=0.2,
        subplot_titles=("Training loss, one sample of each posterior", "λ₁ at ten samples of each"),
    )
    figure.add_contour(
        x=x,
        y=y,
        z=np.minimum(loss, 3.0),
        contours={"start": 0, "end": 3, "size": 0.2},
        colorscale="Blues",
        reversescale=True,
        line_width=0.5,
        colorbar={"title": "nats", "x": 0.54, "thickness": 12},
    )
    for index, (name, label) in enumerate(TWO.items()):
        eigenvalues = Run.open(folder / f"{name}.h5")["samples"]["eigenvalues"][:, 0]
        marker = {"color": COLOURS[index], "size": 11, "line": {"width": 1, "color": "white"}}
        style = {"name": label, "legendgroup": label, "mode": "markers", "marker": marker}
        figure.add_scatter(x=[index * length], y=[0.0], **style)
        places = {"x": [name.upper()] * len(eigenvalues), "y": eigenvalues}
        figure.add_scatter(**places, **style, showlegend=False, row=1, col=2)
    figure.update_xaxes(title_text="from VI's sample to FP-BMA's", row=1, col=1)
    figure.update_yaxes(title_text="steepest direction of both", row=1, col=1)
    figure.update_yaxes(title_text="largest Hessian eigenvalue", rangemode="tozero", row=1, col=2)
    figure.update_annotations(font_size=14)
    return figure.update_layout(
        template="plotly_white",
        width=1000,
        height=440,
        margin={"t": 40, "b": 40, "l": 60, "r": 20},
        legend={"orientation": "h", "y": -0.18},
        font_size=13,
    )


def with_surface(folder: Path) -> list[str]:
    """The demo's two posteriors, or else the two newest runs that have a surface to show.

    Raises:
        InputError: there is none.
    """
    found = [run for run in list_runs(folder) if isinstance(run, Summary) and run.surfaces]
    if not found:
        raise InputError(f"no run in {folder} has a surface; `landscape demo` makes some")
    names = [run.name for run in found]
    return [*TWO] if set(TWO) <= set(names) else names[:2]


def take(page: Page, site: str, names: list[str], out: Path) -> None:
    """Visit the pages and save an image of each."""
    page.goto(site)
    page.wait_for_selector(".ag-row")
    page.wait_for_timeout(500)
    page.screenshot(path=out / "runs.png")
    page.goto(f"{site}/run/{quote(names[0])}")
    page.wait_for_selector(".metrics tbody tr")
    page.screenshot(path=out / "run.png")
    runs = "&".join(f"run={quote(name)}" for name in names)
    for name, drawn in (
        ("surface", "#slices .scatterlayer path.js-line"),
        ("flatness", "#density .js-plotly-plot .gtitle, #density-message .notice"),
        ("averaging", "#averaging .scatterlayer path.js-line"),
        ("calibration", "#calibration .scatterlayer path.point"),
        ("training", "#training .scatterlayer path.js-line"),
    ):
        page.goto(f"{site}/{name}?{runs}&at=0,0")
        page.wait_for_selector(drawn, state="attached")
        page.wait_for_timeout(1500)
        page.screenshot(path=out / f"{name}.png", full_page=True)
    page.goto(f"{site}/surface?run={quote(names[0])}&view=3d")
    page.wait_for_selector("canvas")
    page.wait_for_timeout(2000)  # software rendering needs a moment for the first frame
    page.screenshot(path=out / "surface-3d.png")


if __name__ == "__main__":
    sys.exit(main())
