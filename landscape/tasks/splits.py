"""A task from splits that were read: validation cut off, shots chosen, inputs standardised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.losses import Loss
from landscape.tasks.augment import Augment
from landscape.tasks.few_shot import choose_shots
from landscape.tasks.scaling import Scaling
from landscape.tasks.task import Data, Task


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
        standardise: Give inputs the mean 0 and deviation 1 of the training examples.
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
        classes = _names(name, (train, validation, test), classes)
    if shots:
        train = train.subset(choose_shots(train.targets, shots, generator))
    splits = [_with_inputs(data, prepare(data.inputs)) for data in (train, validation, test)]
    shapes = [tuple(data.inputs.shape[1:]) for data in splits]
    if len(set(shapes)) > 1:
        raise InputError(f"{name}: inputs of one split have another shape: {shapes}")
    for data in splits:
        if not bool(data.inputs.isfinite().all() and data.targets.isfinite().all()):
            raise InputError(f"{name}: inputs or targets hold NaN or infinity")
    scaling = None
    if standardise:
        scaling = Scaling.of(splits[0].inputs)
        splits = [_with_inputs(data, scaling.apply(data.inputs)) for data in splits]
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


def _with_inputs(data: Data, inputs: Tensor) -> Data:
    return Data(inputs, data.targets, data.batch_size)


def _names(name: str, splits: Sequence[Data], classes: Sequence[str] | None) -> tuple[str, ...]:
    labels = [data.targets for data in splits if len(data)]
    for part in labels:
        if part.ndim != 1 or part.dtype != torch.long:
            raise InputError(
                f"{name}: targets must be class numbers of shape (N,), not {part.dtype} of shape "
                f"{tuple(part.shape)}; real numbers are for the task 'regression'"
            )
    low, high = min(int(part.min()) for part in labels), max(int(part.max()) for part in labels)
    names = tuple(classes) if classes is not None else tuple(map(str, range(high + 1)))
    if low < 0 or high >= len(names):
        raise InputError(f"{name}: labels must be in [0, {len(names)}), not in [{low}, {high}]")
    return names
