"""What the pages read: the runs in a folder, one run by its name, chosen variables of a group.

Only what is looked at is read, and every reader treats the file as untrusted: a fault in it comes
back as one ``InputError`` line.
"""

from __future__ import annotations

import shlex
import stat
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from landscape.errors import InputError
from landscape.runtime import limits
from landscape.store import Group, Run, Summary, schema, summarise
from landscape.store.summary import unfinished
from landscape.surfaces import PLANES
from landscape_app import formats
from landscape_app.cache import cached
from landscape_app.url import View

SUFFIX = ".h5"
_listing = threading.Lock()
"""A second request for a list waits until the first has read it."""
Found = TypeVar("Found")
Item = TypeVar("Item")


class NotMeasured(InputError):
    """The file is sound, but does not hold (yet) what a figure shows.

    Attributes:
        reason: Reason in a few words, for a line in a figure of other runs.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Each(dict[int, Found], Generic[Found]):
    """What each of several runs holds, by its position among them.

    Attributes:
        absent: Reasons of the other runs, in a few words, by their positions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.absent: dict[int, str] = {}


@dataclass(frozen=True)
class BrokenRun:
    """A file that looks like a run by its name and cannot be read as one."""

    name: str
    reason: str


def run_files(folder: Path) -> list[Path]:
    """The files in ``folder`` that are runs by their names, sorted; hidden ones are left out.

    Raises:
        InputError: the folder is missing or cannot be read.
    """
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix == SUFFIX and not path.name.startswith(".")
        )
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}: {error.strerror or error}") from error


def list_runs(folder: Path) -> list[Summary | BrokenRun]:
    """Every run in ``folder``, newest first, then the files that cannot be read.

    Raises:
        InputError: the folder itself is missing or cannot be read.
    """
    sound: list[Summary] = []
    broken: list[Summary | BrokenRun] = []
    with _listing:
        for path in run_files(folder):
            try:
                sound.append(_summary(folder, path.stem))
            except InputError as error:
                broken.append(BrokenRun(path.name, str(error)))
    return [*sorted(sound, key=lambda run: run.created_at, reverse=True), *broken]


def _summary(folder: Path, name: str) -> Summary:
    path = run_path(folder, name)
    return cached("summary", path, lambda: summarise(Run.open(path)))


def load_run(folder: Path, name: str) -> Run:
    """Open the run ``name`` of ``folder``; the name may come from anybody.

    Raises:
        InputError: there is no such run, the name or a link leads out of the folder, or the file
            cannot be read.
    """
    return Run.open(run_path(folder, name))


def run_path(folder: Path, name: str) -> Path:
    """The file of the run ``name`` of ``folder``; the name may come from anybody.

    Raises:
        InputError: there is no such file, or the name or a link leads out of the folder.
    """
    if not name or name.startswith(".") or any(sign in name for sign in "/\\\0"):
        raise InputError(f"'{name}' is not the name of a run")
    path = folder / (name + SUFFIX)
    try:
        if not path.resolve(strict=True).is_relative_to(folder.resolve()):
            raise InputError(f"{path} is a link out of the folder: refused")
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            raise InputError(f"{path} is not a regular file")
    except FileNotFoundError as error:
        raise InputError(f"there is no run '{name}' in {folder}") from error
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    return path


def open_runs(folder: Path, view: View) -> tuple[list[Run], list[InputError]]:
    """The runs that ``view`` compares, in its order, and what is wrong with the others."""
    runs: list[Run] = []
    faults: list[InputError] = []
    for name in view.runs:
        try:
            runs.append(load_run(folder, name))
        except InputError as fault:
            faults.append(fault)
    return runs, faults


def stamp(folder: Path, view: View) -> str:
    """A text that changes when the files change that ``view`` shows."""
    try:
        names = {run_file.stem for run_file in run_files(folder)}
    except InputError as error:
        return str(error)
    if view.page:
        names = {*view.runs, *([view.name] if view.page == "run" else [])}
    states = []
    for name in sorted(names):
        try:
            status = (folder / (name + SUFFIX)).lstat()
        except (OSError, ValueError):  # gone, or no name of a file: the page says so
            continue
        states.append((name, status.st_mtime_ns, status.st_size))
    return str(states)


def read(run: Run, group: str, *required: str, optional: tuple[str, ...] = ()) -> Group:
    """Read the named variables of one group and the group's attributes, and nothing else.

    Args:
        run: Where from.
        group: ``"samples"``, ``"surfaces/random"``, ...
        *required: Variables without which there is nothing to show.
        optional: Variables to add where the file has them.

    Raises:
        NotMeasured: the group or a required variable is not in the file.
        InputError: the file is damaged, a variable has not the axes that the schema states, or
            there is more than can be drawn.
    """
    try:
        found = run.read(group, *required, *optional, most=limits.MAX_DRAWN)
    except KeyError as error:
        raise missing(run, group) from error
    if any(name not in found for name in required):
        raise missing(run, group)
    _check_samples(run, group, found)
    return found


def _check_samples(run: Run, group: str, found: Group) -> None:
    fields = schema.fields(group)
    count = max((len(found[name]) for name in found if fields[name].dims[0] == "sample"), default=0)
    if count > limits.MAX_DRAWN_SAMPLES:
        raise InputError(
            f"{run.path}: group '{group}' holds {formats.count(count, 'sample')}, and a figure has "
            f"up to {limits.MAX_DRAWN_SAMPLES:,}: not drawn"
        )


def read_class_probabilities(run: Run) -> Group:
    """``log_probabilities`` and ``labels`` of a run's predictions.

    Raises:
        NotMeasured: they are not in the file, or it predicts real numbers.
        InputError: the file is damaged.
    """
    try:  # all of it, as it is no figure yet
        group = run.read("predictions", "log_probabilities", "labels", "rmse")
    except KeyError as error:
        raise missing(run, "predictions") from error
    _check_samples(run, "predictions", group)
    if "rmse" in group or "rmse" in group.attributes:
        reason = "a regression predicts no classes"
        raise NotMeasured(f"{reason}: {run.path} holds the likelihood and the error alone", reason)
    if "labels" not in group or not group.get("log_probabilities", np.empty(0)).size:
        raise missing(run, "predictions")
    return group


def read_each(
    runs: Sequence[Run], group: str, *required: str, optional: tuple[str, ...] = ()
) -> Each[Group]:
    """``read`` for several runs: what each of them holds, by its position in ``runs``.

    Raises:
        NotMeasured: no run holds it; the message is about the first.
        InputError: see ``read``.
    """

    def reader(run: Run) -> Group:
        measured = read(run, group, *required, optional=optional)
        if not all(measured[name].size for name in required):
            raise missing(run, group)
        return measured

    return each_of(runs, reader)


def each_of(runs: Sequence[Item], reader: Callable[[Item], Found]) -> Each[Found]:
    """What ``reader`` finds in each of the runs that have it, by position in ``runs``.

    Raises:
        InputError: no run has it, as it is not measured (``NotMeasured``) or cannot be read; the
            message is about the first.
    """
    found: Each[Found] = Each()
    faults: list[InputError] = []
    for position, run in enumerate(runs):
        try:
            found[position] = reader(run)
        except InputError as fault:
            faults.append(fault)
            found.absent[position] = fault.reason if isinstance(fault, NotMeasured) else str(fault)
    if not found:
        raise faults[0] if faults else InputError("choose a run to show")
    return found


def progress(run: Run) -> str:
    """How far a run is that is being trained or measured, in words; empty for any other."""
    if run.attributes.get("status") != "running":
        return ""
    try:
        parts = unfinished(run)
        if not parts and "samples" in run:
            count = len(run.read("samples", "sample").get("sample", ()))
            parts = [f"{count} of {count} samples"]
        return ", ".join(parts) or "running"
    except InputError:  # damaged: the figures say so
        return "running"


def missing(run: Run, group: str) -> NotMeasured:
    """The error that says that ``group`` is not in the file, and what puts it there."""
    file = shlex.quote(str(run.path))
    if group in ("training", "predictions"):
        reason = f"{group} not recorded"
        return NotMeasured(f"{reason} in {file}: `landscape train` writes it", reason)
    if group == "density":
        reason = "spectral density not measured"
        return NotMeasured(f"{reason}: run `landscape measure {file} --density 10`", reason)
    family, _, name = group.partition("/")
    if family == "surfaces":
        reason = f"surface '{name}' not measured"
        plane, _, split = name.partition("-")
        options = f" --plane {plane}" if plane in PLANES else ""
        options += f" --split {split}" if options and split else ""
        return NotMeasured(f"{reason}: run `landscape surface {file}{options}`", reason)
    if family == "lines":
        reason = "no line measured"
        return NotMeasured(f"{reason}: run `landscape surface {file} --line bezier`", reason)
    reason = "curvature not measured"
    return NotMeasured(f"{reason}: run `landscape measure {file}`", reason)


def surface_names(*runs: Run) -> list[str]:
    """The surfaces that are in any of the files, the plane through the samples first.

    Raises:
        InputError: a file can no longer be read.
    """
    return _names("surfaces", runs)


def line_names(*runs: Run) -> list[str]:
    """The lines and curves that are in any of the files, that between the samples first.

    Raises:
        InputError: a file can no longer be read.
    """
    return _names("lines", runs)


def _names(family: str, runs: Sequence[Run]) -> list[str]:
    found = {name.partition("/") for run in runs for name in run.groups}
    names = [name for kind, _, name in found if kind == family and name]
    return sorted(names, key=lambda name: (name != "samples", name))
