"""The layout of a run file: which groups there are, and the axes and meaning of every variable.

The file is plain HDF5; ``docs/file-format.md`` describes it for readers without this package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from landscape.errors import InputError

NAME = "landscape-run"
VERSION = 1
STATUSES = ("running", "complete", "failed")


@dataclass(frozen=True)
class Field:
    """One variable of a group: its axes, stored type and meaning."""

    dims: tuple[str, ...]
    dtype: str
    meaning: str
    units: str = "1"

    @property
    def attributes(self) -> dict[str, str]:
        """What is stored beside the variable."""
        return {"long_name": self.meaning, "units": self.units}


_TRAINING = {
    "epoch": Field(("epoch",), "i4", "number of finished epochs"),
    "train_loss": Field(("epoch",), "f8", "mean loss of the training batches, as trained", "nat"),
    "validation_loss": Field(("epoch",), "f8", "loss on the validation split at the mean", "nat"),
    "validation_accuracy": Field(("epoch",), "f8", "accuracy on the validation split at the mean"),
    "learning_rate": Field(("epoch",), "f8", "learning rate of the epoch's last step"),
    "perturbation_norm": Field(("epoch",), "f8", "mean Euclidean length of the perturbation"),
    "seconds": Field(("epoch",), "f8", "wall-clock time since training began", "s"),
}
_SAMPLE = Field(("sample",), "i4", "number of the posterior sample, from 0")
_PLACES = {
    "chain": Field(("sample",), "i4", "number of the Markov chain that the sample is from"),
    "place": Field(("sample",), "i4", "place of the sample among all of the posterior's"),
}
_SAMPLES = {
    "sample": _SAMPLE,
    **_PLACES,
    "eigenvalues": Field(("sample", "eigenvalue"), "f8", "largest eigenvalues, descending", "nat"),
    "residuals": Field(("sample", "eigenvalue"), "f8", "norm of A v - lambda v", "nat"),
    "converged": Field(("sample", "eigenvalue"), "u1", "1 where the residual met the tolerance"),
    "trace": Field(("sample",), "f8", "trace of the matrix", "nat"),
    "trace_standard_error": Field(("sample",), "f8", "standard error of the trace", "nat"),
    "loss": Field(("sample",), "f8", "mean loss on the measured data", "nat"),
    "accuracy": Field(("sample",), "f8", "accuracy on the measured data"),
    "products": Field(("sample",), "i4", "products spent"),
    "seconds": Field(("sample",), "f8", "wall-clock time spent", "s"),
}
_DENSITY = {
    "sample": _SAMPLE,
    "grid": Field(("grid",), "f8", "where the density is evaluated", "nat"),
    "density": Field(
        ("sample", "grid"), "f8", "eigenvalues per parameter and unit, mean over probes", "1/nat"
    ),
    "standard_error": Field(("sample", "grid"), "f8", "standard error of that mean", "1/nat"),
    "nodes": Field(("sample", "probe", "node"), "f8", "what was smoothed: eigenvalues", "nat"),
    "weights": Field(("sample", "probe", "node"), "f8", "their weights, of sum 1"),
}
_PREDICTIONS = {
    **_PLACES,
    "log_probabilities": Field(
        ("sample", "example", "class"), "f4", "log p(class | input, sample)", "nat"
    ),
    "labels": Field(("example",), "i8", "true class"),
    "nll": Field(("sample",), "f8", "negative log-likelihood of each sample alone", "nat"),
    "accuracy": Field(("sample",), "f8", "accuracy of each sample alone"),
    "ece": Field(("sample",), "f8", "expected calibration error of each sample alone, 15 bins"),
    "brier": Field(("sample",), "f8", "Brier score of each sample alone"),
    "rmse": Field(("sample",), "f8", "root mean squared error of each sample alone"),
}
_SHIFTED = {
    "accuracy": Field(("shift",), "f8", "accuracy of the average on each shifted test set"),
    "nll": Field(("shift",), "f8", "negative log-likelihood of the average", "nat"),
    "ece": Field(("shift",), "f8", "expected calibration error of the average, 15 bins"),
    "brier": Field(("shift",), "f8", "Brier score of the average"),
}
_CENTRE = {
    "eigenvalues": Field(("eigenvalue",), "f8", "largest at the samples' mean, descending", "nat"),
    "residuals": Field(("eigenvalue",), "f8", "norm of A v - lambda v", "nat"),
}
_SURFACE = {
    "x": Field(("x",), "f8", "coordinate along the first direction, in parameter units"),
    "y": Field(("y",), "f8", "coordinate along the second direction, in parameter units"),
    "loss": Field(("y", "x"), "f8", "mean loss; NaN and infinity are kept as computed", "nat"),
    "accuracy": Field(("y", "x"), "f8", "accuracy; NaN where the network's output is not finite"),
    "finished": Field(("y",), "u1", "0 where the row has not been evaluated yet, and holds NaN"),
    "sample_x": Field(("sample",), "f8", "each posterior sample's projection on the plane"),
    "sample_y": Field(("sample",), "f8", "each posterior sample's projection on the plane"),
    "sample_off_plane": Field(("sample",), "f8", "Euclidean distance of the sample to the plane"),
    "sample_loss": Field(("sample",), "f8", "loss of the sample itself, off the plane", "nat"),
}

_LINE = {
    "x": Field(("x",), "f8", "length along the line, or t in [0, 1] along the curve"),
    "loss": Field(("x",), "f8", "mean loss; NaN and infinity are kept as computed", "nat"),
    "accuracy": Field(("x",), "f8", "accuracy; NaN where the network's output is not finite"),
    "finished": Field(("x",), "u1", "0 where the point has not been evaluated yet, and holds NaN"),
    "bends": Field(("bend", "parameter"), "f4", "a curve's trained knots between its ends"),
}

GROUPS: Mapping[str, Mapping[str, Field]] = {
    "training": _TRAINING,
    "samples": _SAMPLES,
    "density": _DENSITY,
    "predictions": _PREDICTIONS,
    "tempered": {},  # attributes alone
    "shifted": _SHIFTED,
    "centre": _CENTRE,
}
# Groups of groups, each of its members of one kind.
FAMILIES: Mapping[str, Mapping[str, Field]] = {"surfaces": _SURFACE, "lines": _LINE}

ATTRIBUTES: Mapping[str, str] = {
    "schema_name": "always " + NAME,
    "schema_version": "integer; a reader refuses a newer one",
    "created_at": "UTC, ISO 8601",
    "status": "running, complete or failed",
    "method": "name of the training method",
    "task": "name of the task",
    "seed": "the seed that governs the run",
    "config": "JSON object: every setting of the method, the task and the measurement",
    "task_sizes": "JSON object: examples in each split",
    "classes": "JSON list of class names",
    "loss": "definition of the loss",
    "parameters": "which parameters are random, in words",
    "parameter_count": "P, the number of random parameters",
    "normalisation": "what was done about running statistics",
    "data_fingerprint": "SHA-256 of the task's arrays",
    "device": "device of the computation",
    "dtype": "floating-point type of the parameters",
    "versions": "JSON object: this package and its libraries",
    "git_commit": "commit of the working folder, or empty",
    "posterior_file": "file beside this one with the posterior's weights, or empty",
    "posterior_fingerprint": "SHA-256 of that file",
    "training_seconds": "wall-clock time of training, source included",
}


def fields(group: str) -> Mapping[str, Field]:
    """The variables that ``group`` may hold.

    Args:
        group: One of ``GROUPS``, ``"surfaces/<name>"`` or ``"lines/<name>"``.

    Raises:
        InputError: the schema has no such group.
    """
    if group in GROUPS:
        return GROUPS[group]
    parent, _, name = group.partition("/")
    if parent in FAMILIES and name and "/" not in name:
        return FAMILIES[parent]
    known = ", ".join([*GROUPS, *(f"{family}/<name>" for family in FAMILIES)])
    raise InputError(f"a run file has no group '{group}'; it may hold {known}")


def index(dim: str) -> Field:
    """What stands for an axis that has no variable of its own: its entries counted from 0."""
    return Field((dim,), "i4", f"index along {dim}")


def attribute(name: str, value: object) -> str | int | float:
    """What an attribute is stored as: text, a number, or for anything else its JSON.

    Raises:
        InputError: it cannot be stored.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InputError(f"the attribute '{name}' has more than 64 bits: {value}")
    if isinstance(value, int | float):
        return value
    try:
        text = value if isinstance(value, str) else json.dumps(value)
        text.encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"the attribute '{name}' cannot be stored: {error}") from error
    if "\0" in text:
        raise InputError(f"the attribute '{name}' holds a zero byte")
    return text


def root_attributes(given: Mapping[str, object]) -> dict[str, str | int | float]:
    """Check the attributes of a whole run.

    Raises:
        InputError: an unknown name, an unknown status, or a value that cannot be stored.
    """
    for name in given:
        if name not in ATTRIBUTES:
            raise InputError(
                f"a run file has no attribute '{name}'; known: {', '.join(ATTRIBUTES)}"
            )
        if name in ("schema_name", "schema_version"):
            raise InputError(f"'{name}' is not yours to set")
    if given.get("status", "running") not in STATUSES:
        raise InputError(f"a run's status is one of {', '.join(STATUSES)}")
    return {name: attribute(name, value) for name, value in given.items()}


def conform(group: str, variables: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Cast ``variables`` to the stored types and check their axes against each other.

    Raises:
        InputError: an unknown variable, no numbers, numbers that the stored type cannot hold, a
            wrong number of axes, or axes of unequal length.
    """
    allowed = fields(group)
    lengths: dict[str, int] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, value in variables.items():
        if name not in allowed:
            raise InputError(
                f"group '{group}' has no variable '{name}'; it may hold {', '.join(allowed)}"
            )
        field = allowed[name]
        array = _cast(value, field.dtype, f"{group}/{name}")
        if array.ndim != len(field.dims):
            raise InputError(
                f"{group}/{name} needs the axes {field.dims}, not an array of shape {array.shape}"
            )
        for dim, length in zip(field.dims, array.shape, strict=True):
            if lengths.setdefault(dim, length) != length:
                raise InputError(
                    f"{group}/{name} has {length} along '{dim}' where the group has {lengths[dim]}"
                )
        arrays[name] = array
    return arrays


def _cast(value: object, dtype: str, name: str) -> np.ndarray:
    try:
        given = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged; a tensor that needs a gradient
        raise InputError(f"{name} is not an array of numbers: {error}") from error
    if given.dtype.kind not in "biuf":
        raise InputError(f"{name} needs numbers, not {given.dtype}")
    with np.errstate(invalid="ignore", over="ignore"):
        array = given.astype(dtype)
    if array.dtype.kind in "iu" and not np.array_equal(array, given):
        raise InputError(f"{name} needs whole numbers that fit {array.dtype}")
    return array
