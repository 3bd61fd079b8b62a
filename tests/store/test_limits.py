"""The budget of a run file: asked of the whole request before a byte of it is read."""

import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from groups import GROUPS

from landscape.errors import InputError
from landscape.runtime import limits
from landscape.store import Run, summarise

SECONDS, MEGABYTES = 1.0, 600


def declare(
    file: h5py.File, path: str, shape: tuple[int, ...], dtype: str, *, written: bool = False
) -> None:
    """A variable of zeros: never written, or each of its chunks a few bytes of gzip."""
    if path in file:
        del file[path]
    chunks = tuple(min(length, 1 << 20) if length == max(shape) else 1 for length in shape)
    data = file.create_dataset(path, shape, dtype, chunks=chunks, compression="gzip")
    if written:
        packed = zlib.compress(np.zeros(chunks, dtype).tobytes(), 9)
        for start in range(0, shape[0], chunks[0]):
            data.id.write_direct_chunk((start,), packed)


def _labels(file: h5py.File) -> None:
    declare(file, "predictions/labels", (10**9,), "u1")


def _labels_written(file: h5py.File) -> None:
    declare(file, "predictions/labels", (10**8,), "u1", written=True)


def _labels_and_more(file: h5py.File) -> None:
    declare(file, "predictions/labels", (5 * 10**7,), "u1")
    declare(file, "predictions/log_probabilities", (1, 5 * 10**7, 1), "u1")


def _epochs(file: h5py.File) -> None:
    for name in ("epoch", "train_loss", "validation_loss"):
        declare(file, f"training/{name}", (10**8,), "u1")


def _grid(file: h5py.File) -> None:
    declare(file, "surfaces/samples/loss", (30_000, 30_000), "u1")


def _samples(file: h5py.File) -> None:
    declare(file, "samples/trace", (4_000_000,), "f8", written=True)


def _unknown(file: h5py.File) -> None:
    declare(file, "notes/numbers", (10**9,), "u1", written=True)


def _pieces(file: h5py.File) -> None:
    del file["samples/trace"]
    file["samples"].create_dataset("trace", (10**6,), "f8", chunks=(1,), compression="gzip")


def _large_number(file: h5py.File) -> None:
    kind = h5py.h5t.STD_I64LE.copy()
    kind.set_size(1 << 20)
    space = h5py.h5s.create_simple((3,))
    del file["samples/trace"]
    h5py.h5d.create(file["samples"].id, b"trace", kind, space)


def _long_attributes(file: h5py.File) -> None:
    for index in range(8):
        file.attrs.create(f"note{index}", np.bytes_(b"x" * 15_000_000))


def _long_attributes_of_a_group(file: h5py.File) -> None:
    samples = h5py.Group(file["samples"].id)
    for index in range(8):
        samples.attrs.create(f"note{index}", np.bytes_(b"x" * 15_000_000))


def _long_text(file: h5py.File) -> None:
    file.attrs["config"] = "x" * 100_000_000


def _long_text_of_a_group(file: h5py.File) -> None:
    h5py.Group(file["predictions"].id).attrs["split"] = "x" * 100_000_000


def _texts(file: h5py.File) -> None:
    for index in range(200):
        file.attrs[f"note{index}"] = "x" * 10_000


def _attributes(file: h5py.File) -> None:
    for index in range(1_001):
        file.attrs[f"note{index}"] = index


def _attributes_of_all(file: h5py.File) -> None:
    for group in range(18):
        made = file.create_group(f"lines/{group}")
        for index in range(900):
            made.attrs[f"note{index}"] = index


def _links(file: h5py.File) -> None:
    notes, samples = file.create_group("notes"), file["samples"]
    for index in range(11_000):
        notes[str(index)] = samples


def _cycle(file: h5py.File) -> None:
    for index in range(100):
        file[f"surfaces/{index}"] = file["surfaces"]


def _lines(file: h5py.File) -> None:
    for index in range(1_001):
        file.create_group(f"lines/{index}")


def _name(file: h5py.File) -> None:
    file.create_group("x" * 300)


def _undecodable(file: h5py.File) -> None:
    h5py.h5g.create(file.id, b"\xff\xfe")


BOMBS: dict[Callable[[h5py.File], None], str] = {
    _labels: "larger than 1024 MiB once it is unpacked",
    _labels_written: "would unpack .* KiB to .* MiB",
    _labels_and_more: "would unpack",
    _epochs: "larger than 1024 MiB",
    _grid: "larger than 1024 MiB",
    _samples: "would unpack",
    _unknown: "would unpack",
    _pieces: "more than 50,000 chunks",
    _large_number: "not a number",
    _long_attributes: "attributes larger than 1 MiB",
    _long_attributes_of_a_group: "samples has attributes larger than 1 MiB",
    _long_text: "MiB beside its numbers",
    _long_text_of_a_group: "MiB beside its numbers",
    _texts: "attributes larger than 1 MiB",
    _attributes: "has more than 1,000 attributes",
    _attributes_of_all: "more than 16,000 attributes",
    _links: "more than 10,000 groups and variables",
    _cycle: "nested deeper than 4 groups",
    _lines: "more than 1,000 lines",
    _name: "too long or no text",
    _undecodable: "too long or no text",
}


def bomb(folder: Path, change: Callable[[h5py.File], None]) -> Path:
    """A run file that declares more than it may."""
    run = Run.create(
        folder / f"{change.__name__.strip('_')}.h5",
        groups={name: (variables, {}) for name, variables in GROUPS.items()},
    )
    with h5py.File(run.path, "r+", libver=("v110", "v110")) as file:
        change(file)
    return run.path


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """The files, and what is said of each."""
    folder = tmp_path_factory.mktemp("bombs")
    return {bomb(folder, change): told for change, told in BOMBS.items()}


def test_what_takes_too_much_is_refused_at_once(bombs: dict[Path, str]) -> None:
    for path, told in bombs.items():
        begun = time.process_time()  # of this process alone: the machine may be busy
        with pytest.raises(InputError, match=told) as found:
            summarise(Run.open(path))
        assert time.process_time() - begun < SECONDS, path
        assert str(path) in str(found.value)


# The peak is the program's own; that of getrusage may be the one of the process that started it.
READ_ALL = """
import pathlib, sys
from landscape.errors import InputError
from landscape.store import Run
for path in sys.argv[1:]:
    try:
        Run.open(path)
    except InputError:
        print("refused")
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) // 1000 for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_what_takes_too_much_takes_no_memory(bombs: dict[Path, str]) -> None:
    command = [sys.executable, "-c", READ_ALL, *map(str, bombs)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    *refused, peak = found.stdout.split()
    assert len(refused) == len(bombs)
    assert int(peak) < MEGABYTES


def test_a_large_file_of_real_numbers_is_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(30, 10_000, 10)).astype("f4")
    predictions = noise - np.log(np.exp(noise).sum(2, keepdims=True))
    run = Run.create(tmp_path / "run.h5", classes=[f"class {index}" for index in range(1000)])
    run.write("predictions", {"log_probabilities": predictions, "labels": np.arange(10_000) % 10})
    found = Run.open(run.path)["predictions"]
    np.testing.assert_array_equal(found["log_probabilities"], predictions)


def test_numbers_that_are_all_the_same_are_stored_so_that_they_are_read(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run.h5")
    nothing = np.full((1500, 1500), np.nan)
    line = np.arange(1500.0)
    variables = {"x": line, "y": line, "loss": nothing, "accuracy": nothing}
    run.write("surfaces/samples", variables)
    np.testing.assert_array_equal(Run.open(run.path)["surfaces/samples"]["loss"], nothing)
    run.write("surfaces/random", {"x": [0.0, 1.0]})
    assert Run.open(run.path).groups == ("surfaces/random", "surfaces/samples")


def test_as_much_as_may_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_MEMBERS", 40)
    run = Run.create(tmp_path / "run.h5", config={"note": "x" * (limits.MAX_ATTRIBUTE_BYTES // 2)})
    attributes = {f"note{index}": "x" * 20_000 for index in range(10)}
    lines = {"x": np.arange(50.0), "loss": np.arange(50.0)}
    Run.create(
        run.path,
        overwrite=True,
        groups={f"lines/{index}": (lines, attributes) for index in range(40)},
    )
    assert len(Run.open(run.path).groups) == 40
    for group, more, message in (
        ("lines/more", {}, "up to 40 lines: use another run file"),
        ("samples", {"note": "x" * (1 << 21)}, "hold up to 1 MiB"),
        ("samples", {f"note{index}": index for index in range(1_001)}, "up to 1,000 attributes"),
    ):
        with pytest.raises(InputError, match=message):
            run.write(group, {}, more)  # type: ignore[arg-type]
    monkeypatch.setattr(limits, "MAX_BYTES", 1 << 20)
    with pytest.raises(InputError, match="a run file holds up to 1 MiB"):
        run.write("samples", {"trace": np.zeros(1 << 17)})


def test_what_one_may_set_is_what_a_reader_takes(tmp_path: Path) -> None:
    deep = json.loads("[" * 100 + "]" * 100)
    with pytest.raises(InputError, match="'config' is nested deeper than 64 levels"):
        Run.create(tmp_path / "run.h5", config={"deep": deep})


def test_a_file_with_holes_counts_as_what_it_takes(tmp_path: Path) -> None:
    path = bomb(tmp_path, _samples)
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(InputError, match=r"would unpack|truncated or damaged"):
        Run.open(path)
    assert limits.stored_bytes(path.stat()) < 1 << 24
