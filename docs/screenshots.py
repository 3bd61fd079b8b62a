"""Save screenshots of the application on a folder of runs.

    python docs/screenshots.py RUNS_FOLDER OUT_FOLDER

Writes one image a page, of the two newest runs that have a surface (spectral densities are there if
they were measured), ``run.png`` and ``surface-3d.png``. Needs Playwright and Chromium on the PATH.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from landscape_app.data import list_runs
from landscape_app.server import in_background
from playwright.sync_api import Page, sync_playwright

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
        names = newest_with_surface(arguments.runs)
        with in_background(arguments.runs) as site, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
            page = browser.new_page(
                viewport={"width": 1280, "height": 900}, device_scale_factor=1.5
            )
            take(page, site, names, arguments.out)
            browser.close()
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def newest_with_surface(folder: Path) -> list[str]:
    """The newest runs that have a surface to show, at most two.

    Raises:
        InputError: there is none.
    """
    found = [run for run in list_runs(folder) if isinstance(run, Summary) and run.surfaces]
    if not found:
        raise InputError(f"no run in {folder} has a surface; `landscape demo` makes some")
    return [run.name for run in found[:2]]


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
        page.goto(f"{site}/{name}?{runs}&ranges=own&at=0,0")
        page.wait_for_selector(drawn, state="attached")
        page.wait_for_timeout(1500)
        page.screenshot(path=out / f"{name}.png", full_page=True)
    page.goto(f"{site}/surface?run={quote(names[0])}&view=3d")
    page.wait_for_selector("canvas")
    page.wait_for_timeout(2000)  # software rendering needs a moment for the first frame
    page.screenshot(path=out / "surface-3d.png")


if __name__ == "__main__":
    sys.exit(main())
