"""What a network is trained for: data in splits that do not share an example."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from landscape.autograd.pytrees import map_tensors, tensors_of
from landscape.errors import InputError
from landscape.objective.batches import Batch, Rows, take_inputs
from landscape.objective.losses import Loss
from landscape.tasks.augment import Augment
from landscape.tasks.scaling import Scaling


@dataclass(frozen=True)
class Data:
    """Examples in memory; iterating gives batches.

    Attributes:
        inputs: A tensor (N, ...), or several for a network of several arguments, in a tuple or in
            a dict by the arguments' names.
        targets: Shape (N, ...).
        batch_size: Examples a batch.

    Example:
        >>> data = Data(torch.zeros(5, 2), torch.zeros(5, dtype=torch.long), batch_size=2)
        >>> [len(targets) for _, targets in data]
        [2, 2, 1]
    """

    inputs: Any
    targets: Tensor
    batch_size: int = 512

    def __post_init__(self) -> None:
        lengths = {len(each) if each.ndim else 0 for each in tensors_of(self.inputs)}
        if lengths != {len(self.targets)}:
            found = ", ".join(map(str, sorted(lengths))) or "no"
            raise InputError(
                f"{found} inputs and {len(self.targets)} targets: there must be as many"
            )
        if self.batch_size < 1:
            raise InputError(f"the batch size must be at least 1, not {self.batch_size}")

    def __len__(self) -> int:
        return len(self.targets)

    def __iter__(self) -> Iterator[Batch]:
        """Batches in the order of the data; the last may be smaller."""
        for first in range(0, len(self), self.batch_size):
            yield self._at(slice(first, first + self.batch_size))

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Batches of one epoch, in an order that ``generator`` (on the CPU) draws."""
        order = torch.randperm(len(self), generator=generator).to(self.targets.device)
        for chosen in torch.split(order, batch_size):
            yield self._at(chosen)

    def _at(self, rows: Rows) -> Batch:
        return take_inputs(self.inputs, rows, len(self)), self.targets[rows]

    def subset(self, chosen: Tensor) -> Data:
        """The examples of the given indices."""
        return Data(*self._at(chosen), self.batch_size)

    def with_inputs(self, function: Callable[[Tensor], Tensor]) -> Data:
        """The same data with each tensor of the inputs replaced."""
        return Data(map_tensors(function, self.inputs), self.targets, self.batch_size)

    def to(self, device: torch.device | str) -> Data:
        """The same data on another device."""
        moved = self.with_inputs(lambda tensor: tensor.to(device))
        return Data(moved.inputs, self.targets.to(device), self.batch_size)


@dataclass(frozen=True)
class Task:
    """Data sets of one learning problem.

    Attributes:
        name: Its name.
        train: What is trained on.
        validation: What settings are chosen on; never the test set.
        test: What results are reported on.
        classes: Names of the classes.
        loss: See ``losses.Criterion``.
        source: The task to pretrain on, if this is a transfer task.
        settings: What ``tasks.load`` was given, for the record.
        shifted: More test sets, by name: the same problem under other conditions.
        augment: Changes the inputs of every training batch at random; in training only, not where
            curvature is measured or running statistics are estimated.
        scaling: How inputs were standardised, if they were.
        target_scaling: How real targets were.
    """

    name: str
    train: Data
    validation: Data
    test: Data
    classes: tuple[str, ...]
    loss: Loss = "cross_entropy"
    source: Task | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    shifted: Mapping[str, Data] = field(default_factory=dict)
    augment: Augment | None = None
    scaling: Scaling | None = None
    target_scaling: Scaling | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Examples in each split; others' under ``shifted/`` and ``source/``."""
        own = {name: len(data) for name, data in self._splits()}
        inherited = self.source.sizes if self.source else {}
        return own | {f"source/{name}": size for name, size in inherited.items()}

    @property
    def outputs(self) -> int:
        """Numbers that a network gives for one input: one a class, or one a target."""
        return len(self.classes) or math.prod(self.train.targets.shape[1:])

    def fingerprint(self) -> str:
        """SHA-256 of the splits' arrays, the source task's included, as a hexadecimal string.

        Shifted test sets are no part of it: one may be added after training.
        """
        digest = hashlib.sha256()
        for data in (self.train, self.validation, self.test):
            for tensor in (*tensors_of(data.inputs), data.targets):
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        if self.source:
            digest.update(self.source.fingerprint().encode())
        return digest.hexdigest()

    def _splits(self) -> tuple[tuple[str, Data], ...]:
        shifted = ((f"shifted/{name}", data) for name, data in self.shifted.items())
        own = (("train", self.train), ("validation", self.validation), ("test", self.test))
        return (*own, *shifted)
