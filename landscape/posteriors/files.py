"""Posteriors on disk: safetensors with a JSON description in the header, never pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialise
from torch import Tensor, nn

from landscape.errors import InputError, printable, refused
from landscape.objective.batches import Batch
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.kronecker import Kronecker
from landscape.posteriors.point import Point
from landscape.posteriors.posterior import Distribution, Posterior
from landscape.posteriors.samples import Samples
from landscape.results import MARKOV_CHAINS
from landscape.runtime.files import atomic_write
from landscape.runtime.json_text import parse_object
from landscape.runtime.tensor_files import all_tensors, header, open_tensors

FORMAT = "landscape-posterior-1"
KINDS: dict[str, Callable[..., Distribution]] = {
    Point.kind: Point,
    Gaussian.kind: Gaussian,
    Samples.kind: Samples,
    Kronecker.kind: Kronecker.from_tensors,
}
"""What makes a distribution of its tensors, by kind."""
_WHAT = "a posterior"
_DESCRIBED: Mapping[str, type | tuple[type, ...]] = {
    "kind": str,
    "method": str,
    "settings": dict,
    "history": dict,
    "random": list,
    "architecture": (dict, type(None)),
}


def save(posterior: Posterior, path: str | os.PathLike[str]) -> Path:
    """Write a posterior.

    The file holds the distribution's tensors under ``distribution/``, and the network's fixed
    parameters and buffers under ``module/``.

    Args:
        posterior: What to write.
        path: A name that ends in ``.safetensors``; an existing file is replaced atomically.

    Returns:
        The path written.

    Raises:
        InputError: another suffix.
        LandscapeError: the file could not be written; an earlier one is untouched.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"a posterior's file name ends in .safetensors, not '{path.name}'")
    tensors = {
        f"distribution/{name}": tensor for name, tensor in posterior.distribution.tensors().items()
    }
    tensors |= {f"module/{name}": tensor for name, tensor in _rest(posterior.space).items()}
    description = {
        "kind": posterior.distribution.kind,
        "method": posterior.method,
        "settings": posterior.settings,
        "history": posterior.history,
        "random": list(posterior.space.names),
        "architecture": getattr(posterior.space.module, "architecture", None),
    }
    contents = serialise(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
        metadata={"format": FORMAT, "description": json.dumps(description)},
    )
    with atomic_write(path) as temporary:
        temporary.write_bytes(contents)
    return path


def load(
    path: str | os.PathLike[str],
    model: nn.Module,
    *,
    device: torch.device | str = "cpu",
    calibration: Iterable[Batch] | None = None,
) -> Posterior:
    """Read a posterior into the network it is over.

    Args:
        path: A file from ``save``.
        model: A network of the same architecture; its weights do not matter and it is not changed.
        device: Where to put it.
        calibration: Training batches to re-estimate running statistics on; see ``Posterior``.

    Raises:
        InputError: the file is missing, damaged, not a posterior, or does not fit ``model``.
    """
    path = Path(path)
    description, tensors = _read(path)
    try:
        space = ParameterSpace(model, description["random"], device=device)
    except InputError as error:
        raise InputError(f"{path} belongs to another architecture: {error}") from error
    rest = {
        name.removeprefix("module/"): tensor
        for name, tensor in tensors.items()
        if name.startswith("module/")
    }
    expected = _rest(space)
    if {n: t.shape for n, t in rest.items()} != {n: t.shape for n, t in expected.items()}:
        raise InputError(f"{path} belongs to another architecture than the model given")
    # Buffers and fixed parameters are this space's own copies, so this changes no module of a user.
    for name, tensor in expected.items():
        tensor.copy_(rest[name])
    parts = {
        name.removeprefix("distribution/"): tensor.to(device)
        for name, tensor in tensors.items()
        if name.startswith("distribution/")
    }
    if description["kind"] == Samples.kind and description["method"] in MARKOV_CHAINS:
        parts.setdefault("chain", torch.zeros(len(parts["vectors"]), dtype=torch.long))
    for name, part in parts.items():
        if name != "chain" and part.dtype != space.dtype:
            raise InputError(
                f"{path} holds weights of {part.dtype} for a network of {space.dtype}: convert the "
                "network"
            )
    with refused(f"{path} is damaged: it holds no {description['kind']}"):
        distribution = KINDS[description["kind"]](**parts)
    return Posterior(
        space,
        distribution,
        method=description["method"],
        history=description["history"],
        settings=description["settings"],
        calibration=calibration,
    )


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The description in a posterior's file: kind, method, settings, history, architecture.

    Raises:
        InputError: the file is missing, damaged or not a posterior.
    """
    return _read(Path(path), weights=False)[0]


def _read(path: Path, *, weights: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with open_tensors(path, _WHAT) as file:
        texts = header(file, FORMAT, path, _WHAT)
        description = parse_object(texts["description"], f"the description in {path}")
        _check(description)
        return description, all_tensors(file) if weights else {}


def _check(description: Mapping[str, Any]) -> None:
    """Check that a description has everything, each of its own kind.

    Raises:
        ValueError: something is missing, or of another kind.
    """
    for name, kind in _DESCRIBED.items():
        if name not in description or not isinstance(description[name], kind):
            raise ValueError(f"its description has no '{name}' of the right kind")
    if description["kind"] not in KINDS:
        raise ValueError(f"it holds a '{printable(description['kind'])}', no known distribution")
    if not all(isinstance(name, str) for name in description["random"]):
        raise ValueError("its description names no parameters")
    lengths = set()
    for values in description["history"].values():
        if not isinstance(values, list) or not all(isinstance(x, int | float) for x in values):
            raise ValueError("its training history holds no numbers")
        lengths.add(len(values))
    if len(lengths) > 1:
        raise ValueError("its training history holds lists of different length")


def _rest(space: ParameterSpace) -> dict[str, Tensor]:
    """The network's fixed parameters and its buffers."""
    random = set(space.names)
    fixed = {n: p.data for n, p in space.module.named_parameters() if n not in random}
    return fixed | dict(space.module.named_buffers())
