"""Regression tasks from a table: an .npz file of arrays, or a .csv file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from landscape.errors import InputError, printable, reason, refused
from landscape.objective.likelihood import GaussianLikelihood
from landscape.runtime.files import check_regular
from landscape.tasks.own_data import as_data, pair, read_npz, real_inputs, require
from landscape.tasks.splits import assemble, cut
from landscape.tasks.task import Data, Task

# All seeds use the same test examples of a table.
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
    """Regression with Gaussian noise. Inputs and targets are standardised over training examples.

    Args:
        path: Path of a ``.csv`` file with a line of names above the numbers, or of an ``.npz``
            file. The latter holds ``x_train``, ``y_train``, ``x_test`` and ``y_test`` (and
            optionally ``x_validation`` and ``y_validation``), or just ``x`` and ``y``.
        target: Column of a ``.csv`` file to predict; the last one if empty.
        noise: Standard deviation of the likelihood, in standard deviations of the target.
        test_share: Fraction of the table used for testing, if it has no test set. The examples do
            not depend on the seed.
        validation_share: Fraction of the training examples used for validation, if there is no
            validation set.
        seed: Seed that selects the validation examples.

    Returns:
        A task with the loss ``GaussianLikelihood(noise)``. ``task.target_scaling`` converts
        predictions to the target's units.

    Raises:
        InputError: The file cannot be read or has another format.
    """
    validation = None
    if Path(path).suffix.lower() == ".csv":
        train, test = _cut_test(_read_csv(Path(path), target), test_share)
    else:
        stored = read_npz(Path(path))
        if "x" in stored:
            train, test = _cut_test(_real(as_data(require(stored, ("x", "y"), path))), test_share)
        else:
            train, test = (_real(as_data(pair(stored, split, path))) for split in ("train", "test"))
            if "x_validation" in stored:
                validation = _real(as_data(pair(stored, "validation", path)))
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
