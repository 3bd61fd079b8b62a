"""Two processes that share the data measure what one does."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

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


def test_torchrun_measures_as_one_process_does(tmp_path: Path) -> None:
    train = ["train", "digits", "swag", "--model", "mlp", "--shots", "2", "--epochs", "6"]
    train += ["--samples", "2", "--rank", "2"]
    assert main([*train, "--device", "cpu", "--out", str(tmp_path / "one")]) == 0
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    runs = [tmp_path / name / "digits-swag-seed0.h5" for name in ("one", "two")]
    measure = ["measure", "--samples", "2", "--eigenvalues", "2", "--grid", "3", "--plane"]
    measure += ["random", "--density", "2", "--trace-matvecs", "5", "--device", "cpu"]
    assert main([*measure, str(runs[0])]) == 0
    both = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"]
    command = [*both, "landscape", *measure, str(runs[1])]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("lambda_1") == 1
    one, two = map(Run.open, runs)
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
