"""Readers for the figures: chosen variables of a group of a run, or what is missing there.

They read only the data on the screen, and do not trust the file: a fault in it raises an
``InputError`` with a message of one line.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from landscape.errors import InputError
from landscape.runtime import limits
from landscape.store import Group, Run, schema
from landscape.store.heartbeat import STOPPED, status_of
from landscape.store.summary import unfinished
from landscape_app import commands, formats
from landscape_app.cache import cached

Value = TypeVar("Value")
Item = TypeVar("Item")


class NotMeasured(InputError):
    """Error for a valid file that does not (yet) hold the data of a figure.

    Attributes:
        reason: Reason in a few words, for a line in a figure of other runs.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class PerRun(dict[int, Value], Generic[Value]):
    """Data of several runs, by the position of each run.

    Attributes:
        absent: Reasons why the other runs have no data, in a few words, by position.
    """

    def __init__(self) -> None:
        super().__init__()
        self.absent: dict[int, str] = {}


def read(run: Run, group: str, *required: str, optional: tuple[str, ...] = ()) -> Group:
    """Read only the named variables of one group and the attributes of the group.

    Args:
        run: Run file to read from.
        group: Name of the group: ``"samples"``, ``"surfaces/random"``, ...
        *required: Variables that the figure cannot do without.
        optional: Variables to read if the file has them.

    Raises:
        NotMeasured: the group or a required variable is not in the file.
        InputError: the file is damaged, the axes of a variable differ from the schema, or the group
            holds more than can be drawn.
    """
    try:
        data = run.read(group, *required, *optional, most=limits.MAX_DRAWN)
    except KeyError as error:
        raise missing(run, group) from error
    if any(name not in data for name in required):
        raise missing(run, group)
    _check_samples(run, group, data)
    return data


def _check_samples(run: Run, group: str, data: Group) -> None:
    fields = schema.fields(group)
    count = max((len(data[name]) for name in data if fields[name].dims[0] == "sample"), default=0)
    if count > limits.MAX_DRAWN_SAMPLES:
        raise InputError(
            f"{run.path}: group '{group}' holds {formats.count(count, 'sample')}, but a figure "
            f"shows at most {limits.MAX_DRAWN_SAMPLES:,}: not drawn"
        )


def read_class_probabilities(run: Run) -> Group:
    """``log_probabilities`` and ``labels`` of a run's predictions, and ``nll`` of each sample.

    Raises:
        NotMeasured: the file does not hold them, or the run is a regression.
        InputError: the file is damaged.
    """
    try:  # without the limit on drawn numbers: figures draw summaries of them
        group = run.read("predictions", "log_probabilities", "labels", "nll", "rmse")
    except KeyError as error:
        raise missing(run, "predictions") from error
    _check_samples(run, "predictions", group)
    if "rmse" in group or "rmse" in group.attributes:
        reason = "a regression predicts no classes"
        raise NotMeasured(f"{reason}: {run.path} holds only the likelihood and the error", reason)
    if "labels" not in group or not group.get("log_probabilities", np.empty(0)).size:
        raise missing(run, "predictions")
    return group


def read_each(
    runs: Sequence[Run], group: str, *required: str, optional: tuple[str, ...] = ()
) -> PerRun[Group]:
    """``read`` for several runs: the group of each run, by its position in ``runs``.

    Raises:
        NotMeasured: no run holds the group. The message is about the first run.
        InputError: see ``read``.
    """

    def reader(run: Run) -> Group:
        measured = read(run, group, *required, optional=optional)
        if not all(measured[name].size for name in required):
            raise missing(run, group)
        return measured

    return each_of(runs, reader)


def each_of(runs: Sequence[Item], reader: Callable[[Item], Value]) -> PerRun[Value]:
    """The results of ``reader`` for the runs that have the data, by position in ``runs``.

    Raises:
        InputError: no run has the data: it is not measured (``NotMeasured``) or cannot be read.
            The message is about the first run.
    """
    results: PerRun[Value] = PerRun()
    faults: list[InputError] = []
    for position, run in enumerate(runs):
        try:
            results[position] = reader(run)
        except InputError as fault:
            faults.append(fault)
            results.absent[position] = (
                fault.reason if isinstance(fault, NotMeasured) else str(fault)
            )
    if not results:
        raise faults[0] if faults else InputError("choose a run to show")
    return results


def progress(run: Run) -> str:
    """What is to be said of a run beside its name: its progress, stopped or failed; or nothing."""
    status = status_of(run)
    if status not in ("running", STOPPED):
        return status if status == "failed" else ""
    try:
        parts = unfinished(run)
        if not parts and "samples" in run:
            count = len(run.read("samples", "sample").get("sample", ()))
            parts = [f"{count} of {count} samples"]
    except InputError:  # damaged: the figures report it
        parts = []
    if status == STOPPED:
        return f"{STOPPED} at {', '.join(parts)}" if parts else STOPPED
    return ", ".join(parts) or status


def missing(run: Run, group: str) -> NotMeasured:
    """The error for a missing ``group``, with the command that measures it."""
    if group in ("training", "predictions"):
        reason = f"{group} not recorded"
        file = shlex.quote(str(run.path))
        return NotMeasured(f"{reason} in {file}: `landscape train` writes it", reason)
    family, _, name = group.partition("/")
    if family == "surfaces":
        reason, remedy = f"surface '{name}' not measured", commands.plane_remedy(run, name)
    elif family == "lines":
        reason, remedy = "no line measured", commands.line_remedy(run)
    elif group == "trajectory":
        reason, remedy = "not measured along the training", commands.along_remedy(run)
    elif group == "density":
        reason = "spectral density not measured"
        remedy = f"run `{commands.measure_command(run, density_probes=10)}`"
    elif group == "sharpness":
        reason = "further measures not measured"
        remedy = f"run `{commands.measure_command(run, sharpness=['all'], fresh=False)}`"
    else:
        reason = "curvature not measured"
        remedy = f"run `{commands.measure_command(run)}`"
    return NotMeasured(f"{reason}: {remedy}", reason)


def surface_names(*runs: Run) -> list[str]:
    """Names of the surfaces in any of the files, the plane through the samples first.

    Raises:
        InputError: a file can no longer be read.
    """
    return _names("surfaces", runs)


def share_plane(runs: Sequence[Run], name: str) -> bool:
    """Whether several runs have the surface ``name`` on the same plane and the same grid.

    Args:
        runs: The runs. Those without such a surface are left out.
        name: Name of the surface.
    """
    marks = []
    for run in runs:
        try:
            marks.append(_plane_fingerprint(run, f"surfaces/{name}"))
        except (KeyError, InputError):
            continue
    return len(marks) > 1 and None not in marks and len(set(marks)) == 1


def _plane_fingerprint(run: Run, group: str) -> object:
    def read_it() -> object:
        return run.attributes_of(group).get("plane_fingerprint")

    return cached(f"plane of {group}", run.path, read_it)


def line_names(*runs: Run) -> list[str]:
    """Names of the lines and curves in any of the files, the line between the samples first.

    Raises:
        InputError: a file can no longer be read.
    """
    return _names("lines", runs)


def _group_names(run: Run) -> tuple[str, ...]:
    return cached("groups", run.path, lambda: run.groups)


def _names(family: str, runs: Sequence[Run]) -> list[str]:
    groups = {name.partition("/") for run in runs for name in _group_names(run)}
    names = [name for kind, _, name in groups if kind == family and name]
    return sorted(names, key=lambda name: (name != "samples", name))
