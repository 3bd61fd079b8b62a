"""Tasks from your own data: arrays, tensors, data sets, or an .npz file of arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.autograd.pytrees import map_tensors
from landscape.errors import InputError, printable, reason, refused
from landscape.objective.batches import as_pair
from landscape.objective.losses import Loss
from landscape.runtime import limits
from landscape.runtime.files import atomic_write, check_regular
from landscape.tasks.augment import Augment, CropAndFlip
from landscape.tasks.splits import assemble
from landscape.tasks.task import Data, Task

Examples = Any
"""``(inputs, targets)`` of arrays or tensors, a dict of inputs with its labels, a ``Data``, or a
map-style ``Dataset`` of pairs or such dicts."""


def arrays(
    train: Examples,
    test: Examples,
    *,
    validation: Examples | None = None,
    validation_share: float = 0.1,
    classes: Sequence[str] | None = None,
    loss: Loss = "cross_entropy",
    standardise: bool = True,
    shots: int = 0,
    seed: int = 0,
    augment: Augment | None = None,
    name: str = "arrays",
) -> Task:
    """A task from data in memory.

    8-bit integer inputs are treated as images: the channels are moved to the front (after the
    examples), and the values are divided by 255. Other inputs are not changed. Targets are not
    changed either, except that a column of class numbers becomes a vector.

    Args:
        train: Training examples: ``(inputs, targets)`` of arrays or tensors, a ``Data``, or a
            ``Dataset`` of pairs, or of dicts with their labels. For a network with several
            arguments the inputs are a tuple, or a dict by argument name; several targets are a
            tuple or a dict, too.
        test: Test examples in the same form.
        validation: Validation examples in the same form. If ``None`` they are taken from
            ``train``, never from ``test``.
        validation_share: Fraction of ``train`` that is taken; 0 for no validation set.
        classes: Names of the classes; numbers up to the highest label if ``None``.
        loss: Loss, as in ``Task``.
        standardise: Whether to standardise the inputs to mean 0 and standard deviation 1 over the
            training examples, per image channel or per feature. If false, integers such as those
            of words stay integers. Inputs of several tensors are never changed.
        shots: Number of training examples of every class; 0 for all.
        seed: Seed that selects the validation examples and the shots.
        augment: Random changes of the training inputs, as in ``Task``.
        name: Name of the task.

    Raises:
        InputError: The data do not fit each other.

    Examples:
        >>> task = arrays((np.eye(20), [0, 1] * 10), (np.eye(20)[:4], [0, 1, 0, 1]))
        >>> task.sizes, task.classes
        ({'train': 18, 'validation': 2, 'test': 4}, ('0', '1'))
    """
    return assemble(
        name,
        as_data(train),
        None if validation is None else as_data(validation),
        as_data(test),
        prepare=real_inputs,
        classes=classes,
        loss=loss,
        standardise=standardise,
        validation_share=validation_share,
        shots=shots,
        seed=seed,
        augment=augment,
    )


def npz(
    path: str,
    *,
    shots: int = 0,
    seed: int = 0,
    validation_share: float = 0.1,
    standardise: bool = True,
    augment: bool = False,
) -> Task:
    """A task from an ``.npz`` file with ``x_train``, ``y_train``, ``x_test`` and ``y_test``.

    The file may also hold ``x_validation`` and ``y_validation`` (or ``x_val`` and ``y_val``), and
    ``classes``, the names of the classes. ``arrays`` describes how the data are prepared.

    Args:
        path: Path of the file.
        shots: Number of training examples of every class; 0 for all.
        seed: Seed that selects the validation examples and the shots.
        validation_share: Fraction of the training set used for validation, if the file has no
            validation set.
        standardise: Whether to standardise the inputs, as in ``arrays``.
        augment: Whether to crop and flip training images at random.

    Raises:
        InputError: The file cannot be read, lacks an array, or its arrays do not fit each other.
    """
    stored = read_npz(Path(path))
    validation = None
    for split in ("validation", "val"):
        if f"x_{split}" in stored:
            validation = pair(stored, split, path)
    return assemble(
        "arrays",
        as_data(pair(stored, "train", path)),
        None if validation is None else as_data(validation),
        as_data(pair(stored, "test", path)),
        prepare=real_inputs,
        classes=class_names(stored, "classes", path),
        standardise=standardise,
        validation_share=validation_share,
        shots=shots,
        seed=seed,
        augment=CropAndFlip() if augment else None,
        settings={
            "path": path,
            "shots": shots,
            "seed": seed,
            "validation_share": validation_share,
            "standardise": standardise,
            "augment": augment,
        },
    )


def write_npz(path: Path, task: Task) -> None:
    """Write a task's data as an ``.npz`` file that ``npz`` reads with ``standardise=False``.

    Args:
        path: Path of the file.
        task: The task; its inputs and its targets are one tensor each.

    Raises:
        InputError: The inputs or targets are several tensors.
    """
    stored = {"classes": np.array(task.classes)}
    for name, data in (("train", task.train), ("validation", task.validation), ("test", task.test)):
        for letter, values in (("x", data.inputs), ("y", data.targets)):
            if not isinstance(values, Tensor):
                raise InputError(f"task '{task.name}': inputs and targets must be one tensor each")
            stored[f"{letter}_{name}"] = values.numpy(force=True)
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **stored)  # type: ignore[arg-type]


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file. Arrays of objects are refused, because they could run code.

    Raises:
        InputError: The file cannot be read, or it is suspiciously small for its contents.
    """
    check_regular(path)
    with refused(f"cannot read arrays from {path}"), path.open("rb") as stream:
        if stream.read(6) == b"\x93NUMPY":
            raise InputError(f"{path} holds one array; an .npz file of several is needed")
        with zipfile.ZipFile(stream) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > limits.max_unpacked(limits.stored_bytes(path.stat()), limits.DATA_RATIO):
            raise InputError(
                f"{path} would unpack to {size >> 20:,} MiB, many times its size: write it with "
                "numpy.savez, which does not compress"
            )
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as file:
            return {name: _array(file, name, path) for name in file.files}


def _array(file: Any, name: str, path: Path) -> np.ndarray:
    array = file[name]
    if not isinstance(array, np.ndarray):  # numpy returns other members of the archive as bytes
        raise InputError(f"{path}: '{printable(name)}' is not an array")
    return array


def real_inputs(inputs: Tensor) -> Tensor:
    """8-bit images as (N, channels, height, width) in [0, 1]. Other inputs are not changed."""
    if inputs.dtype != torch.uint8:
        return inputs
    if inputs.ndim == 3:
        inputs = inputs[:, None]
    elif inputs.ndim == 4 and inputs.shape[3] in (1, 3) and inputs.shape[1] not in (1, 3):
        inputs = inputs.permute(0, 3, 1, 2)
    return inputs.float() / 255


def class_names(stored: Mapping[str, np.ndarray], name: str, path: str) -> list[str] | None:
    """The names of the classes in an array of a file, or ``None`` if there is no such array.

    Raises:
        InputError: The array is not a list.
    """
    if name not in stored:
        return None
    if stored[name].ndim != 1:
        raise InputError(f"{path}: '{name}' must be a list of the classes' names")
    return [str(value) for value in stored[name]]


def require(stored: Mapping[str, np.ndarray], names: Sequence[str], path: object) -> list[Any]:
    """The named arrays of a file.

    Raises:
        InputError: An array is missing.
    """
    for name in names:
        if name not in stored:
            raise InputError(f"{path} has no array '{name}'; it holds {', '.join(stored)}")
    return [stored[name] for name in names]


def pair(stored: Mapping[str, np.ndarray], split: str, path: object) -> list[Any]:
    """The arrays ``x_SPLIT`` and ``y_SPLIT`` of a file.

    Raises:
        InputError: An array is missing.
    """
    return require(stored, (f"x_{split}", f"y_{split}"), path)


def as_data(examples: Examples) -> Data:
    """Examples as ``Data``. Integer targets are class numbers, other targets are real.

    Raises:
        InputError: The examples have none of the forms of ``Examples``.
    """
    if isinstance(examples, Data):
        return examples
    if isinstance(examples, Mapping):
        examples = as_pair(examples)
    if not isinstance(examples, tuple | list) or len(examples) != 2:
        examples = _collect(examples)
    inputs = _inputs(examples[0])
    targets = map_tensors(_integers_as_long, _inputs(examples[1]))
    if isinstance(inputs, Tensor) and inputs.ndim < 2:
        raise InputError(f"inputs must have shape (N, ...), not {tuple(inputs.shape)}")
    return Data(inputs, targets)


def _integers_as_long(targets: Tensor) -> Tensor:
    return targets if targets.is_floating_point() else targets.long()


def _inputs(inputs: Any) -> Any:
    """Inputs as a tensor, or as a tuple or dict of tensors for a network with several arguments.

    Several targets have the same forms.
    """
    if isinstance(inputs, Mapping):
        return {name: _tensor(value) for name, value in inputs.items()}
    if isinstance(inputs, tuple) and all(getattr(value, "ndim", 0) > 0 for value in inputs):
        return tuple(map(_tensor, inputs))
    return _tensor(inputs)


def _collect(dataset: Any) -> tuple[Any, Any]:
    """All examples of a map-style data set."""
    try:
        pairs = [as_pair(dataset[index]) for index in range(len(dataset))]
        return _stacked([inputs for inputs, _ in pairs]), _stacked([target for _, target in pairs])
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(
            "examples are (inputs, targets) or a Dataset of pairs of equally shaped tensors: "
            f"{reason(error)}"
        ) from error


def _stacked(inputs: list[Any]) -> Any:
    """The inputs of all examples, stacked. Several arguments are stacked separately."""
    first = inputs[0] if inputs else None
    if isinstance(first, Mapping):
        return {name: _stack([example[name] for example in inputs]) for name in first}
    if isinstance(first, tuple):
        return tuple(map(_stack, zip(*inputs, strict=True)))
    return _stack(inputs)


def _stack(values: Sequence[Any]) -> Tensor:
    return torch.stack([_tensor(value) for value in values])


def _tensor(value: Any) -> Tensor:
    """A tensor. Real numbers get single precision, except those of a tensor."""
    if isinstance(value, Tensor):
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"arrays must hold rows of one length: {error}") from error
    if array.dtype.kind not in "biuf":
        raise InputError(f"arrays must hold numbers, not {array.dtype}")
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype not in (np.uint8, np.bool_):
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array, order="C"))
