"""Tasks: the data sets of a learning problem, in splits that share no example."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from landscape.autograd.pytrees import map_tensors, tensors_of
from landscape.errors import InputError
from landscape.objective.batches import Batch, Rows, take, take_inputs
from landscape.objective.losses import Loss
from landscape.tasks.augment import Augment, CropAndFlip
from landscape.tasks.scaling import Scaling
from landscape.tasks.transform import Transform


@dataclass(frozen=True)
class Data:
    """Examples in memory. Iteration gives batches.

    Attributes:
        inputs: Tensor (N, ...), or several tensors for a network with several arguments, in a
            tuple or in a dict by argument name.
        targets: Targets, shape (N, ...), or several in a dict or a tuple, for several heads.
        batch_size: Number of examples per batch.

    Examples:
        >>> data = Data(torch.zeros(5, 2), torch.zeros(5, dtype=torch.long), batch_size=2)
        >>> [len(targets) for _, targets in data]
        [2, 2, 1]
    """

    inputs: Any
    targets: Any
    batch_size: int = 512

    def __post_init__(self) -> None:
        inputs, targets = (
            {len(tensor) if tensor.ndim else 0 for tensor in tensors_of(value)}
            for value in (self.inputs, self.targets)
        )
        if inputs != targets or len(targets) != 1:
            counts = [", ".join(map(str, sorted(lengths))) or "no" for lengths in (inputs, targets)]
            raise InputError(
                f"{counts[0]} inputs and {counts[1]} targets: the numbers must be equal"
            )
        if self.batch_size < 1:
            raise InputError(f"the batch size must be at least 1, not {self.batch_size}")

    def __len__(self) -> int:
        return len(tensors_of(self.targets)[0])

    def __iter__(self) -> Iterator[Batch]:
        """Batches in the order of the data. The last one may be smaller."""
        for first in range(0, len(self), self.batch_size):
            yield self._at(slice(first, first + self.batch_size))

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Batches of one epoch in random order. ``generator`` is on the CPU."""
        device = tensors_of(self.targets)[0].device
        order = torch.randperm(len(self), generator=generator).to(device)
        for rows in torch.split(order, batch_size):
            yield self._at(rows)

    def _at(self, rows: Rows) -> Batch:
        return take_inputs(self.inputs, rows, len(self)), take(self.targets, rows, len(self))

    def subset(self, indices: Tensor) -> Data:
        """The examples at the given indices."""
        return Data(*self._at(indices), self.batch_size)

    def with_inputs(self, function: Callable[[Tensor], Tensor]) -> Data:
        """The same data with ``function`` applied to each tensor of the inputs."""
        return Data(map_tensors(function, self.inputs), self.targets, self.batch_size)

    def to(self, device: torch.device | str) -> Data:
        """The same data on another device."""
        moved = self.with_inputs(lambda tensor: tensor.to(device))
        targets = map_tensors(lambda tensor: tensor.to(device), self.targets)
        return Data(moved.inputs, targets, self.batch_size)


@dataclass(frozen=True)
class Task:
    """Data sets of one learning problem.

    Attributes:
        name: Name of the task.
        train: Training set.
        validation: Validation set for choosing settings. It shares no example with the test set.
        test: Test set.
        classes: Names of the classes.
        loss: Loss, as in ``losses.Criterion``.
        source: Task for pretraining, if this is a transfer task.
        settings: Settings given to ``tasks.load``, for the record.
        shifted: Further test sets by name: the same problem under other conditions.
        augment: Random changes of the inputs of every training batch. They apply to training only,
            not to curvature measurements or estimates of running statistics.
        scaling: Scaling that standardised the inputs, if any.
        target_scaling: Scaling that standardised real targets, if any.
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
        """Number of examples in each split, with the prefixes ``shifted/`` and ``source/``."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        splits |= {f"shifted/{name}": data for name, data in self.shifted.items()}
        sizes = {name: len(data) for name, data in splits.items()}
        of_source = self.source.sizes if self.source else {}
        return sizes | {f"source/{name}": size for name, size in of_source.items()}

    @property
    def outputs(self) -> int:
        """Number of a network's outputs for one input: the number of classes or real targets.

        Raises:
            InputError: There are several targets.
        """
        targets = self.train.targets
        if not isinstance(targets, Tensor):
            raise InputError(f"task '{self.name}' has several targets: bring a network for them")
        return len(self.classes) or math.prod(targets.shape[1:])

    def transformed(self, transform: Transform) -> Task:
        """The same task with its images as a pretrained network expects them.

        The task's own standardisation is undone first. All splits are changed once, here, and not
        in every step. A random crop keeps its share of the image, and a batch its number of pixels.
        ``tasks.load`` does the same with its setting ``transform``.

        Args:
            transform: Size, mean and deviation, such as a network's attribute ``transform``.

        Raises:
            InputError: The inputs are not images, or the task is already transformed.
        """
        if "transform" in self.settings:
            raise InputError(f"the images of '{self.name}' are already transformed")

        def images(inputs: Tensor) -> Tensor:
            return transform.apply(inputs if self.scaling is None else self.scaling.invert(inputs))

        def change(data: Data) -> Data:
            changed = data.with_inputs(images)
            share = math.prod(data.inputs.shape[2:]) / transform.size**2
            return replace(changed, batch_size=max(1, round(data.batch_size * min(1, share))))

        train = change(self.train)
        augment = self.augment
        if isinstance(augment, CropAndFlip):
            padding = round(augment.padding * transform.size / self.train.inputs.shape[-1])
            augment = replace(augment, padding=padding)
        mean, deviation = (
            torch.tensor(values).view(-1, 1, 1) for values in (transform.mean, transform.deviation)
        )
        return replace(
            self,
            train=train,
            validation=change(self.validation),
            test=change(self.test),
            shifted={name: change(data) for name, data in self.shifted.items()},
            source=self.source and self.source.transformed(transform),
            settings={**self.settings, "transform": transform.record},
            augment=augment,
            scaling=Scaling(mean, deviation),
        )

    def fingerprint(self) -> str:
        """SHA-256 of the arrays of this task and its source, as a hexadecimal string.

        Shifted test sets are not included, because they may be added after training.
        """
        digest = hashlib.sha256()
        for data in (self.train, self.validation, self.test):
            for tensor in tensors_of((data.inputs, data.targets)):
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        if self.source:
            digest.update(self.source.fingerprint().encode())
        return digest.hexdigest()
