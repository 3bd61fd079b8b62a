"""What a benchmark measured: a table for the reader, and a JSON file with every value.

A benchmark makes a ``Record``, adds its tables, and ends with ``finish``. With ``--record NAME``
the values go to ``benchmarks/results/NAME.json``. ``python benchmarks/record.py`` then writes the
tables of all such files into the documentation, between ``<!-- benchmark: NAME / TITLE -->`` and
``<!-- end -->``, so that no number is typed by hand. ``--repeat`` runs the recorded commands again
and prints new medians over recorded ones. A file with a ``note`` is of a run that wrote none: it
holds what that run printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"
_MARKED = re.compile(r"(<!-- benchmark: (\S+) / (.+?) -->\n).*?(<!-- end -->)", re.S)


@dataclass
class Cell:
    """Values behind one number of a table, and the text that stands for them."""

    values: list[float]
    text: str

    @classmethod
    def of(cls, values: list[float], form: str = ".2f", *, ends: bool = False) -> Cell:
        """The median, with the least and the most if ``ends``."""
        if not values:
            return cls([], "")
        text = f"{median(values):{form}}"
        if ends and len(values) > 1:
            text += f" ({min(values):{form}} to {max(values):{form}})"
        return cls(values, text)


@dataclass
class Table:
    """One table: names of columns, and rows by name."""

    title: str
    columns: tuple[str, ...]
    rows: dict[str, list[Cell]] = field(default_factory=dict)

    def add(self, name: str, *cells: Cell) -> None:
        """Add a row."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns")
        self.rows[name] = list(cells)

    def markdown(self) -> str:
        """The table as the documentation has it."""
        lines = [f"| {' | '.join(['', *self.columns])} |".replace("|  |", "| |")]
        lines.append("|---" * (len(self.columns) + 1) + "|")
        for name, cells in self.rows.items():
            lines.append(f"| {' | '.join([name, *(cell.text for cell in cells)])} |")
        return "\n".join(lines) + "\n"


class Record:
    """The tables of one run of a benchmark.

    Args:
        options: Options of the benchmark; ``add_argument`` has added ``record``.
        packages: Packages whose versions matter, besides torch and numpy.
        device: What ran it, in words.
        needs: What a run needs, if it is too much to be repeated with the others.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        packages: tuple[str, ...] = (),
        device: str = "cpu",
        needs: str = "",
    ) -> None:
        self.name, self.folder = options.record, Path(options.record_folder)
        arguments = sys.argv[1:]
        for flag in ("--record", "--record-folder", "--folder"):
            if flag in arguments:
                at = arguments.index(flag)
                del arguments[at : at + 2]
        # Files of the user's own go by their names: where they lie differs.
        files = [argument for argument in arguments if Path(argument).is_file()]
        arguments = [Path(a).name if a in files else a for a in arguments]
        self.about: dict[str, Any] = {
            "command": ["python", f"benchmarks/{Path(sys.argv[0]).name}", *arguments],
            "files": [Path(file).name for file in files],
            "date": date.today().isoformat(),
            "machine": {
                "device": device,
                "processor": _processor(),
                "cores": os.cpu_count(),
                "system": platform.system(),
                "load": round(os.getloadavg()[0], 1),
            },
            "versions": {
                "python": platform.python_version(),
                **{name: _version(name) for name in ("torch", "numpy", *packages)},
            },
        }
        self.about |= {"needs": needs} if needs else {}
        self.tables: list[Table] = []

    def add(self, table: Table) -> None:
        """Add a finished table and print it."""
        self.tables.append(table)
        print(f"\n{table.title}\n\n{table.markdown()}", flush=True)

    def finish(self) -> None:
        """Write the file, if the run has a name."""
        if self.name is None:
            return
        tables = [
            {
                "title": table.title,
                "columns": table.columns,
                "rows": {name: [vars(c) for c in cells] for name, cells in table.rows.items()},
            }
            for table in self.tables
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.name}.json"
        path.write_text(json.dumps({**self.about, "tables": tables}, indent=1) + "\n")
        print(f"recorded in {path}", file=sys.stderr)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add the options that all benchmarks share."""
    parser.add_argument("--record", metavar="NAME", help="write results/NAME.json")
    parser.add_argument("--record-folder", default=str(RESULTS), help=argparse.SUPPRESS)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Table]]:
    """What is known about a recorded run, and its tables by title."""
    about = json.loads(path.read_text())
    tables = {}
    for entry in about.pop("tables"):
        table = Table(entry["title"], tuple(entry["columns"]))
        for name, cells in entry["rows"].items():
            table.add(name, *(Cell(**cell) for cell in cells))
        tables[table.title] = table
    return about, tables


def provenance(about: dict[str, Any]) -> str:
    """Where the numbers come from, as one line under a table."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    machine = about["machine"]
    if "note" in about:
        command = f"`{shlex.join(about['command'])}`, " if about["command"] else ""
        return f"\n{command}{about['date']}; {machine['device']}; {versions}. {about['note']}\n"
    where = machine["processor"] if machine["device"] == "cpu" else machine["device"]
    return (
        f"\n`{shlex.join(about['command'])}`, {about['date']}; {where}, {machine['cores']} cores, "
        f"load {machine['load']}; {versions}.\n"
    )


def written(text: str, folder: Path = RESULTS) -> str:
    """A page with the tables of the recorded runs in their places."""

    def fill(match: re.Match[str]) -> str:
        about, tables = read(folder / f"{match[2]}.json")
        return f"{match[1]}\n{tables[match[3]].markdown()}{provenance(about)}\n{match[4]}"

    return _MARKED.sub(fill, text)


def repeat(folder: Path = RESULTS) -> None:
    """Run what was recorded again, and print new medians over recorded ones."""
    with tempfile.TemporaryDirectory() as temporary:
        for path in sorted(folder.glob("*.json")):
            about, before = read(path)
            if "note" in about:
                print(f"{path.stem}: not repeated. {about['note']}")
                continue
            if "needs" in about:
                command = " ".join(about["command"])
                print(f"{path.stem}: not repeated, needs {about['needs']}: {command}")
                continue
            lacking = [name for name in about.get("files", ()) if not Path(name).exists()]
            if lacking:
                print(f"{path.stem}: not repeated, without {' and '.join(lacking)} here")
                continue
            again = [sys.executable, *about["command"][1:], "--record", path.stem]
            subprocess.run(
                [*again, "--record-folder", temporary],
                check=True,
                cwd=Path(__file__).parent.parent,
                stdout=subprocess.DEVNULL,
            )
            _, now = read(Path(temporary) / path.name)
            print(f"{path.stem}: new over recorded ({about['date']})")
            for title, table in before.items():
                for name, cells in table.rows.items():
                    ratios = [
                        f"{column} {median(new.values) / median(old.values):.2f}"
                        for column, old, new in zip(
                            table.columns, cells, now[title].rows[name], strict=True
                        )
                        if old.values and new.values and median(old.values)
                    ]
                    print(f"  {title} / {name}: {', '.join(ratios)}", flush=True)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    """Write the tables into the documentation, or repeat the recorded runs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", action="store_true", help="run the recorded commands again")
    if parser.parse_args().repeat:
        repeat()
        return
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text()
        if (new := written(text)) != text:
            page.write_text(new)
            print(page)


if __name__ == "__main__":
    main()
