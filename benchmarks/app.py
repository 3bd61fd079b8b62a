"""Response times and memory of the dashboard for a folder of 100 runs.

    python benchmarks/app.py
    python benchmarks/app.py --runs 20 --examples 10000

Each synthetic run has 30 samples, a surface of 101 x 101 points, a spectral density and predictions
for a test set. ``landscape app`` serves them from a separate process.

The first page is timed in Chromium (if installed), from the address to the rows of the table,
without the index of the folder and with it. The server has just started: it begins to read the list
while the browser starts. The list alone is timed over HTTP, from the moment at which such a server
says its address. Each callback is timed alone over HTTP, with the request of a browser, for
one run and for four runs, first with an empty cache and then again; the table has medians over as
many rounds as there are runs for, each with runs that nobody has asked for yet. If the machine does
other work, look at the CPU time, which has steps of 10 ms. Memory is the peak of the server after
all requests.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from landscape_app import create_app
from landscape_app.index import FEWEST, NAME
from landscape_app.pages import FIGURE_PAGES
from record import Cell, Record, Table, add_argument

from landscape.store import Group, Run, schema
from landscape.store.groups import file_image

CHROMIUM_FLAGS = ["--headless", "--no-sandbox", "--disable-background-networking"]


def make(folder: Path, index: int, samples: int, points: int, examples: int) -> None:
    """Write one run."""
    generator = np.random.default_rng(index)
    eigenvalues = np.sort(generator.lognormal(2, 0.5, (samples, 5)), axis=1)[:, ::-1]
    side = np.linspace(-3, 3, points)
    across, along = np.meshgrid(side, side)
    logits = generator.normal(0, 2, (samples, examples, 10)).astype("f4")
    logits -= np.log(np.exp(logits).sum(2, keepdims=True))
    grid = np.linspace(-2, 40, 512)
    density = np.exp(-0.5 * (grid / 0.4) ** 2)[None] * generator.uniform(0.9, 1.1, (samples, 1))
    groups: dict[str, dict[str, Any]] = {
        "training": {"epoch": np.arange(1, 101), "train_loss": np.exp(-np.arange(100) / 30)},
        "samples": {
            "eigenvalues": eigenvalues,
            "residuals": eigenvalues * 0.01,
            "converged": np.ones_like(eigenvalues),
            "trace": eigenvalues.sum(1) * 2,
            "trace_standard_error": eigenvalues.sum(1) * 0.1,
            "matvecs": np.full(samples, 60),
        },
        "density": {"grid": grid, "density": density, "standard_error": 0.05 * density},
        "predictions": {
            "log_probabilities": logits,
            "labels": generator.integers(0, 10, examples),
            "nll": generator.uniform(0.25, 0.4, samples),
            "accuracy": generator.uniform(0.88, 0.93, samples),
        },
        "surfaces/samples": {
            "x": side,
            "y": side,
            "loss": across**2 + 3 * along**2 + 0.01 * generator.random((points, points)),
            "sample_x": generator.uniform(-1, 1, samples),
            "sample_y": generator.uniform(-1, 1, samples),
            "sample_off_plane": generator.uniform(0, 3, samples),
            "sample_loss": generator.uniform(0, 1, samples),
        },
    }
    about: dict[str, str | int | float] = {
        "split": "test",
        "examples": examples,
        "samples": samples,
    }
    about |= {"accuracy": 0.93, "nll": 0.24, "ece": 0.03, "brier": 0.1}
    path = folder / f"run-{index:03d}.h5"
    run = Run.create(path, method="swag", task="synthetic", seed=index, parameter_count=10_000)
    run.attributes["status"] = "complete"
    whole = {name: Group(schema.conform(name, arrays), about) for name, arrays in groups.items()}
    path.write_bytes(file_image(run.attributes, whole))


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, int]]:
    """Run ``landscape app`` on the folder. Yields its address and process id."""
    command = [sys.executable, "-u", "-m", "landscape", "app", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        try:
            yield address[0], process.pid
        finally:
            process.terminate()


def first_page(folder: Path, times: int) -> list[float]:
    """Seconds from the address to the table's rows in a new browser; empty without a browser.

    Args:
        folder: Folder of the runs.
        times: Number of times that the browser opens the page; it keeps its scripts meanwhile.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return []
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, served(folder) as (site, _):
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        page = browser.new_page()
        seconds = []
        for _ in range(times):
            page.goto("about:blank")
            begun = time.perf_counter()
            page.goto(site, wait_until="commit")
            page.locator(".ag-row").first.wait_for()
            seconds.append(time.perf_counter() - begun)
        while not (folder / NAME).exists() and len(list(folder.glob("*.h5"))) >= FEWEST:
            time.sleep(0.1)
        browser.close()
    return seconds


def ask(site: str, callback: str, inputs: list[dict[str, str]], address: str) -> tuple[float, int]:
    """Seconds until ``callback`` answers for an address, and the size of the answer in bytes."""
    shown = {"address": address, "stamp": "", "dark": False, "webgl": True}
    outputs = [output.rsplit(".", 1) for output in callback.strip(".").split("...")]
    body = {
        "output": callback,
        "outputs": [{"id": name, "property": kind} for name, kind in outputs],
        "inputs": [{**each, "value": shown} for each in inputs],
        "changedPropIds": [f"{inputs[0]['id']}.data"],
    }
    request = urllib.request.Request(
        f"{site}/_dash-update-component",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    begun = time.perf_counter()
    with urllib.request.urlopen(request) as answer:
        content = answer.read()
        assert answer.status == 200, f"{callback}: {answer.status}"
    return time.perf_counter() - begun, len(content)


def busy(process: int) -> float:
    """CPU time of a process in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(process: int) -> float:
    """Peak memory of a process in MB."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--points", type=int, default=101, help="a side of the surfaces")
    parser.add_argument("--examples", type=int, default=1000, help="of the test set")
    parser.add_argument("--repeat", type=int, default=5, help="times that the first page is opened")
    parser.add_argument("--folder", type=Path, help="where the runs are kept (default: nowhere)")
    add_argument(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(options.runs):
            if not (folder / f"run-{index:03d}.h5").exists():
                make(folder, index, options.samples, options.points, options.examples)
        measure(folder, options)


def measure(folder: Path, options: argparse.Namespace) -> None:
    size = sum(path.stat().st_size for path in folder.glob("*.h5")) / 1e6
    record = Record(options, ("dash", "plotly", "dash-mantine-components", "h5py"))
    print(
        f"{options.runs} runs of {options.samples} samples, surfaces of {options.points} x "
        f"{options.points}, {options.examples} examples: {size:.0f} MB"
    )
    callbacks = {
        key.strip(".").split(".")[0]: (key, callback["inputs"])
        for key, callback in create_app(folder).callback_map.items()
        if key.startswith("..")
    }
    cold: list[float] = []
    warm: list[float] = []
    reopened: list[float] = []
    lists: list[float] = []
    for _ in range(options.repeat):
        (folder / NAME).unlink(missing_ok=True)
        with served(folder) as (site, _):
            lists.append(ask(site, *callbacks["runs-header"], "/")[0])
        (folder / NAME).unlink(missing_ok=True)
        cold += first_page(folder, 1)
        seconds = first_page(folder, 3)
        warm += seconds[:1]
        reopened += seconds[2:]  # Chromium keeps compiled scripts from the second time on
    columns = ("runs", "first, ms", "of it CPU, ms", "again, ms", "kB")
    table = Table("answers of the server", columns)
    with served(folder) as (site, process):

        def time_it(filled: str, address: str, count: int) -> tuple[float, ...]:
            before = busy(process)
            first, length = ask(site, *callbacks[filled], address)
            worked = busy(process) - before
            again, _ = ask(site, *callbacks[filled], address)
            return count, 1e3 * first, 1e3 * worked, 1e3 * again, length / 1e3

        answers = {f"list of runs, {options.runs}": [time_it("runs-header", "/", options.runs)]}
        for graph, view, count, address in figures(options.runs):
            name = f"{graph}{' 3D log' if view else ''}, {count}"
            answers.setdefault(name, []).append(time_it(f"{graph}-drawn", address, count))
        firsts: dict[str, float] = {}
        for name, rounds in answers.items():
            columns_of = [list(numbers) for numbers in zip(*rounds, strict=True)]
            table.add(name, *(Cell.of(numbers, ".0f") for numbers in columns_of))
            firsts[name] = statistics.median(columns_of[1])
        del firsts[next(iter(firsts))]  # the list
        overview = Table("overview", ("",))
        overview.add("list without an index, s", Cell.of(lists, ends=True))
        for words, times in (
            ("without an index", cold),
            ("with an index", warm),
            ("with an index, third time in one Chromium", reopened),
        ):
            overview.add(f"first page in Chromium {words}, s", Cell.of(times, ends=True))
        slowest = sorted(firsts.items(), key=lambda item: item[1], reverse=True)
        for words, (name, first) in zip(("slowest", "next"), slowest, strict=False):
            # The name is no row: it may differ when this is repeated.
            overview.add(f"{words} figure, ms", Cell([first], f"{first:.0f} ({name})"))
        every = Cell.of(list(firsts.values()), ".0f", ends=True)
        overview.add(f"all {len(firsts)} figures, ms", every)
        overview.add("peak memory of the server, MB", Cell.of([peak(process)], ".0f"))
        record.add(table)
        record.add(overview)
        record.finish()


def figures(runs: int) -> Iterator[tuple[str, str, int, str]]:
    """Figures of one run and of four: place, kind of drawing, number of runs, and address.

    They are repeated as often as there are other runs for each, of which nothing is known yet.
    """
    kinds = [
        (page.key, graph, view, count)
        for page in FIGURE_PAGES
        for graph in page.graphs
        if graph not in ("surface-1", "surface-2", "surface-3")  # as surface-0
        for view in (("", "&view=3d&loss=log") if graph == "surface-0" else ("",))
        for count in (1, 4)
    ]
    numbers = itertools.count()
    for _ in range(max(1, runs // sum(count for *_, count in kinds))):
        for key, graph, view, count in kinds:
            names = [f"run-{next(numbers) % runs:03d}" for _ in range(count)]
            chosen = "&".join(f"run={name}" for name in names)
            yield graph, view, count, f"/{key}?{chosen}{view}&at=0,0"


if __name__ == "__main__":
    main()
