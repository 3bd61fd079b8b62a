"""Every notebook runs from top to bottom on the results of a short demo."""

import re
from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient

from landscape.cli import main

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
# What a kernel started by a test warns about is not ours.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    assert (
        main(["demo", "--epochs", "12", "--samples", "3", "--grid", "3", "--out", str(folder)]) == 0
    )
    return folder


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_RUNS", str(runs))
    monkeypatch.setenv("LANDSCAPE_SMOKE", "1")
    monkeypatch.setenv("PLOTLY_RENDERER", "json")
    notebook = jupytext.read(path)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    figures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "application/json" in output.get("data", {})
    ]
    shown = r"^(figures\.|go\.Figure\(|figure\.update_layout\()"
    assert len(figures) == len(re.findall(shown, path.read_text(), re.M))


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_the_executed_copy_is_of_the_same_source_and_has_no_error(path: Path) -> None:
    executed = jupytext.read(path.with_suffix(".ipynb"))
    cells = [(cell.cell_type, cell.source) for cell in executed.cells]
    assert cells == [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
