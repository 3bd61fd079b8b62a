"""Fingerprints of what a result depends on: the posterior's weights, the data, and the loss."""

from __future__ import annotations

import hashlib
import json
import types
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.autograd.pytrees import map_tensors, tensors_of
from landscape.objective.batches import Batch
from landscape.objective.objective import Objective
from landscape.posteriors.loss import PosteriorLoss
from landscape.posteriors.posterior import Posterior
from landscape.running_stats.normalisation import normalisation_layers

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def fingerprints(loss: PosteriorLoss, **others: Tensor) -> dict[str, str]:
    """SHA-256 of what the mean loss at a posterior's samples depends on.

    The code of the network's classes is not part of it; that of a loss function is.

    Args:
        loss: The mean loss. Its data are read once.
        **others: Tensors that a result also depends on, by name.

    Returns:
        ``"posterior"``: the distribution, the network's layers with their settings, fixed
        parameters and buffers, and the data that running statistics are estimated on, but not these
        statistics; or those that each sample keeps. ``"data"``: the examples, in whatever order and
        batches. ``"loss"``: its name, or the function and all that it holds. And the others.

    Raises:
        InputError: the data can be read only once.
    """
    posterior, space = loss.posterior, loss.posterior.space
    data = _examples(Objective(space, loss.data, loss.loss).batches)
    layers, calibration = normalisation_layers(space.module), None
    if layers and posterior.calibration is not None and posterior.sample_buffers is None:
        same = posterior.calibration is loss.data
        calibration = data if same else _examples(posterior.calibration)
    distribution = posterior.distribution
    weights: tuple[Any, ...] = space.signature, distribution.kind, distribution.tensors()
    kept = posterior.sample_buffers
    weights += (calibration,) if kept is None else (dict(kept),)
    return {
        "posterior": _digest(weights, _network(posterior)),
        "data": data,
        "loss": loss.loss if isinstance(loss.loss, str) else _digest(loss.loss),
        **{name: _digest(tensor) for name, tensor in others.items()},
    }


def network_fingerprint(posterior: Posterior) -> str:
    """SHA-256 of a posterior's network without its inferred parameters.

    The loss is the same function of the weights for two posteriors with the same fingerprint, on
    the same data and if running statistics are estimated on the same data.
    """
    return _digest(posterior.space.signature, _network(posterior))


def weights_fingerprint(posterior: Posterior) -> str:
    """SHA-256 of a posterior's distribution over the weights."""
    distribution = posterior.distribution
    return _digest(posterior.space.signature, distribution.kind, distribution.tensors())


def digest_of(*tensors: Tensor) -> str:
    """SHA-256 of tensors."""
    return _digest(*tensors)


def _network(posterior: Posterior) -> tuple[Any, ...]:
    """A network's layers, fixed parameters and buffers, but for estimated running statistics."""
    space = posterior.space
    inferred = set(space.names)
    fixed = {n: p for n, p in space.module.named_parameters() if n not in inferred}
    layers = normalisation_layers(space.module)
    estimated = {id(buffer) for layer in layers for buffer in layer.buffers()}
    buffers = {n: b for n, b in space.module.named_buffers() if id(b) not in estimated}
    return _layers(space.module), fixed, buffers


def _examples(data: Iterable[Batch]) -> str:
    """The examples as a multiset: the sum of their digests."""
    total = 0
    for batch in data:
        for digest in _rows(batch) or [hashlib.sha256(_digest(batch).encode())]:
            total += int.from_bytes(digest.digest())
    return f"{total % 2**256:064x}"


def _rows(batch: Batch) -> list[Any]:
    """A digest of each example of a batch; none if the batch is more than rows of tensors."""
    tensors = tensors_of(batch)
    if not all(tensor.ndim and tensor.layout is torch.strided for tensor in tensors):
        return []
    if len({len(tensor) for tensor in tensors}) != 1:
        return []
    try:
        kind = json.dumps(map_tensors(_kind, batch))
    except TypeError:  # something that is no tensor, number or text
        return []
    digests = []
    for row in np.concatenate([_bytes(tensor) for tensor in tensors], 1):
        digests.append(hashlib.sha256(kind.encode()))
        digests[-1].update(row)
    return digests


def _kind(rows: Tensor) -> Any:
    return [str(rows.dtype), *rows.shape[1:]]


def _bytes(tensor: Tensor) -> np.ndarray:
    """The bytes of a tensor, shape (n, number of bytes of a row)."""
    if not tensor.numel():
        return np.empty((len(tensor), 0), "u1")
    return tensor.detach().cpu().reshape(len(tensor), -1).contiguous().view(torch.uint8).numpy()


def _layers(module: nn.Module) -> list[Any]:
    """Each layer's name, class and public settings."""
    layers: list[Any] = []
    for name, layer in module.named_modules():
        layers += [name, type(layer).__qualname__]
        for setting, value in vars(layer).items():
            if isinstance(value, (*_PLAIN, tuple)) and setting[0] != "_" and setting != "training":
                layers += [setting, repr(value)]
    return layers


def _digest(*values: Any) -> str:
    """SHA-256 of values of any kind, as a hexadecimal string."""
    hashed = hashlib.sha256()
    _update(hashed, values, ())
    return hashed.hexdigest()


def _update(hashed: Any, value: Any, around: tuple[int, ...]) -> None:
    """Add a value, which may hold others.

    Args:
        hashed: The hash.
        value: The value.
        around: Identities of the values that hold this one.
    """
    hashed.update(f"{type(value).__qualname__} ".encode())
    if isinstance(value, _PLAIN):
        hashed.update(f"{value!r},".encode())
    elif isinstance(value, Tensor) and value.layout is torch.strided:
        hashed.update(f"{value.dtype} {tuple(value.shape)} ".encode())
        hashed.update(_bytes(value.reshape(-1)))
    elif id(value) not in around:
        around = (*around, id(value))
        for part in _parts(value):
            _update(hashed, part, around)
    hashed.update(b";")


def _parts(value: Any) -> Iterable[Any]:
    """The parts of a value."""
    if isinstance(value, Tensor):
        sparse = value.to_sparse_coo().coalesce()  # type: ignore[no-untyped-call]
        return tuple(value.shape), sparse.indices(), sparse.values()
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, nn.Module):
        return _layers(value), dict(value.named_parameters()), dict(value.named_buffers())
    if isinstance(value, Mapping):
        return [part for item in value.items() for part in item]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, tuple | list):
        return value
    if isinstance(value, types.CodeType):
        return value.co_code, value.co_names, value.co_consts
    name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(value, types.FunctionType) and not value.__module__.startswith("torch."):
        held = [cell.cell_contents for cell in value.__closure__ or ()]
        return *name, value.__code__, value.__defaults__, value.__kwdefaults__, held
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return name
    return *name, *value.__reduce_ex__(2)[1:]  # as it would be pickled
