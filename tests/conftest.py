"""One thread a process: small problems are slower on two, and the tests run in parallel."""

import contextlib
import fcntl
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cases import Shared

from landscape.cli import main

TRAIN = ["train", "digits", "swag", "--model", "mlp", "--epochs", "10", "--rank", "3"]
TRAIN += ["--samples", "2"]
DEMO = ["demo", "--epochs", "12", "--samples", "3", "--grid", "3"]

torch.set_num_threads(1)
# Files are as whole without it, unless the machine loses power; it takes 10 ms or more each time.
os.fsync = lambda descriptor: None


def pytest_collectstart(collector: pytest.Collector) -> None:
    """What a file draws at its import does not depend on the files before it."""
    if isinstance(collector, pytest.Module):
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """A test that fails, fails again."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Make a folder once for all processes of the tests; it is to be read only."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder = root / name
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                unfinished = root / f"{name}.unfinished"
                fill(unfinished)
                unfinished.rename(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def demo_runs(shared: Shared) -> Path:
    """The folder of a short demo, to be read only; what it printed is beside it."""

    def fill(folder: Path) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert main([*DEMO, "--out", str(folder / "runs")]) == 0
        (folder / "printed").write_text(printed.getvalue())

    return shared("demo", fill) / "runs"


@pytest.fixture(scope="session")
def trained_run(shared: Shared) -> Path:
    """A run that is trained and not measured, to be read only."""

    def fill(folder: Path) -> None:
        assert main([*TRAIN, "--out", str(folder), "--name", "run"]) == 0

    return shared("trained", fill) / "run.h5"
