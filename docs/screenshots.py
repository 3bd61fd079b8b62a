"""Save screenshots of the application on a folder of runs.

    python docs/screenshots.py RUNS_FOLDER OUT_FOLDER

Writes ``runs.png``, ``run.png`` and ``surface-3d.png`` of the newest run that has a surface. Needs
Playwright and a Chromium on the PATH.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from landscape_app.data import list_runs
from landscape_app.pages.runs import address
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
        name = newest_with_surface(arguments.runs)
        with in_background(arguments.runs) as site, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
            page = browser.new_page(
                viewport={"width": 1280, "height": 1130}, device_scale_factor=1.5
            )
            take(page, site, name, arguments.out)
            browser.close()
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def newest_with_surface(folder: Path) -> str:
    """The newest run that has a surface to show.

    Raises:
        InputError: there is none.
    """
    for run in list_runs(folder):
        if isinstance(run, Summary) and run.surfaces:
            return run.name
    raise InputError(f"no run in {folder} has a surface; `landscape demo` makes some")


def take(page: Page, site: str, name: str, out: Path) -> None:
    """Visit the two pages and save the three images."""
    page.goto(site)
    page.wait_for_selector("table.runs")
    page.screenshot(path=out / "runs.png")
    page.goto(site + address(name))
    page.wait_for_selector("#surface .contourlayer path")
    page.wait_for_selector("#training .scatterlayer path")
    page.screenshot(path=out / "run.png")
    page.get_by_label("3D").check()
    page.wait_for_selector("#surface canvas")
    page.wait_for_timeout(2000)  # software rendering needs a moment for the first frame
    page.mouse.move(0, 0)  # no buttons over the figure
    page.locator("section", has=page.locator("#surface")).screenshot(path=out / "surface-3d.png")


if __name__ == "__main__":
    sys.exit(main())
