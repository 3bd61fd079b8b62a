"""Real targets from a table: an .npz file of arrays, or a .csv file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from landscape.errors import InputError, printable, reason, refused
from landscape.objective.likelihood import GaussianLikelihood
from landscape.runtime.files import check_regular
from landscape.tasks.own_data import as_data, pair, read_npz, real_inputs
from landscape.tasks.splits import assemble, cut
from landscape.tasks.task import Data, Task

# One fixed partition of a table, so that every seed is judged on the same test examples.
_PARTITION_SEED = 20240615


def regression(
    path: str,
    *,
    target: str = "",
    noise: float = 0.5,
    test_share: float = 0.1,
    validation_share: float = 0.1,
    seed: int = 0,
) -> Task:
    """Regression with Gaussian noise; inputs and targets are standardised by the training examples.

    Args:
        path: A ``.csv`` file of numbers below a line of names; or an ``.npz`` file with
            ``x_train``, ``y_train``, ``x_test`` and ``y_test`` (and maybe ``x_validation``,
            ``y_validation``), or with ``x`` and ``y``.
        target: The column of a ``.csv`` file to predict; the last one if empty.
        noise: Standard deviation of the likelihood, in standard deviations of the target.
        test_share: Of the table, if it comes in one piece; always the same examples.
        validation_share: Of the training examples, if there is no validation set.
        seed: Which examples are for validation.

    Returns:
        A task with loss ``GaussianLikelihood(noise)``; ``task.target_scaling`` leads back to the
        target's units.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    validation = None
    if Path(path).suffix.lower() == ".csv":
        train, test = _cut_test(_read_csv(Path(path), target), test_share)
    else:
        found = read_npz(Path(path))
        if "x" in found:
            if "y" not in found:
                raise InputError(f"{path} has no array 'y'; it holds {', '.join(found)}")
            train, test = _cut_test(_real(as_data((found["x"], found["y"]))), test_share)
        else:
            train, test = (_real(as_data(pair(found, part, path))) for part in ("train", "test"))
            if "x_validation" in found:
                validation = _real(as_data(pair(found, "validation", path)))
    return assemble(
        "regression",
        train,
        validation,
        test,
        prepare=real_inputs,
        loss=GaussianLikelihood(noise),
        standardise_targets=True,
        validation_share=validation_share,
        seed=seed,
        settings={
            "path": path,
            "target": target,
            "noise": noise,
            "test_share": test_share,
            "validation_share": validation_share,
            "seed": seed,
        },
    )


def _cut_test(table: Data, share: float) -> tuple[Data, Data]:
    return cut(table, share, torch.Generator().manual_seed(_PARTITION_SEED))


def _real(data: Data) -> Data:
    return Data(data.inputs, data.targets.float())


def _read_csv(path: Path, target: str) -> Data:
    check_regular(path)
    with refused(f"cannot read {path}"), path.open(newline="") as file:
        lines = list(csv.reader(file))
    if not lines:
        raise InputError(f"{path} is empty")
    names, *rows = lines
    names = [name.strip() for name in names]
    column = names.index(target) if target in names else len(names) - 1
    if target and target not in names:
        raise InputError(f"{path} has no column '{target}'; it has {printable(', '.join(names))}")
    if len(names) < 2:
        raise InputError(f"{path} needs a column to predict and one to predict it from")
    if not rows:
        raise InputError(f"{path} has no line of numbers below the names")
    values = []
    for number, row in enumerate(rows, start=2):
        try:
            values.append([float(value) for value in row])
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {reason(error)}") from error
        if len(row) != len(names):
            raise InputError(f"{path}, line {number}: {len(row)} values for {len(names)} columns")
    table = torch.from_numpy(np.array(values, dtype=np.float64).reshape(-1, len(names)))
    others = [index for index in range(len(names)) if index != column]
    return Data(table[:, others], table[:, column])
