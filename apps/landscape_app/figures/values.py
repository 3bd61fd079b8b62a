"""What a surface shows at each point of its plane: the loss, the accuracy, or a difference."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from landscape.errors import InputError
from landscape.store import Group, Run
from landscape.surfaces import SHARED_PLANES
from landscape_app.commands import plane_remedy
from landscape_app.data import NotMeasured, PerRun, each_of, missing, read, share_plane
from landscape_app.figures.scale import Scale
from landscape_app.settings import parts

SAMPLES = ("sample_x", "sample_y", "sample_off_plane", "sample_loss")
"""Variables of a surface with the positions of the posterior's samples."""
_MORE = (*SAMPLES, "sample_count", "accuracy", "finished")
_TEST = "-test"
_OF_ONE_SPLIT = ("examples", "split")
_DEFAULTS = {"margin": 0.5, "extent": None}
"""Defaults of ``landscape surface``."""


@dataclass(frozen=True)
class Value:
    """A number at each point of a plane.

    Attributes:
        words: Its name.
        axis: Title of its axis.
        colours: Colours from its lowest to its highest number.
        can_be_log: Whether its scale can be logarithmic.
        is_share: Whether it is between 0 and 1.
        is_difference: Whether it is a difference, with colours centred at zero.
    """

    words: str
    axis: str
    colours: str = "Viridis"
    can_be_log: bool = False
    is_share: bool = False
    is_difference: bool = False


VALUES: Mapping[str, Value] = {
    "loss": Value("loss", "loss (nat)", can_be_log=True),
    "accuracy": Value("accuracy", "accuracy", is_share=True),
    "gap": Value(
        "test loss less training loss",
        "test loss − training loss (nat)",
        colours="RdBu_r",
        is_difference=True,
    ),
    "difference": Value(
        "difference of the losses", "difference of the losses (nat)", "RdBu_r", is_difference=True
    ),
}
"""The values of surfaces, by their names in the address."""


def read_surfaces(runs: Sequence[Run], name: str, value: str = "loss") -> PerRun[Group]:
    """The surfaces of runs with another value in place of their loss.

    ``sample_loss`` is then the value of the surface below each sample: a file holds no other value
    of the samples themselves.

    Args:
        runs: The run files.
        name: Name of the surface.
        value: One of ``VALUES``. ``"difference"`` is that of the last run and the first.

    Raises:
        NotMeasured: no run has what the value needs.
        InputError: a run file cannot be read, or the losses of a difference are on two planes.
    """
    if value == "difference":
        return _between_runs(runs, name)
    return each_of(runs, partial(_read, name=name, value=value))


def limits(value: str, numbers: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest number for the colours, of finite numbers."""
    low, high = float(numbers.min()), float(numbers.max())
    if not VALUES[value].is_difference:
        return low, high
    reach = max(abs(low), abs(high)) or 1.0
    return -reach, reach


def bar(value: str, scale: Scale) -> dict[str, Any]:
    """The colour bar of a value."""
    look: dict[str, Any] = {"title": {"text": VALUES[value].axis, "side": "right"}}
    look |= {"thickness": 14, "outlinewidth": 0} | scale.ticks
    return look | ({"tickformat": ".0%"} if VALUES[value].is_share else {})


def of_sample(value: str) -> str:
    """The name of the column of a sample's number in tables."""
    return "own_loss" if value == "loss" else "below"


def of_sample_words(value: str) -> str:
    """The words for a sample's number."""
    return "its own loss" if value == "loss" else f"{VALUES[value].words} below it"


def differ(runs: Sequence[Run], name: str) -> bool:
    """Whether runs have different losses on one plane, as of other data or another loss."""
    if not share_plane(runs, name):
        return False
    try:
        losses = [group["loss"] for group in read_surfaces(runs, name).values()]
    except InputError:  # the place of the figure shows the error
        return False
    return any(not np.array_equal(losses[0], loss, equal_nan=True) for loss in losses[1:])


def has_accuracy(run: Run, name: str) -> bool:
    """Whether a surface has an accuracy, which regression does not."""
    try:
        accuracy = read(run, f"surfaces/{name}", optional=("accuracy",)).get("accuracy")
    except InputError:
        return False
    return accuracy is not None and bool(np.isfinite(accuracy).any())


def _read(run: Run, name: str, value: str) -> Group:
    if value == "gap":
        return _gap(run, name)
    group = read(run, f"surfaces/{name}", "x", "y", "loss", optional=_MORE)
    if not all(group[variable].size for variable in ("x", "y", "loss")):
        raise missing(run, f"surfaces/{name}")
    if value == "loss":
        return group
    if "accuracy" not in group:
        raise NotMeasured(f"surface '{name}' of {run.path} has no accuracy", "no accuracy")
    return _with(group, group["accuracy"])


def _gap(run: Run, name: str) -> Group:
    """The loss on the test set less that on the training set."""
    name = name.removesuffix(_TEST)
    train = _read(run, name, "loss")
    try:
        test = _read(run, name + _TEST, "loss")
    except NotMeasured as error:
        reason = f"surface '{name + _TEST}' not measured"
        raise NotMeasured(f"{reason}: {_same_on_test(run, name, train)}", reason) from error
    return _less(train, test, f"'{name}' and '{name + _TEST}' of {run.path}")


def _between_runs(runs: Sequence[Run], name: str) -> PerRun[Group]:
    """The loss of the last run less that of the first, and the samples of all."""
    groups = read_surfaces(runs, name)
    places = list(groups)
    if len(places) < 2:
        raise InputError(f"a difference needs two runs with the surface '{name}'")
    first, last = groups[places[0]], groups[places[-1]]
    if not share_plane([runs[place] for place in places], name):
        raise InputError(f"the surfaces '{name}' of these runs are on different planes")
    difference = last["loss"] - first["loss"]
    if not np.nan_to_num(difference).any():
        raise InputError(
            "two runs of one network have the same loss on one plane: it depends on the weights "
            "alone; compare where their samples are"
        )
    for place in places:
        groups[place] = _with(groups[place], difference)
    return groups


def _less(train: Group, test: Group, words: str) -> Group:
    compared = ("x", "y", *(name for name in SAMPLES[:3] if name in train))
    about = ("kind", "seed", "x_axis", "y_axis")
    same = all(
        name in test
        and train[name].shape == test[name].shape
        and np.allclose(train[name], test[name], rtol=1e-5, atol=1e-7, equal_nan=True)
        for name in compared
    )
    if not same or any(train.attributes.get(key) != test.attributes.get(key) for key in about):
        raise InputError(f"the surfaces {words} are on different planes or grids: no difference")
    of_both = {key: kept for key, kept in train.attributes.items() if key not in _OF_ONE_SPLIT}
    return _with(Group(train.variables, of_both), test["loss"] - train["loss"])


def _with(group: Group, values: np.ndarray) -> Group:
    """A surface with other values in place of its loss."""
    variables = {**group, "loss": values}
    if all(name in group for name in SAMPLES):
        variables["sample_loss"] = _below(group, values)
    return Group(variables, group.attributes)


def _below(group: Group, values: np.ndarray) -> np.ndarray:
    """The values of a grid below the samples, linear between the grid's points; NaN beyond it."""
    from scipy.interpolate import RegularGridInterpolator

    x, y = group["x"], group["y"]
    if len(x) < 2 or len(y) < 2:
        return np.full(len(group["sample_x"]), np.nan)
    grid = RegularGridInterpolator((y, x), values, bounds_error=False)
    points = np.stack([group["sample_y"], group["sample_x"]], axis=-1)
    below: np.ndarray = grid(points)
    return below


def _same_on_test(run: Run, name: str, train: Group) -> str:
    """The words that tell how to evaluate the same plane and grid on the test set."""
    if name in SHARED_PLANES:
        return plane_remedy(run, name + _TEST)
    rows, columns = train["loss"].shape
    command = f"landscape surface {shlex.quote(str(run.path))} --plane {name} --split test"
    command += f" --grid {columns} --rows {rows}"
    if name != "trajectory" and "sample_x" in train:
        command += f" --samples {len(train['sample_x'])}"
    request = parts(train.attributes.get("request"))
    for option in ("margin", "extent"):
        length = request.get(option) if isinstance(request, dict) else None
        if isinstance(length, int | float) and length != _DEFAULTS[option]:
            command += f" --{option} {length:g}"
    return f"run `{command}`"
