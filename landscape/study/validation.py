"""The validation set in two halves: settings are chosen on one, temperatures on the other.

A temperature that is fitted where the settings were chosen is not that of data the settings have
not seen. A study's tasks have the same validation examples for every seed, in the order of a fixed
draw, and none of them is ever trained on; each half is every other one.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from landscape.tasks import Data, Task

TUNING = "(tuning)"
"""Behind a task's name where its test set is the half for tuning."""
TEMPERATURE = "validation, the half that tuning does not see"


def for_tuning(task: Task) -> Task:
    """The task with half of its validation set for its validation and test sets; none shifted."""
    half = _half(task.validation, 0)
    return replace(task, name=f"{task.name} {TUNING}", validation=half, test=half, shifted={})


def for_temperature(task: Task) -> Data:
    """The other half of the validation set."""
    return _half(task.validation, 1)


def _half(data: Data, first: int) -> Data:
    return data.subset(torch.arange(first, len(data), 2))
