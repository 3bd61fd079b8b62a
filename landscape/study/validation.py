"""Two halves of the validation set: one for choosing settings, one for fitting temperatures.

The settings are adapted to the half they were chosen on, so a temperature fitted there would be
biased. A study's task has the same validation examples in the same order for every seed. No
training uses them. Each half takes every second example.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from landscape.tasks import Data, Task

TUNING = "(tuning)"
"""Suffix of the name of a task whose test set is the half for tuning."""
TEMPERATURE = "validation, the half that tuning does not see"
"""Name of the half for temperatures in run files."""


def for_tuning(task: Task) -> Task:
    """A task whose validation and test set are the half for tuning, without shifted test sets."""
    half = _half(task.validation, 0)
    return replace(task, name=f"{task.name} {TUNING}", validation=half, test=half, shifted={})


def for_temperature(task: Task) -> Data:
    """The half of the validation set for fitting temperatures."""
    return _half(task.validation, 1)


def _half(data: Data, first: int) -> Data:
    return data.subset(torch.arange(first, len(data), 2))
