"""A task from splits that were read: validation cut off, shots chosen, inputs standardised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from landscape.autograd.pytrees import tensors_of
from landscape.errors import InputError
from landscape.objective.losses import Loss
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
    """Make a task; the test set only ever goes through ``prepare`` and the training set's scaling.

    Args:
        name: Of the task.
        train: Training examples.
        validation: Validation examples; ``None`` to cut a share off the training set.
        test: Test examples.
        prepare: Makes real inputs of those given, a split at a time, after examples were chosen.
        classes: Names; numbers up to the highest label if ``None``.
        loss: See ``Task``.
        standardise: Give inputs the mean 0 and deviation 1 of the training examples; several
            tensors stay as they are.
        standardise_targets: The same for targets, which are real then.
        validation_share: Of the training set, if it is cut; 0 for no validation set.
        shots: Training examples of every class; 0 for all.
        seed: Which examples are validation, and which are the shots.
        augment: See ``Task``.
        settings: See ``Task``.

    Raises:
        InputError: labels, shapes or settings do not fit each other.
    """
    generator = torch.Generator().manual_seed(seed)
    if not len(train) or not len(test):
        raise InputError(f"{name}: there must be training and test examples")
    if validation is None:
        train, validation = cut(train, validation_share, generator)
    if loss == "cross_entropy":
        train, validation, test = map(_with_labels, (train, validation, test))
        classes = _names(name, (train, validation, test), classes)
    if shots:
        train = train.subset(choose_shots(train.targets, shots, generator))
    splits = [data.with_inputs(prepare) for data in (train, validation, test)]
    shapes = [[tuple(each.shape[1:]) for each in tensors_of(data.inputs)] for data in splits]
    if any(shape != shapes[0] for shape in shapes):
        raise InputError(f"{name}: inputs of one split have another shape: {shapes}")
    for data in splits:
        if not all(
            bool(each.isfinite().all()) for each in (*tensors_of(data.inputs), data.targets)
        ):
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
    """``train`` without a random ``share`` of its examples, and these.

    Raises:
        InputError: the share is not in [0, 1), or leaves no training example.
    """
    if not 0 <= share < 1:
        raise InputError(f"the validation share must be in [0, 1), not {share}")
    order = torch.randperm(len(train), generator=generator)
    size = round(share * len(train))
    if size == len(train):
        raise InputError(f"a validation share of {share} leaves none of {len(train)} examples")
    return train.subset(order[size:].sort().values), train.subset(order[:size].sort().values)


def _with_labels(data: Data) -> Data:
    """Class numbers that come as a column, which can mean nothing else, as a vector."""
    targets = data.targets
    if targets.is_floating_point() or targets.ndim != 2 or targets.shape[1] != 1:
        return data
    return Data(data.inputs, targets[:, 0], data.batch_size)


def _real(inputs: Tensor) -> Tensor:
    return inputs if inputs.is_floating_point() else inputs.float()


def _names(name: str, splits: Sequence[Data], classes: Sequence[str] | None) -> tuple[str, ...]:
    """The classes' names, of labels (N, ...) or of probabilities (N, C, ...)."""
    targets = [data.targets for data in splits if len(data)]
    if all(part.is_floating_point() and part.ndim > 1 for part in targets):
        high = targets[0].shape[1] - 1
        return tuple(classes) if classes is not None else tuple(map(str, range(high + 1)))
    labels = []
    for part in targets:
        if part.dtype != torch.long:
            raise InputError(
                f"{name}: targets must be class numbers, not {part.dtype} of shape "
                f"{tuple(part.shape)}; real numbers are for the task 'regression'"
            )
        labels.append(part[part != _IGNORED])
    labels = [part for part in labels if part.numel()]
    if not labels:
        raise InputError(f"{name}: every label is {_IGNORED}, which stands for none")
    low, high = min(int(part.min()) for part in labels), max(int(part.max()) for part in labels)
    names = tuple(classes) if classes is not None else tuple(map(str, range(high + 1)))
    if low < 0 or high >= len(names):
        raise InputError(f"{name}: labels must be in [0, {len(names)}), not in [{low}, {high}]")
    return names
