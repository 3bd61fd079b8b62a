"""Every reader on damaged files: it reads them, or refuses them in one line."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from damage import NASTY, NUMBERS, bytes_of, outcome, outcomes, trees_of
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save as serialise
from torch import nn

import landscape
from landscape import models, posteriors, tasks
from landscape.cli.options import read_toml
from landscape.methods import SWAG
from landscape.models.weights import load_weights
from landscape.posteriors import Mixture, Posterior, isotropic
from landscape.store import Run
from landscape.surfaces import line
from landscape.tasks.images import decode
from landscape.tasks.jpegs import Jpegs
from landscape.tasks.pickles import unpickle

Reader = Callable[[Path], object]


def _task() -> tasks.Task:
    generator = np.random.default_rng(0)
    return tasks.arrays(
        (generator.normal(size=(20, 3)), np.arange(20) % 2),
        (generator.normal(size=(4, 3)), np.arange(4) % 2),
    )


def _model() -> nn.Module:
    return models.build("mlp", _task(), widths=[2])


def _arrays() -> dict[str, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4), dtype=np.uint8)
    labels = np.arange(8) % 2
    return {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}


def _npz(save: Callable[..., None], **arrays: np.ndarray) -> bytes:
    stream = BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def _image(kind: str) -> bytes:
    stream = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def _jpegs() -> bytes:
    files = [_image("jpeg") for _ in range(3)]
    stream = np.frombuffer(b"".join(files), np.uint8)
    return _npz(np.savez, jpeg=stream, length=np.array([len(f) for f in files]), y=np.arange(3))


def _read_jpegs(path: Path) -> None:
    images = Jpegs.read(path, 8)
    images.pixels(torch.arange(len(images))[:, None])


def _posterior(folder: Path) -> bytes:
    path = folder / "made.safetensors"
    isotropic(_model(), 0.1).save(path)
    return path.read_bytes()


def _mixture(folder: Path) -> bytes:
    path, one = folder / "made.safetensors", isotropic(_model(), 0.1)
    Posterior(one.space, Mixture.uniform([one.gaussian, one.gaussian])).save(path)
    return path.read_bytes()


def _read_posterior(path: Path) -> None:
    description = posteriors.describe(path)
    network = models.rebuild(description["architecture"], most=path.stat().st_size)
    found = posteriors.load(path, network)
    found.sample(1, 0)


def _checkpoint(folder: Path) -> bytes:
    path = folder / "made.checkpoint"
    SWAG(epochs=4, rank=0).fit(_model(), _task(), checkpoint=path)
    return path.read_bytes()


def _read_checkpoint(path: Path) -> None:
    SWAG(epochs=4, rank=0).fit(_model(), _task(), checkpoint=path)


def _weights(kind: str) -> bytes:
    if kind == "safetensors":
        return bytes(serialise(_model().state_dict()))
    stream = BytesIO()
    torch.save(_model().state_dict(), stream)
    return stream.getvalue()


def _cifar(protocol: int) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
    found = {b"data": pixels[:, :30].copy(), b"labels": [0, 1, 2], b"batch_label": b"batch"}
    return pickle.dumps(found, protocol=protocol)


CSV = b"a,b,target\n" + b"".join(b"%d,%d.5,%d\n" % (n, n % 7, n % 3) for n in range(30))
TOML = b'task = "digits"\nepochs = 3\nlearning-rate = 0.1\noverwrite = true\n[more]\na = [1, 2]\n'

# name of the file, its contents, its reader, how many inputs
READERS: dict[str, tuple[str, Callable[[Path], bytes], Reader, int]] = {
    "posterior": ("p.safetensors", _posterior, _read_posterior, 600),
    "mixture": ("p.safetensors", _mixture, _read_posterior, 300),
    "checkpoint": ("c.safetensors", _checkpoint, _read_checkpoint, 200),
    "weights": (
        "w.safetensors",
        lambda _: _weights("safetensors"),
        lambda path: load_weights(_model(), path),
        500,
    ),
    "torch weights": (
        "w.pt",
        lambda _: _weights("pt"),
        lambda path: load_weights(_model(), path),
        400,
    ),
    "npz": (
        "a.npz",
        lambda _: _npz(np.savez, **_arrays()),
        lambda path: tasks.npz(str(path)),
        500,
    ),
    "compressed npz": (
        "a.npz",
        lambda _: _npz(np.savez_compressed, **_arrays()),
        lambda path: tasks.npz(str(path)),
        500,
    ),
    "jpegs": ("j.npz", lambda _: _jpegs(), _read_jpegs, 400),
    "table": ("t.csv", lambda _: CSV, lambda path: tasks.regression(str(path)), 400),
    "settings": ("s.toml", lambda _: TOML, read_toml, 500),
    **{
        f"pickle {protocol}": ("b", lambda _, p=protocol: _cifar(p), unpickle, 400)
        for protocol in (0, 2, 4)
    },
    **{
        kind: (
            f"i.{kind}",
            lambda _, k=kind: _image(k),
            lambda path: decode(path, str(path), 8),
            300,
        )
        for kind in ("png", "jpeg", "bmp", "webp", "tiff", "ppm")
    },
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_bytes_are_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    file, make, read, count = READERS[name]
    whole = make(tmp_path)
    path = tmp_path / file
    path.write_bytes(whole)
    read(path)
    count *= int(os.environ.get("FUZZ", "1"))
    found = outcomes(path, bytes_of(whole, count), lambda: read(path))
    assert "refused" in found


def _described(contents: bytes, name: str, count: int, path: Path) -> Iterator[bytes]:
    """The same safetensors file with other values in one of the texts at its head."""
    path.write_bytes(contents)
    with safe_open(path, framework="pt") as file:
        texts = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for tree in trees_of(json.loads(texts[name]), count):
        yield bytes(serialise(tensors, metadata={**texts, name: json.dumps(tree)}))


@pytest.mark.parametrize(
    ("reader", "text", "count"),
    [
        ("posterior", "description", 600),
        ("mixture", "description", 100),
        ("checkpoint", "structure", 300),
        ("checkpoint", "identity", 100),
    ],
)
def test_other_values_in_a_description_are_read_or_refused_in_one_line(
    reader: str, text: str, count: int, tmp_path: Path
) -> None:
    file, make, read, _ = READERS[reader]
    path = tmp_path / file
    count *= int(os.environ.get("FUZZ", "1"))
    inputs = _described(make(tmp_path), text, count, tmp_path / "whole.safetensors")
    assert "refused" in outcomes(path, inputs, lambda: read(path))


def _measured(folder: Path) -> tuple[Path, posteriors.Posterior, tasks.Task]:
    """A run in which a small posterior is measured."""
    task = _task()
    posterior = isotropic(_model(), 0.1)
    run = Run.create(folder / "whole.h5", method="isotropic", seed=0)
    _measure(run, posterior, task)
    return run.path, posterior, task


def _measure(run: Run, posterior: posteriors.Posterior, task: tasks.Task) -> None:
    settings = {"samples": 3, "store": run}
    landscape.measure(
        posterior, task.train, eigenvalues=1, trace_matvecs=4, density_probes=2, **settings
    )
    landscape.surface(posterior, task.train, shape=(3, 2), **settings)
    line(posterior, task.train, kind="samples", points=3, **settings)


def _spoil(path: Path, generator: np.random.Generator) -> None:
    """Fill, resize or drop a variable, or give an attribute another value."""
    with h5py.File(path, "r+") as file:
        groups = ["samples", "density", "surfaces/samples", "lines/samples"]
        group = file[groups[int(generator.integers(0, len(groups)))]]
        variables = [name for name in group if isinstance(group[name], h5py.Dataset)]
        name = variables[int(generator.integers(0, len(variables)))]
        values = group[name][()]
        match int(generator.integers(0, 4)):
            case 0:
                del group[name]
            case 1:
                del group[name]
                group[name] = np.concatenate([values] * 3)[: int(generator.integers(0, 8))]
            case 2:
                filled = generator.random(values.shape) < generator.choice([0.3, 1.1])
                number = NUMBERS[int(generator.integers(0, len(NUMBERS)))]
                with np.errstate(over="ignore", invalid="ignore"):
                    group[name][...] = np.where(filled, number, values).astype(values.dtype)
            case _:
                known = sorted(set(group.attrs) - {"request"})
                value = NASTY[int(generator.integers(0, len(NASTY)))]
                text = isinstance(value, list | dict | None) or abs_at_least_64_bits(value)
                group.attrs[known[int(generator.integers(0, len(known)))]] = (
                    str(value).replace("\0", "") if text or isinstance(value, str) else value
                )


def abs_at_least_64_bits(value: object) -> bool:
    return isinstance(value, int) and abs(value) >= 2**63


def test_a_measurement_goes_on_from_any_file_or_refuses_it_in_one_line(tmp_path: Path) -> None:
    whole, posterior, task = _measured(tmp_path)
    generator = np.random.default_rng(0)
    path = tmp_path / "run.h5"
    for _ in range(60 * int(os.environ.get("FUZZ", "1"))):
        shutil.copy(whole, path)
        _spoil(path, generator)
        outcome(lambda: _measure(Run.open(path), posterior, task))
