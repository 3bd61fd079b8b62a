"""Learning problems, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from landscape.errors import InputError
from landscape.tasks.digits import digits, digits_upright
from landscape.tasks.few_shot import choose_shots
from landscape.tasks.task import Data, Task

TASKS: dict[str, Callable[..., Task]] = {"digits": digits, "digits-upright": digits_upright}


def load(name: str, **settings: object) -> Task:
    """Make the task called ``name``.

    Args:
        name: One of ``TASKS``.
        **settings: What that task takes, e.g. ``shots`` and ``seed``.

    Raises:
        InputError: unknown task or setting, or a setting that the task refuses.
    """
    if name not in TASKS:
        raise InputError(f"unknown task '{name}'; known: {', '.join(TASKS)}")
    known = inspect.signature(TASKS[name]).parameters
    for setting in settings:
        if setting not in known:
            raise InputError(f"task '{name}' has no setting '{setting}'; it has {', '.join(known)}")
    return TASKS[name](**settings)


__all__ = ["TASKS", "Data", "Task", "choose_shots", "digits", "digits_upright", "load"]
