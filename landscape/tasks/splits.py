"""Assembly of tasks: split off validation data, choose shots, and standardise inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from landscape.autograd.pytrees import tensors_of
from landscape.errors import InputError
from landscape.objective.losses import Loss, Readout
from landscape.tasks.augment import Augment
from landscape.tasks.few_shot import choose_shots
from landscape.tasks.scaling import Scaling
from landscape.tasks.task import Data, Task

_IGNORED = -100
"""The label that torch's cross-entropy ignores."""


def assemble(
    name: str,
    train: Data,
    validation: Data | None,
    test: Data,
    *,
    prepare: Callable[[Tensor], Tensor] = lambda inputs: inputs,
    classes: Sequence[str] | None = None,
    loss: Loss = "cross_entropy",
    standardise: bool = True,
    standardise_targets: bool = False,
    validation_share: float = 0.1,
    shots: int = 0,
    seed: int = 0,
    augment: Augment | None = None,
    settings: Mapping[str, object] | None = None,
) -> Task:
    """Make a task. The test set is changed only by ``prepare`` and the training set's scaling.

    Args:
        name: Name of the task.
        train: Training examples.
        validation: Validation examples; ``None`` to split them off the training set.
        test: Test examples.
        prepare: Function that converts a split's inputs to real inputs, after the choice of
            examples.
        classes: Names of the classes; numbers up to the highest label if ``None``.
        loss: Loss, as in ``Task``.
        standardise: Whether to standardise the inputs to mean 0 and standard deviation 1 over the
            training examples. Inputs of several tensors are never changed.
        standardise_targets: Whether to standardise real targets in the same way.
        validation_share: Fraction of the training set to split off; 0 for no validation set.
        shots: Number of training examples of every class; 0 for all.
        seed: Seed that selects the validation examples and the shots.
        augment: Random changes of the training inputs, as in ``Task``.
        settings: Settings for the record, as in ``Task``.

    Raises:
        InputError: Labels, shapes or settings do not fit each other.
    """
    generator = torch.Generator().manual_seed(seed)
    if not len(train) or not len(test):
        raise InputError(f"{name}: there must be training and test examples")
    if validation is None:
        train, validation = cut(train, validation_share, generator)
    if loss == "cross_entropy" or (isinstance(loss, Readout) and loss.loss == "cross_entropy"):
        train, validation, test = map(_with_labels, (train, validation, test))
        classes = _names(name, (train, validation, test), classes)
    if shots and not isinstance(train.targets, Tensor):
        raise InputError(f"{name}: shots are of one class each, and there are several targets")
    if shots:
        train = train.subset(choose_shots(train.targets, shots, generator))
    splits = [data.with_inputs(prepare) for data in (train, validation, test)]
    shapes = [[tuple(tensor.shape[1:]) for tensor in tensors_of(data.inputs)] for data in splits]
    if any(shape != shapes[0] for shape in shapes):
        raise InputError(f"{name}: inputs of one split have another shape: {shapes}")
    for data in splits:
        tensors = tensors_of((data.inputs, data.targets))
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise InputError(f"{name}: inputs or targets hold NaN or infinity")
    scaling = None
    if standardise and isinstance(splits[0].inputs, Tensor):
        splits = [data.with_inputs(_real) for data in splits]
        scaling = Scaling.of(splits[0].inputs)
        splits = [data.with_inputs(scaling.apply) for data in splits]
    target_scaling = None
    if standardise_targets:
        target_scaling = Scaling.of(train.targets)
        splits = [
            Data(data.inputs, target_scaling.apply(data.targets), data.batch_size)
            for data in splits
        ]
    return Task(
        name,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        classes=tuple(classes or ()),
        loss=loss,
        settings=settings or {},
        augment=augment,
        scaling=scaling,
        target_scaling=target_scaling,
    )


def cut(train: Data, share: float, generator: torch.Generator) -> tuple[Data, Data]:
    """Split a random ``share`` off the examples. Returns the other examples and the share.

    Raises:
        InputError: The share is not in [0, 1), or leaves no training example.
    """
    if not 0 <= share < 1:
        raise InputError(f"the validation share must be in [0, 1), not {share}")
    order = torch.randperm(len(train), generator=generator)
    size = round(share * len(train))
    if size == len(train):
        raise InputError(f"a validation share of {share} leaves none of {len(train)} examples")
    return train.subset(order[size:].sort().values), train.subset(order[:size].sort().values)


def _with_labels(data: Data) -> Data:
    """Data with a column of class numbers as a vector. A column can have no other meaning."""
    targets = data.targets
    if not isinstance(targets, Tensor):
        return data
    if targets.is_floating_point() or targets.ndim != 2 or targets.shape[1] != 1:
        return data
    return Data(data.inputs, targets[:, 0], data.batch_size)


def _real(inputs: Tensor) -> Tensor:
    return inputs if inputs.is_floating_point() else inputs.float()


def _names(name: str, splits: Sequence[Data], classes: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the classes, for labels (N, ...) or probabilities (N, C, ...)."""
    all_targets = [data.targets for data in splits if len(data)]
    if not all(isinstance(targets, Tensor) for targets in all_targets):
        raise InputError(f"{name}: the cross-entropy has one target; for several see losses.Heads")
    if all(targets.is_floating_point() and targets.ndim > 1 for targets in all_targets):
        count = all_targets[0].shape[1]
        return tuple(map(str, range(count)) if classes is None else classes)
    for targets in all_targets:
        if targets.dtype != torch.long:
            raise InputError(
                f"{name}: targets must be class numbers, not {targets.dtype} of shape "
                f"{tuple(targets.shape)}; real numbers are for the task 'regression'"
            )
    labels = torch.cat([targets.flatten() for targets in all_targets])
    labels = labels[labels != _IGNORED]
    if not len(labels):
        raise InputError(f"{name}: every label is {_IGNORED}, which means no label")
    low, high = int(labels.min()), int(labels.max())
    names = tuple(map(str, range(high + 1)) if classes is None else classes)
    if low < 0 or high >= len(names):
        raise InputError(f"{name}: labels must be in [0, {len(names)}), not in [{low}, {high}]")
    return names
