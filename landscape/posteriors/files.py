"""Distributions on disk: safetensors with a JSON description in the header, never pickle.

``write`` and ``read`` know a space, a distribution and its description, and no ``Posterior``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialise
from torch import Tensor, nn

from landscape.errors import InputError, printable, refused
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors.distribution import KINDS, Distribution
from landscape.posteriors.samples import Samples
from landscape.results import MARKOV_CHAINS
from landscape.runtime.files import atomic_write
from landscape.runtime.json_text import parse_object
from landscape.runtime.tensor_files import all_tensors, header, open_tensors

FORMAT = "landscape-posterior-1"
_WHAT = "a posterior"
_DESCRIBED: Mapping[str, type | tuple[type, ...]] = {
    "kind": str,
    "method": str,
    "settings": dict,
    "history": dict,
    "random": list,
    "architecture": (dict, type(None)),
}


def write(
    path: str | os.PathLike[str],
    space: ParameterSpace,
    distribution: Distribution,
    description: Mapping[str, Any],
    sample_buffers: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a distribution over a network's parameters.

    The file holds the distribution's tensors under ``distribution/``, the network's fixed
    parameters and buffers under ``module/``, and buffers that each sample keeps under ``buffers/``.

    Args:
        path: A name that ends in ``.safetensors``; an existing file is replaced atomically.
        space: The network and its inferred parameters.
        distribution: The distribution.
        description: Method, settings and history, as plain JSON.
        sample_buffers: Buffers that each sample keeps; see ``Posterior``.

    Returns:
        The path.

    Raises:
        InputError: the name has another suffix.
        LandscapeError: the file could not be written; an earlier one is untouched.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"a posterior's file name ends in .safetensors, not '{path.name}'")
    tensors = {f"distribution/{name}": part for name, part in distribution.tensors().items()}
    tensors |= {f"module/{name}": tensor for name, tensor in _rest(space).items()}
    tensors |= {f"buffers/{name}": tensor for name, tensor in (sample_buffers or {}).items()}
    complete = {
        "kind": distribution.kind,
        **description,
        "random": list(space.names),
        "architecture": getattr(space.module, "architecture", None),
    }
    contents = serialise(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
        metadata={"format": FORMAT, "description": json.dumps(complete)},
    )
    with atomic_write(path) as temporary:
        temporary.write_bytes(contents)
    return path


def read(
    path: str | os.PathLike[str], model: nn.Module, *, device: torch.device | str = "cpu"
) -> tuple[ParameterSpace, Distribution, dict[str, Any], dict[str, Tensor] | None]:
    """Read a distribution, its network, its description, and the buffers that samples keep.

    Args:
        path: A file from ``write``.
        model: A network of the same architecture. It is not changed, and its weights are not used.
        device: The device of the result.

    Raises:
        InputError: the file is missing, damaged, not a posterior, or does not fit ``model``.
    """
    path = Path(path)
    with open_tensors(path, _WHAT) as file:
        description, tensors = _description(file, path), all_tensors(file)
    try:
        space = ParameterSpace(model, description["random"], device=device)
    except InputError as error:
        raise InputError(f"{path} belongs to another architecture: {error}") from error
    rest, expected = _under("module/", tensors), _rest(space)
    if {n: t.shape for n, t in rest.items()} != {n: t.shape for n, t in expected.items()}:
        raise InputError(f"{path} belongs to another architecture than the model given")
    # Buffers and fixed parameters are this space's own copies: no module of a user changes.
    for name, tensor in expected.items():
        tensor.copy_(rest[name])
    parts = {name: part.to(device) for name, part in _under("distribution/", tensors).items()}
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
    buffers = {name: part.to(device) for name, part in _under("buffers/", tensors).items()}
    return space, distribution, description, buffers or None


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The description in a posterior's file: kind, method, settings, history, architecture.

    Raises:
        InputError: the file is missing, damaged or not a posterior.
    """
    with open_tensors(Path(path), _WHAT) as file:
        return _description(file, Path(path))


def _description(file: Any, path: Path) -> dict[str, Any]:
    """The description in an open file.

    Raises:
        ValueError: an entry is missing, or of another kind.
    """
    texts = header(file, FORMAT, path, _WHAT)
    description = parse_object(texts["description"], f"the description in {path}")
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
    return description


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _rest(space: ParameterSpace) -> dict[str, Tensor]:
    """The network's fixed parameters and its buffers."""
    inferred = set(space.names)
    fixed = {n: p.data for n, p in space.module.named_parameters() if n not in inferred}
    return fixed | dict(space.module.named_buffers())
