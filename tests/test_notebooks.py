"""Every notebook runs from top to bottom on the results of a short demo."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
# What a kernel started by a test warns about is not ours.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def client(demo_runs: Path) -> Iterator[NotebookClient]:
    """A kernel for all notebooks: its imports take longer than most of them."""
    settings = {
        "LANDSCAPE_RUNS": str(demo_runs),
        "LANDSCAPE_SMOKE": "1",
        "PLOTLY_RENDERER": "json",
    }
    where = {"metadata": {"path": NOTEBOOKS}}
    client = NotebookClient(new_notebook(), timeout=300, resources=where)
    client.execute(cleanup_kc=False, env=os.environ | settings)
    yield client
    client.nb = new_notebook()
    client.execute()  # ends the kernel


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, client: NotebookClient) -> None:
    notebook = jupytext.read(path)
    forget = new_code_cell("%reset -f")  # the names of the notebook before
    notebook.cells.insert(0, forget)
    client.nb = notebook
    client.execute(cleanup_kc=False)
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
