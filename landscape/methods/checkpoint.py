"""A training on disk, complete enough to continue to the same final weights.

A state is a tree of tensors, generators, optimisers, numbers and containers. A safetensors file
holds its tensors, and the file's header its structure as JSON.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialise
from torch import Tensor

from landscape.errors import InputError, refused
from landscape.posteriors.distribution import KINDS, Distribution
from landscape.runtime import distributed
from landscape.runtime.files import atomic_write
from landscape.runtime.json_text import parse_json, parse_object
from landscape.runtime.tensor_files import all_tensors, header, open_tensors

FORMAT = "landscape-checkpoint-1"
_WHAT = "a checkpoint"
# Fields that are not saved: the arguments of ``fit``, which must be the same, give them again.
_GIVEN = ("problem", "prior")
_SPACING = 20
"""Least time between two checkpoints, relative to the time that writing one takes."""


class OtherTrainingError(InputError):
    """The checkpoint belongs to a training with other settings, data or starting point."""


class Checkpoint:
    """A training's file, and the identity that must be the same to continue from it.

    Args:
        path: The file; ``None`` for none.
        identity: Everything that the final weights depend on, as plain JSON.
        upgrade: Function that renames the settings in an identity of an earlier version.

    Attributes:
        epoch: The epoch that the file holds; 0 for none.
    """

    def __init__(
        self,
        path: Path | None,
        identity: Mapping[str, Any],
        *,
        upgrade: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    ) -> None:
        self.path = path
        self.epoch = 0
        self._identity, self._upgrade = json.loads(json.dumps(identity)), upgrade
        self._saved, self._took = time.monotonic(), 0.0

    def save(self, value: Any, epoch: int, *, last: bool = False) -> None:
        """Write ``value``, a tree, if it is the last one or if writing takes little of the time.

        Raises:
            LandscapeError: it could not be written; an earlier checkpoint is untouched.
        """
        begun = time.monotonic()
        due = last or begun - self._saved >= _SPACING * self._took
        if self.path is None or not due or distributed.rank() != 0:
            return
        tensors: dict[str, Tensor] = {}
        texts = {
            "structure": json.dumps(_pack(value, tensors)),
            "identity": json.dumps(self._identity),
            "epoch": str(epoch),
        }
        plain = {name: part.detach().cpu().contiguous().clone() for name, part in tensors.items()}
        contents = serialise(
            plain, metadata={"format": FORMAT, "digest": _digest_of_all(texts, plain), **texts}
        )
        with atomic_write(self.path) as temporary:
            temporary.write_bytes(contents)
        self.epoch = epoch
        self._saved = time.monotonic()
        self._took = self._saved - begun

    def restore(self, value: Any, device: torch.device) -> None:
        """Read the file, if it exists, into ``value``, a tree of the same structure, in place.

        Raises:
            InputError: the file cannot be read.
            OtherTrainingError: it belongs to a training with another identity.
        """
        path = self.path
        if path is None or not path.exists():
            return
        with open_tensors(path, _WHAT) as file:
            texts = header(file, FORMAT, path, _WHAT)
            before = parse_object(texts["identity"], f"the identity in {path}")
            self.epoch = int(texts["epoch"])
            structure = parse_json(texts["structure"], f"the structure in {path}")
            tensors = all_tensors(file)
        damaged = f"{path} is damaged: remove it, and the training starts again"
        if texts.get("digest", _digest_of_all(texts, tensors)) != _digest_of_all(texts, tensors):
            raise InputError(damaged)
        if before.get("method") == self._identity.get("method"):
            before = dict(self._upgrade(before))
        for name, now in self._identity.items():
            if before.get(name) != now:
                raise OtherTrainingError(
                    f"{path} is the checkpoint of another training: {name} was "
                    f"{str(before.get(name))[:50]} there and is {str(now)[:50]} now; remove it, or "
                    "continue with the same settings"
                )
        with torch.no_grad(), refused(damaged):
            _unpack(value, structure, tensors, device)


def identity_digest(identity: Mapping[str, Any]) -> str:
    """SHA-256 of a training's identity, as a hexadecimal string."""
    plain = json.dumps(json.loads(json.dumps(identity)), sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def digest_of_checkpoint(path: Path) -> str:
    """The ``identity_digest`` of a checkpoint's training.

    Raises:
        InputError: the file cannot be read.
    """
    with open_tensors(path, _WHAT) as file:
        texts = header(file, FORMAT, path, _WHAT)
        return identity_digest(parse_object(texts["identity"], f"the identity in {path}"))


def digest(*tensors: Tensor) -> str:
    """SHA-256 of the values of tensors, as a hexadecimal string."""
    total = hashlib.sha256()
    for tensor in tensors:
        values = tensor.detach().cpu()
        if values.dtype == torch.bfloat16:  # numpy does not know it
            values = values.float()
        total.update(values.contiguous().numpy().tobytes())
    return total.hexdigest()


def _digest_of_all(texts: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a complete state, because a flipped bit would silently lead to other weights."""
    named = sorted(tensors.items())
    shapes = [(name, str(tensor.dtype), list(tensor.shape)) for name, tensor in named]
    head = json.dumps([shapes, *(texts[name] for name in ("structure", "identity", "epoch"))])
    total = hashlib.sha256(head.encode())
    for _, tensor in named:
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return {"tensor": _add(value, tensors)}
    if isinstance(value, torch.Generator):
        return {"generator": _add(value.get_state(), tensors)}
    if isinstance(value, torch.optim.Optimizer):
        return {"optimizer": _pack(value.state_dict(), tensors)}
    if isinstance(value, Distribution):
        return {"kind": value.kind, "tensors": _pack(value.tensors(), tensors)}
    if is_dataclass(value):
        names = [field.name for field in fields(value) if field.name not in _GIVEN]
        return {"fields": {name: _pack(getattr(value, name), tensors) for name in names}}
    if isinstance(value, dict):
        return {"items": [[key, _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_pack(item, tensors) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"a training state holds a {type(value).__name__}, which no checkpoint can")


def _add(tensor: Tensor, tensors: dict[str, Tensor]) -> str:
    name = str(len(tensors))
    tensors[name] = tensor
    return name


def _unpack(current: Any, packed: Any, tensors: Mapping[str, Tensor], device: torch.device) -> Any:
    """The packed value, written into ``current`` if that can change in place."""
    ((kind, content), *rest) = packed.items()
    if kind == "tensor":
        saved = tensors[content]
        if isinstance(current, Tensor) and current.shape == saved.shape:
            return current.copy_(saved)  # in place: an optimiser may refer to it
        return saved.to(device)
    if kind == "generator":
        current.set_state(tensors[content])
        return current
    if kind == "optimizer":
        current.load_state_dict(_unpack(None, content, tensors, device))
        return current
    if kind == "kind":
        return KINDS[content](**_unpack(None, rest[0][1], tensors, device))
    if kind == "fields":
        for name, item in content.items():
            if name == "optimizer" and not hasattr(current, name):
                current.velocity.copy_(_velocity(item, tensors))
            else:
                setattr(current, name, _unpack(getattr(current, name), item, tensors, device))
        return current
    if kind == "items":
        known = current if isinstance(current, dict) else {}
        return {key: _unpack(known.get(key), item, tensors, device) for key, item in content}
    if kind == "list":
        known_items = current if isinstance(current, list) else []
        padded = [*known_items, *[None] * len(content)]
        return [_unpack(padded[index], item, tensors, device) for index, item in enumerate(content)]
    return content


def _velocity(packed: Any, tensors: Mapping[str, Tensor]) -> Tensor:
    """The momentum that an earlier version kept in a ``torch.optim.SGD``, after a step or more."""
    optimizer = _unpack(None, packed["optimizer"], tensors, torch.device("cpu"))
    velocity: Tensor = optimizer["state"][0]["momentum_buffer"]
    return velocity
