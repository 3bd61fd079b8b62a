"""The layout of a run file: its groups, and the axes and meaning of every variable.

The file is plain HDF5; ``docs/file-format.md`` describes it for readers without this package.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from landscape.errors import InputError, printable, refused
from landscape.runtime.json_text import parse_json, parse_object
from landscape.store import version_1

NAME = "landscape-run"
VERSION = 2
STATUSES = ("running", "complete", "failed")


@dataclass(frozen=True)
class Field:
    """One variable of a group.

    Attributes:
        dims: Names of its axes.
        dtype: Stored type.
        meaning: Meaning in words.
        units: Physical units.
        low: Smallest possible value; NaN is possible as well.
        high: Largest possible value.
        coordinate: Whether it is a coordinate of others, and so is finite.
    """

    dims: tuple[str, ...]
    dtype: str
    meaning: str
    units: str = "1"
    low: float = -math.inf
    high: float = math.inf
    coordinate: bool = False

    @property
    def range(self) -> str:
        """The possible values, in words."""
        if math.isinf(self.high):
            return f"{self.low:g} or more"
        if math.isinf(self.low):
            return f"{self.high:g} or less"
        return f"between {self.low:g} and {self.high:g}"

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes of the variable in the file."""
        return {"long_name": self.meaning, "units": self.units}


_ROUNDING = 1e-3
"""Largest excess over a bound by rounding: probabilities are in single precision."""

_TRAINING = {
    "epoch": Field(("epoch",), "i4", "number of finished epochs", low=0),
    "train_loss": Field(("epoch",), "f8", "mean loss of the training batches, as trained", "nat"),
    "validation_loss": Field(("epoch",), "f8", "loss on the validation split at the mean", "nat"),
    "validation_accuracy": Field(
        ("epoch",), "f8", "accuracy on the validation split at the mean", low=0, high=1
    ),
    "learning_rate": Field(("epoch",), "f8", "learning rate of the epoch's last step"),
    "perturbation_norm": Field(
        ("epoch",), "f8", "mean Euclidean length of the perturbation", low=0
    ),
    "seconds": Field(("epoch",), "f8", "wall-clock time since training began", "s", low=0),
}
_SAMPLE = Field(("sample",), "i4", "number of the posterior sample, from 0", low=0)
_PLACES = {
    "chain": Field(("sample",), "i4", "number of the Markov chain that the sample is from", low=0),
    "place": Field(("sample",), "i4", "place of the sample among all of the posterior's", low=0),
}
_SAMPLES = {
    "sample": _SAMPLE,
    **_PLACES,
    "eigenvalues": Field(("sample", "eigenvalue"), "f8", "largest eigenvalues, descending", "nat"),
    "residuals": Field(("sample", "eigenvalue"), "f8", "norm of A v - lambda v", "nat", low=0),
    "converged": Field(
        ("sample", "eigenvalue"), "u1", "1 where the residual met the tolerance", low=0, high=1
    ),
    "trace": Field(("sample",), "f8", "trace of the matrix", "nat"),
    "trace_standard_error": Field(("sample",), "f8", "standard error of the trace", "nat", low=0),
    "loss": Field(("sample",), "f8", "mean loss on the measured data", "nat"),
    "accuracy": Field(("sample",), "f8", "accuracy on the measured data", low=0, high=1),
    "matvecs": Field(("sample",), "i4", "matrix-vector products spent", low=0),
    "matvec_error": Field(("sample",), "f8", "relative error of these products", low=0),
    "seconds": Field(("sample",), "f8", "wall-clock time spent", "s", low=0),
}
_TRAJECTORY = {
    **{name: field for name, field in _SAMPLES.items() if name not in _PLACES},
    "sample": Field(("sample",), "i4", "number of the point along the training, from 0", low=0),
    "count": Field(("sample",), "i8", "number of steps, or of epochs, before the point", low=0),
}
_SHARPNESS = {
    "sample": _SAMPLE,
    **_PLACES,
    "value": Field(("sample", "measure"), "f8", "value of each measure", "see the measure"),
    "error": Field(("sample", "measure"), "f8", "its error", "see the measure", low=0),
    "converged": Field(
        ("sample", "measure"), "u1", "1 where the search or the chains converged", low=0, high=1
    ),
    "temperature": Field(("sample",), "f8", "temperature of the tempered logits", low=0),
    "seconds": Field(("sample",), "f8", "wall-clock time spent", "s", low=0),
}
_DENSITY = {
    "sample": _SAMPLE,
    "grid": Field(("grid",), "f8", "where the density is evaluated", "nat", coordinate=True),
    "density": Field(
        ("sample", "grid"),
        "f8",
        "eigenvalues per parameter and unit, mean over probes",
        "1/nat",
        low=0,
    ),
    "standard_error": Field(
        ("sample", "grid"), "f8", "standard error of that mean", "1/nat", low=0
    ),
    "nodes": Field(("sample", "probe", "node"), "f8", "what was smoothed: eigenvalues", "nat"),
    "weights": Field(("sample", "probe", "node"), "f8", "their weights, of sum 1", low=0),
}
_PREDICTIONS = {
    **_PLACES,
    "log_probabilities": Field(
        ("sample", "example", "class"), "f4", "log p(class | input, sample)", "nat", high=0
    ),
    "labels": Field(("example",), "i8", "true class", low=0),
    "nll": Field(("sample",), "f8", "negative log-likelihood of each sample alone", "nat"),
    "accuracy": Field(("sample",), "f8", "accuracy of each sample alone", low=0, high=1),
    "ece": Field(
        ("sample",), "f8", "expected calibration error of each sample alone, 15 bins", low=0, high=1
    ),
    "brier": Field(("sample",), "f8", "Brier score of each sample alone", low=0, high=2),
    "rmse": Field(("sample",), "f8", "root mean squared error of each sample alone", low=0),
}
_SHIFTED = {
    "accuracy": Field(
        ("shift",), "f8", "accuracy of the average on each shifted test set", low=0, high=1
    ),
    "nll": Field(("shift",), "f8", "negative log-likelihood of the average", "nat"),
    "ece": Field(
        ("shift",), "f8", "expected calibration error of the average, 15 bins", low=0, high=1
    ),
    "brier": Field(("shift",), "f8", "Brier score of the average", low=0, high=2),
}
_CENTRE = {
    "eigenvalues": Field(("eigenvalue",), "f8", "largest at the samples' mean, descending", "nat"),
    "residuals": Field(("eigenvalue",), "f8", "norm of A v - lambda v", "nat", low=0),
}
_SURFACE = {
    "x": Field(
        ("x",), "f8", "coordinate along the first direction, in parameter units", coordinate=True
    ),
    "y": Field(
        ("y",), "f8", "coordinate along the second direction, in parameter units", coordinate=True
    ),
    "loss": Field(("y", "x"), "f8", "mean loss; NaN and infinity are kept as computed", "nat"),
    "accuracy": Field(
        ("y", "x"), "f8", "accuracy; NaN where the network's output is not finite", low=0, high=1
    ),
    "finished": Field(
        ("y",), "u1", "0 where the row has not been evaluated yet, and holds NaN", low=0, high=1
    ),
    "sample_x": Field(("sample",), "f8", "each posterior sample's projection on the plane"),
    "sample_y": Field(("sample",), "f8", "each posterior sample's projection on the plane"),
    "sample_off_plane": Field(
        ("sample",), "f8", "Euclidean distance of the sample to the plane", low=0
    ),
    "sample_loss": Field(("sample",), "f8", "loss of the sample itself, off the plane", "nat"),
    "sample_count": Field(
        ("sample",), "i8", "number of steps, or of epochs, before a point along a training", low=0
    ),
}

_LINE = {
    "x": Field(
        ("x",), "f8", "length along the line, or t in [0, 1] along the curve", coordinate=True
    ),
    "loss": Field(("x",), "f8", "mean loss; NaN and infinity are kept as computed", "nat"),
    "accuracy": Field(
        ("x",), "f8", "accuracy; NaN where the network's output is not finite", low=0, high=1
    ),
    "finished": Field(
        ("x",), "u1", "0 where the point has not been evaluated yet, and holds NaN", low=0, high=1
    ),
    "bends": Field(("bend", "parameter"), "f4", "a curve's trained knots between its ends"),
}

GROUPS: Mapping[str, Mapping[str, Field]] = {
    "training": _TRAINING,
    "samples": _SAMPLES,
    "trajectory": _TRAJECTORY,
    "density": _DENSITY,
    "sharpness": _SHARPNESS,
    "predictions": _PREDICTIONS,
    "tempered": {},  # attributes alone
    "shifted": _SHIFTED,
    "centre": _CENTRE,
}
# Groups of groups; the members of a family have the same variables.
FAMILIES: Mapping[str, Mapping[str, Field]] = {"surfaces": _SURFACE, "lines": _LINE}

# Root attributes that are numbers or JSON. A whole number has 64 bits.
_WHOLE = ("schema_version", "seed", "parameter_count")
_REAL = ("training_seconds",)
_JSON_OBJECTS = ("config", "task_sizes", "versions")
_JSON = (*_JSON_OBJECTS, "classes")

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
    "loss_mean_over": "labels (each token and pixel counts), examples or batches",
    "parameters": "names of the inferred parameters",
    "parameter_count": "P, the number of inferred parameters",
    "normalisation": "what was done about running statistics",
    "data_fingerprint": "SHA-256 of the task's arrays",
    "device": "device of the computation",
    "dtype": "floating-point type of the parameters",
    "versions": "JSON object: this package and its libraries",
    "git_commit": "commit of the working folder, or empty",
    "posterior_file": "file beside this one with the posterior's weights, or empty",
    "posterior_fingerprint": "SHA-256 of that file",
    "training_fingerprint": "SHA-256 of all that training depended on, initial weights included",
    "training_seconds": "wall-clock time of training, source included",
}


def fields(group: str) -> Mapping[str, Field]:
    """The variables that ``group`` may hold.

    Args:
        group: One of ``GROUPS``, ``"surfaces/<name>"`` or ``"lines/<name>"``.

    Raises:
        InputError: the schema has no such group.
    """
    variables = _fields(group)
    if variables is None:
        known = ", ".join([*GROUPS, *(f"{family}/<name>" for family in FAMILIES)])
        raise InputError(f"a run file has no group '{group}'; it may hold {known}")
    return variables


def has_group(group: str) -> bool:
    """Whether a run file may hold a group of that name."""
    return _fields(group) is not None


def _fields(group: str) -> Mapping[str, Field] | None:
    if group in GROUPS:
        return GROUPS[group]
    parent, _, name = group.partition("/")
    return FAMILIES.get(parent) if name and "/" not in name else None


def number_size(path: str) -> int:
    """Bytes of one number of a variable as it is read; 0 where the schema has no such variable.

    Args:
        path: Group and variable: ``"samples/trace"``.
    """
    known = _fields(path.rpartition("/")[0]) or {}
    name = version_1.variable_name(path)
    return np.dtype(known[name].dtype).itemsize if name in known else 0


def index(dim: str) -> Field:
    """The variable of an axis that has none of its own: its entries counted from 0."""
    return Field((dim,), "i4", f"index along {dim}")


def attribute(name: str, value: object) -> str | int | float:
    """The stored form of an attribute: text, a number, or for anything else its JSON.

    Raises:
        InputError: it cannot be stored.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InputError(f"the attribute '{name}' has more than 64 bits: {value}")
    if isinstance(value, int | float):
        return value
    with refused(f"the attribute '{name}' cannot be stored"):
        text = value if isinstance(value, str) else json.dumps(value)
        text.encode()
    if not isinstance(value, str):
        parse_json(text, f"the attribute '{name}'")  # a reader does the same
    if "\0" in text:
        raise InputError(f"the attribute '{name}' holds a zero byte")
    return text


def check_attributes(attributes: Mapping[str, object]) -> None:
    """Check the root attributes of a file from anybody; any of them may be absent.

    Raises:
        InputError: an attribute is of another kind than the schema states.
    """
    for name in ATTRIBUTES:
        value = attributes.get(name)
        if value is None:
            continue
        shown = printable(str(value))
        if name in _WHOLE:
            if not isinstance(value, int) or not -(2**63) <= value < 2**63:
                raise InputError(f"the attribute '{name}' is {shown}, no whole number of 64 bits")
        elif name in _REAL:
            if not isinstance(value, int | float):
                raise InputError(f"the attribute '{name}' is '{shown}', no number")
        elif not isinstance(value, str):
            raise InputError(f"the attribute '{name}' is {shown}, no text")
        elif name in _JSON_OBJECTS:
            parse_object(value, f"the attribute '{name}'")
        elif name in _JSON:
            parse_json(value, f"the attribute '{name}'")
    if attributes.get("status", STATUSES[0]) not in STATUSES:
        raise InputError(
            f"the attribute 'status' is '{printable(str(attributes['status']))}', none of "
            f"{', '.join(STATUSES)}"
        )


def root_attributes(given: Mapping[str, object]) -> dict[str, str | int | float]:
    """Check root attributes that are to be written.

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


def conform(
    group: str,
    variables: Mapping[str, object],
    others: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, np.ndarray]:
    """Cast ``variables`` to the stored types, and check them against the schema and each other.

    Args:
        group: Name of the group.
        variables: Its variables by name.
        others: Shapes of more variables of the group, which must fit those.

    Raises:
        InputError: an unknown variable, no numbers, numbers that the stored type cannot hold, a
            wrong number of axes, or axes of unequal length.
    """
    arrays = {name: _cast(group, name, value) for name, value in variables.items()}
    lengths: dict[str, int] = {}
    for name, shape in {**(others or {}), **{n: a.shape for n, a in arrays.items()}}.items():
        dims = _field(group, name).dims
        if len(shape) != len(dims):
            raise InputError(f"{group}/{name} needs the axes {dims}, not an array of shape {shape}")
        for dim, length in zip(dims, shape, strict=True):
            if lengths.setdefault(dim, length) != length:
                raise InputError(
                    f"{group}/{name} has {length} along '{dim}' where the group has {lengths[dim]}"
                )
    return arrays


def check_values(group: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Check that the values of variables are possible ones.

    Raises:
        InputError: some are not.
    """
    for name, array in arrays.items():
        field = _field(group, name)
        if (array < field.low - _ROUNDING).any() or (array > field.high + _ROUNDING).any():
            raise InputError(f"{group}/{name} holds values that are not {field.range}")
        if field.coordinate and not np.isfinite(array).all():
            raise InputError(f"{group}/{name} holds coordinates that are not finite")


def _field(group: str, name: str) -> Field:
    allowed = fields(group)
    if name not in allowed:
        raise InputError(
            f"group '{group}' has no variable '{name}'; it may hold {', '.join(allowed)}"
        )
    return allowed[name]


def _cast(group: str, variable: str, value: object) -> np.ndarray:
    field, name = _field(group, variable), f"{group}/{variable}"
    try:
        given = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged; a tensor that needs a gradient
        raise InputError(f"{name} is not an array of numbers: {error}") from error
    if given.dtype.kind not in "biuf":
        raise InputError(f"{name} needs numbers, not {given.dtype}")
    with np.errstate(invalid="ignore", over="ignore"):
        array = given.astype(field.dtype)
        if array.dtype.kind in "iu" and not np.array_equal(array, given):
            raise InputError(f"{name} needs whole numbers that fit {array.dtype}")
    return array
