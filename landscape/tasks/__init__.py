"""Learning problems, by name."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable

from landscape.errors import InputError, printable
from landscape.runtime.numbers import check_int
from landscape.tasks.augment import Augment, CropAndFlip
from landscape.tasks.cifar import cifar10, cifar100
from landscape.tasks.cifar_corrupted import cifar_c
from landscape.tasks.cifar_transfer import (
    cifar10_10_shot,
    cifar10_few_shot,
    cifar10_jpeg,
    cifar10_lossless,
    tiny_imagenet,
)
from landscape.tasks.corruptions import CORRUPTIONS, corrupt, shift
from landscape.tasks.few_shot import choose_shots
from landscape.tasks.handwriting import emnist_letters, mnist
from landscape.tasks.image_folders import image_folder
from landscape.tasks.own_data import arrays, npz, write_npz
from landscape.tasks.real_targets import regression
from landscape.tasks.scaling import Scaling
from landscape.tasks.sklearn_digits import digits, digits_upright
from landscape.tasks.task import Data, Task
from landscape.tasks.transform import Transform

TASKS: dict[str, Callable[..., Task]] = {
    "digits": digits,
    "digits-upright": digits_upright,
    "arrays": npz,
    "image-folder": image_folder,
    "regression": regression,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "emnist-letters": emnist_letters,
    "mnist": mnist,
    "cifar10-lossless": cifar10_lossless,
    "cifar10-jpeg": cifar10_jpeg,
    "tiny-imagenet": tiny_imagenet,
    "cifar10-few-shot": cifar10_few_shot,
    "cifar10-10-shot": cifar10_10_shot,
}


_KINDS = {"str": str, "bool": bool}
_NAMES = {"str": "text", "bool": "true or false", "int": "a whole number", "float": "a number"}


def load(name: str, *, transform: object = None, **settings: object) -> Task:
    """Make the task called ``name``.

    Args:
        name: Name of the task, one of ``TASKS``.
        transform: Form of the images that a pretrained network expects: a ``Transform`` or its
            record; ``None`` for the task's own. See ``Task.transformed``.
        **settings: Arguments of the task's function, for example ``shots`` and ``seed``.

    Raises:
        InputError: The task or a setting is unknown, or the task refuses a setting.
    """
    if name not in TASKS:
        raise InputError(f"unknown task '{name}'; known: {', '.join(TASKS)}")
    parameters = inspect.signature(TASKS[name]).parameters
    for setting in settings:
        if setting not in parameters:
            raise InputError(
                f"task '{name}' has no setting '{setting}'; it has {', '.join(parameters)}"
            )
    checked = {key: _checked(name, key, value, parameters[key]) for key, value in settings.items()}
    for setting, parameter in parameters.items():
        if parameter.default is parameter.empty and setting not in settings:
            raise InputError(f"task '{name}' needs the setting '{setting}'")
    task = TASKS[name](**checked)
    return task if transform is None else task.transformed(Transform.read(transform))


def _checked(task: str, name: str, value: object, parameter: inspect.Parameter) -> object:
    """A setting, checked against the type in its task's signature. It may come from a run file.

    Raises:
        InputError: The setting has another type, or a number is too large.
    """
    what = f"task '{task}': {name}"
    kind = str(parameter.annotation)
    if kind == "int" and not isinstance(value, bool):
        number = check_int(value, what, least=None)
        if -(2**63) <= number < 2**63:
            return number
    elif kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) <= sys.float_info.max:
            return value
    elif kind == "str" and isinstance(value, os.PathLike):
        return str(os.fspath(value))
    elif kind not in ("int", "float") and isinstance(value, _KINDS.get(kind, object)):
        return value
    raise InputError(f"{what} must be {_NAMES.get(kind, kind)}, not {printable(repr(value))}")


__all__ = [
    "Augment",
    "CORRUPTIONS",
    "CropAndFlip",
    "Data",
    "Scaling",
    "TASKS",
    "Task",
    "Transform",
    "arrays",
    "choose_shots",
    "cifar10",
    "cifar100",
    "cifar10_10_shot",
    "cifar10_few_shot",
    "cifar10_jpeg",
    "cifar10_lossless",
    "cifar_c",
    "corrupt",
    "digits",
    "digits_upright",
    "emnist_letters",
    "image_folder",
    "load",
    "mnist",
    "npz",
    "regression",
    "shift",
    "tiny_imagenet",
    "write_npz",
]
