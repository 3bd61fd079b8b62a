"""Your own data: arrays, tensors, data sets, or an .npz file of arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import InputError, printable, reason, refused
from landscape.objective.losses import Loss
from landscape.runtime import limits
from landscape.runtime.files import check_regular
from landscape.tasks.augment import Augment, CropAndFlip
from landscape.tasks.splits import assemble
from landscape.tasks.task import Data, Task

Examples = Any
"""``(inputs, targets)`` of arrays or tensors, a ``Data``, or a map-style ``Dataset`` of pairs."""


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

    Inputs of 8-bit integers are taken for images: channels are put first (after the examples) and
    values divided by 255. Others are taken as they are; so are
    targets, but for a column of class numbers, which becomes a vector.

    Args:
        train: ``(inputs, targets)`` of arrays or tensors, a ``Data``, or a ``Dataset`` of pairs.
            For a network of several arguments inputs are a tuple, or a dict by their names.
        test: The same.
        validation: The same; if ``None`` it is cut off ``train``, never off ``test``.
        validation_share: Which share; 0 for no validation set.
        classes: Their names; numbers up to the highest label if ``None``.
        loss: See ``Task``.
        standardise: Give inputs the mean 0 and deviation 1 of the training examples, by channel of
            an image or by feature. Without it whole numbers, such as those of words, stay whole;
            inputs of several tensors are never changed.
        shots: Training examples of every class; 0 for all.
        seed: Which examples are validation, and which are the shots.
        augment: See ``Task``.
        name: Of the task.

    Raises:
        InputError: the data do not fit each other.

    Example:
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

    It may hold ``x_validation`` and ``y_validation`` (or ``x_val``, ``y_val``), and ``classes``,
    the classes' names. See ``arrays``.

    Args:
        path: The file.
        shots: Training examples of every class; 0 for all.
        seed: Which examples are validation, and which are the shots.
        validation_share: Of the training set, if the file has no validation set.
        standardise: See ``arrays``.
        augment: Whether training images are cropped and flipped at random.

    Raises:
        InputError: the file cannot be read, lacks an array, or its arrays do not fit each other.
    """
    found = read_npz(Path(path))
    validation = None
    for ending in ("validation", "val"):
        if f"x_{ending}" in found:
            validation = pair(found, ending, path)
    return assemble(
        "arrays",
        as_data(pair(found, "train", path)),
        None if validation is None else as_data(validation),
        as_data(pair(found, "test", path)),
        prepare=real_inputs,
        classes=class_names(found, "classes", path),
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


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file; objects, which could run code, are refused.

    Raises:
        InputError: the file cannot be read, or would unpack to more than arrays do.
    """
    check_regular(path)
    with refused(f"cannot read arrays from {path}"), path.open("rb") as stream:
        if stream.read(6) == b"\x93NUMPY":
            raise InputError(f"{path} holds one array; an .npz file of several is needed")
        with zipfile.ZipFile(stream) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > limits.unpacked(limits.stored_bytes(path.stat()), limits.DATA_RATIO):
            raise InputError(
                f"{path} would unpack to {size >> 20:,} MiB, many times its size: write it with "
                "numpy.savez, which does not compress"
            )
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as file:
            return {name: _read_whole(file, name, path) for name in file.files}


def _read_whole(file: Any, name: str, path: Path) -> np.ndarray:
    array = file[name]
    if not isinstance(array, np.ndarray):  # other files in the archive come as bytes
        raise InputError(f"{path}: '{printable(name)}' is no array")
    return array


def real_inputs(inputs: Tensor) -> Tensor:
    """8-bit images as (N, channels, height, width) in [0, 1]; other inputs as they are."""
    if inputs.dtype != torch.uint8:
        return inputs
    if inputs.ndim == 3:
        inputs = inputs[:, None]
    elif inputs.ndim == 4 and inputs.shape[3] in (1, 3) and inputs.shape[1] not in (1, 3):
        inputs = inputs.permute(0, 3, 1, 2)
    return inputs.float() / 255


def class_names(found: Mapping[str, np.ndarray], name: str, path: str) -> list[str] | None:
    """The names of the classes, from an array of a file; ``None`` if the file has none.

    Raises:
        InputError: the array is no list of names.
    """
    if name not in found:
        return None
    if found[name].ndim != 1:
        raise InputError(f"{path}: '{name}' must be a list of the classes' names")
    return [str(value) for value in found[name]]


def pair(found: Mapping[str, np.ndarray], ending: str, path: str) -> tuple[Any, Any]:
    """The arrays ``x_ending`` and ``y_ending`` of a file.

    Raises:
        InputError: there is none.
    """
    for name in (f"x_{ending}", f"y_{ending}"):
        if name not in found:
            raise InputError(f"{path} has no array '{name}'; it holds {', '.join(found)}")
    return found[f"x_{ending}"], found[f"y_{ending}"]


def as_data(examples: Examples) -> Data:
    """Examples in whatever form as ``Data``: integer targets are classes, others real.

    Raises:
        InputError: they are no examples.
    """
    if isinstance(examples, Data):
        return examples
    if not isinstance(examples, tuple | list) or len(examples) != 2:
        examples = _collect(examples)
    inputs, targets = _inputs(examples[0]), _tensor(examples[1])
    if not targets.is_floating_point():
        targets = targets.long()
    if isinstance(inputs, Tensor) and inputs.ndim < 2:
        raise InputError(f"inputs must have shape (N, ...), not {tuple(inputs.shape)}")
    return Data(inputs, targets)


def _inputs(value: Any) -> Any:
    """An array, or several for a network of several arguments: in a tuple, or a dict by name."""
    if isinstance(value, Mapping):
        return {name: _tensor(part) for name, part in value.items()}
    if isinstance(value, tuple) and all(getattr(part, "ndim", 0) > 0 for part in value):
        return tuple(_tensor(part) for part in value)
    return _tensor(value)


def _collect(dataset: Any) -> tuple[Any, Tensor]:
    """All examples of a map-style data set."""
    try:
        pairs = [dataset[index] for index in range(len(dataset))]
        return (
            _stacked([inputs for inputs, _ in pairs]),
            torch.stack([_tensor(target) for _, target in pairs]),
        )
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(
            "examples are (inputs, targets) or a Dataset of pairs of equally shaped tensors: "
            f"{reason(error)}"
        ) from error


def _stacked(inputs: list[Any]) -> Any:
    """One example's arrays after the other, each by itself where there are several."""
    first = inputs[0] if inputs else None
    if isinstance(first, Mapping):
        return {name: torch.stack([_tensor(each[name]) for each in inputs]) for name in first}
    if isinstance(first, tuple):
        return tuple(
            torch.stack([_tensor(part) for part in each]) for each in zip(*inputs, strict=True)
        )
    return torch.stack([_tensor(each) for each in inputs])


def _tensor(value: Any) -> Tensor:
    """Real numbers in single precision unless they are a tensor already."""
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
