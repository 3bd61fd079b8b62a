"""Two processes that share the data train and measure what one does."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import Shared

from landscape.cli import main
from landscape.errors import InputError
from landscape.objective.batches import shard
from landscape.store import Run


def test_examples_are_dealt_out_once_each() -> None:
    sizes = (7, 1, 2, 5)
    x = torch.arange(15)
    batches = [(part, part) for part in x.split(list(sizes))]
    for count in (1, 2, 3):
        parts = [list(shard(batches, rank, count)) for rank in range(count)]
        dealt = [torch.cat([inputs for inputs, _ in part]) for part in parts]
        assert torch.cat(dealt).sort().values.tolist() == x.tolist()
        assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    whole = [list(shard(batches, rank, 2, divides=False)) for rank in range(2)]
    assert [len(inputs) for part in whole for inputs, _ in part] == [7, 2, 1, 5]


BOTH = """
import contextlib, json, os, sys
from landscape.cli import main
folder, commands, port = sys.argv[1:]
for command in json.loads(commands):
    with open(f"{folder}/{command[0]}-{os.environ['RANK']}.txt", "w") as printed:
        with contextlib.redirect_stdout(printed):
            assert main(command) == 0, command
    # The processes meet a second time, at a place where nothing is left of the first.
    os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_PORT": port}
"""


@pytest.fixture(scope="module")
def launched(shared: Shared) -> Path:
    """What one process and two have trained and measured, and what the two have printed.

    The two train and measure in one launch, since each begins with long imports.
    """

    def fill(folder: Path) -> None:
        swag = ["train", "digits", "swag", "--model", "mlp", "--shots", "2", "--epochs", "6"]
        swag += ["--samples", "2", "--rank", "2"]
        assert main([*swag, "--device", "cpu", "--out", str(folder / "one")]) == 0
        shutil.copytree(folder / "one", folder / "two")
        commands = {
            name: [train_into(folder / name), measure_in(folder / name)] for name in ("one", "two")
        }
        assert [main(command) for command in commands["one"]] == [0, 0]
        script = folder / "both.py"
        script.write_text(BOTH)
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        arguments = [str(folder), json.dumps(commands["two"]), str(port)]
        subprocess.run([*launch, str(script), *arguments], check=True, timeout=200)

    return shared("torchrun", fill)


def train_into(folder: Path) -> list[str]:
    command = ["train", "digits", "map", "--shots", "3", "--epochs", "3", "--samples", "1"]
    return [*command, "--device", "cpu", "--out", str(folder)]


def measure_in(folder: Path) -> list[str]:
    command = ["measure", "--samples", "2", "--eigenvalues", "2", "--grid", "3", "--plane"]
    command += ["random", "--density", "2", "--trace-matvecs", "5", "--device", "cpu"]
    return [*command, str(folder / "digits-swag-seed0.h5")]


def printed(folder: Path, command: str) -> str:
    """What the two processes have printed together."""
    return "".join((folder / f"{command}-{rank}.txt").read_text() for rank in range(2))


def test_torchrun_trains_as_one_process_does(launched: Path) -> None:
    assert printed(launched, "train").count("accuracy") == 1
    one, two = (Run.open(launched / name / "digits-map-seed0.h5") for name in ("one", "two"))
    np.testing.assert_allclose(
        two["training"]["train_loss"], one["training"]["train_loss"], rtol=1e-4
    )
    assert two.attributes["status"] == "complete"


def test_torchrun_measures_as_one_process_does(launched: Path) -> None:
    assert printed(launched, "measure").count("lambda_1") == 1
    one, two = (Run.open(launched / name / "digits-swag-seed0.h5") for name in ("one", "two"))
    assert two.attributes["status"] == "complete"
    for name in ("eigenvalues", "trace", "loss", "accuracy", "matvecs"):
        np.testing.assert_allclose(two["samples"][name], one["samples"][name], rtol=1e-3)
    scale = one["density"]["density"].max()
    np.testing.assert_allclose(
        two["density"]["density"], one["density"]["density"], atol=2e-2 * scale
    )
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(
            two["surfaces/random"][name], one["surfaces/random"][name], rtol=1e-4
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "2"], "--workers and --dask the samples"),
        (["--sharpness", "all"], "torchrun"),
    ],
)
def test_what_torchrun_does_not_divide_is_refused(
    monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    from landscape.cli import measuring

    monkeypatch.setattr(measuring.distributed, "count", lambda: 2)
    measurement = measuring.Measurement(sharpness="all" if "all" in options else None)
    with (
        pytest.raises(InputError, match=message),
        measuring._sharing("cpu", 2 if "2" in options else 0, None, measurement),
    ):
        pass
