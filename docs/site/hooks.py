"""Pages of the site that are made from other files: notebooks, changelog, commands, gallery."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).parents[2]
COMMANDS = ("demo", "train", "import", "measure", "surface", "study", "inspect", "export", "app")


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    figures: dict[str, list[tuple[str, str]]] = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        figures[path.stem] = add_notebook(files, config, path)
    pages = {
        "changelog.md": (ROOT / "CHANGELOG.md").read_text().replace("](docs/", "]("),
        "reference/command-line.md": command_line(),
        "gallery.md": gallery(figures),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def add_notebook(files: Files, config: Any, path: Path) -> list[tuple[str, str]]:
    """Add a notebook as a page with its images, and return (heading, image) of its figures."""
    names = path.stem + "/{cell_index}-{index}{extension}"
    exporter = MarkdownExporter(
        config=Config(ExtractOutputPreprocessor={"output_filename_template": names})
    )
    notebook: Any = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        cell.outputs = [output for output in outputs if not _is_progress(output)]
    text, resources = exporter.from_notebook_node(notebook)
    for name, data in resources["outputs"].items():
        files.append(File.generated(config, f"notebooks/{name}", content=data))
    text = text.replace("![png](", f"![Figure of {path.stem}](")
    source = f"\n*This page is the notebook `notebooks/{path.name}`, as it was executed.*\n"
    files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text + source))
    figures, heading = [], path.stem
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif image := re.match(r"!\[.*?\]\((.+?)\)", line):
            figures.append((heading, image[1]))
    return figures


def _is_progress(output: Any) -> bool:
    widget = "application/vnd.jupyter.widget-view+json"
    return output.get("name") == "stderr" or widget in output.get("data", {})


def command_line() -> str:
    """The help of every command, as a shell prints it."""
    parts = [
        "# Command line\n\nResults go to standard output, progress and errors to standard error. "
        "The exit code is 0, or 1 when work that started failed, or 2 when the request was wrong, "
        "or 130 after Ctrl-C. `landscape train TASK METHOD --help` also lists the settings of "
        "the task and the method.\n"
    ]
    script = (
        "import contextlib, io, sys\n"
        "from landscape.cli import main\n"
        "for command in sys.argv[1:]:\n"
        "    print('\\0', end='')\n"
        "    main([command, '--help'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *COMMANDS],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"COLUMNS": "80", "PATH": "/usr/bin:/bin", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)},
    )
    for command, text in zip(COMMANDS, done.stdout.split("\0")[1:], strict=True):
        parts.append(f"## landscape {command}\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


def gallery(figures: dict[str, list[tuple[str, str]]]) -> str:
    """Thumbnails of the dashboard's pages and of the notebooks' figures."""
    dashboard = {
        "surface.png": "Loss surfaces of two runs",
        "surface-3d.png": "A surface in 3D",
        "flatness.png": "Eigenvalues and trace over samples",
        "averaging.png": "Averages over samples",
        "calibration.png": "Reliability",
        "training.png": "Training",
        "runs.png": "All runs of a folder",
        "run.png": "One run",
    }
    parts = [
        "# Gallery\n\nFigures of the [dashboard](dashboard.md) and of the notebooks. A click "
        "opens the page that a figure comes from.\n\n## The dashboard\n"
    ]
    parts.append(_thumbnails([(t, f"images/{n}", "dashboard.md") for n, t in dashboard.items()]))
    for name, pictures in figures.items():
        if pictures:
            page = f"notebooks/{name}.md"
            parts.append(f"## {name.replace('_', ' ').capitalize()}\n")
            parts.append(_thumbnails([(h, f"notebooks/{image}", page) for h, image in pictures]))
    return "\n".join(parts)


def _thumbnails(pictures: list[tuple[str, str, str]]) -> str:
    items = [
        f"[![{title}]({image}){{ loading=lazy }}<span>{title}</span>]({page})"
        for title, image, page in pictures
    ]
    return '<div class="thumbnails" markdown>\n\n' + "\n".join(items) + "\n\n</div>\n"
