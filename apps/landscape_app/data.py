"""Readers for the pages: the runs in a folder, one run by its name, chosen variables of a group.

The readers read only the data on the screen. They do not trust the file: a fault in it raises an
``InputError`` with a message of one line.
"""

from __future__ import annotations

import math
import shlex
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from landscape.errors import InputError
from landscape.runtime import limits
from landscape.runtime.files import FileState, file_state
from landscape.store import Group, Run, Summary, schema
from landscape.store.heartbeat import STOPPED, has_stopped, status_of
from landscape.store.summary import unfinished
from landscape_app import commands, formats, index, listing
from landscape_app.cache import cached, cached_of_folder, is_cached
from landscape_app.url import View

SUFFIX = ".h5"
_LISTED = "listed"
MOST_FOLDERS = 50
"""Largest number of folders whose runs are listed beside those of the folder itself."""
NOTES = "landscape-notes.json"
"""Name of the file beside the runs with their names, notes and pins: see ``remarks.py``."""
_listing = threading.Lock()
"""Lock that makes a second request for the list wait until the first has read it."""
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


@dataclass(frozen=True)
class BrokenRun:
    """A file with the name of a run that cannot be read as a run."""

    name: str
    reason: str


@dataclass(frozen=True)
class Folders:
    """A folder of runs, and folders inside it whose runs are listed beside its own.

    Attributes:
        root: The folder.
        more: Paths of the others, relative to it, with ``/`` between their parts.
    """

    root: Path
    more: tuple[str, ...] = ()


Where = Path | Folders
"""A folder of runs, alone or with others inside it."""


def root_of(where: Where) -> Path:
    """The folder itself, without the others inside it."""
    return where if isinstance(where, Path) else where.root


def named_files(where: Where) -> dict[str, Path]:
    """The files of runs by the names of the runs: ``run``, or ``folder/run`` in another folder.

    Raises:
        InputError: the folder itself is missing or cannot be read.
    """
    root = root_of(where)
    files = {path.stem: path for path in run_files(root)}
    for name in where.more if isinstance(where, Folders) else ():
        with suppress(InputError):  # it may be gone
            files |= {f"{name}/{path.stem}": path for path in run_files(root / name)}
    return files


def run_files(folder: Path) -> list[Path]:
    """The files in ``folder`` with names of runs, sorted; hidden files are left out.

    Raises:
        InputError: the folder is missing or cannot be read.
    """
    try:
        files = [
            path
            for path in folder.iterdir()
            if path.suffix == SUFFIX and not path.name.startswith(".")
        ]
        return sorted(files, key=lambda path: path.name)  # paths compare slowly
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}: {error.strerror or error}") from error


def list_runs(folder: Where) -> list[Summary | BrokenRun]:
    """All runs in ``folder``, newest first, then the files that cannot be read.

    Raises:
        InputError: the folder itself is missing or cannot be read.
    """
    with _listing:
        state = state_of(folder)
        known = cached_of_folder("summaries", state, lambda: _Summaries(folder)).list
        files = known if known is not None else _read_all(folder)
    readable = [_now(folder, run) for run in files if isinstance(run, Summary)]
    return [*readable, *(run for run in files if isinstance(run, BrokenRun))]


def state_of(where: Where) -> tuple[object, ...]:
    """The state of the files in a folder; another one after each change of a file.

    Raises:
        InputError: the folder itself is missing or cannot be read.
    """
    states: list[object] = [where]
    for path in named_files(where).values():
        with suppress(OSError):  # deleted meanwhile
            states.append((str(path), file_state(path.stat())))
    return tuple(states)


class _Summaries:
    """The summaries of a folder, newest first; None if a file cannot be read.

    A fault may be gone at the next try, so that it is not kept.
    """

    def __init__(self, folder: Where) -> None:
        files = _read_all(folder)
        is_whole = all(isinstance(run, Summary) for run in files)
        self.list = files if is_whole else None


def _read_all(folder: Where) -> list[Summary | BrokenRun]:
    files = named_files(folder)
    for inner in {path.parent for path in files.values()}:
        _read_index(inner)
    unread = {path for path in files.values() if not is_cached(_LISTED, path)}
    readable: list[Summary] = []
    broken: list[Summary | BrokenRun] = []
    fresh: dict[Path, dict[Path, tuple[FileState, index.Listed]]] = {}
    changed: set[Path] = set()
    # A link may lead out of the folder: ``run_path`` judges it.
    plain = [path for path in files.values() if path in unread and not path.is_symlink()]
    with listing.helped(plain, _keep):
        for name, path in files.items():
            try:
                state = file_state(path.stat())
                listed = listed_run(folder, name)
                summary = listed.summary
                readable.append(summary if summary.name == name else replace(summary, name=name))
            except OSError:  # deleted meanwhile
                continue
            except InputError as error:
                broken.append(BrokenRun(name + SUFFIX, str(error)))
                continue
            fresh.setdefault(path.parent, {})[path] = (state, listed)
            changed |= {path.parent} if path in unread else set()
    for inner in changed:
        if len(fresh[inner]) >= index.FEWEST:
            index.save(inner, fresh[inner])
    return [*sorted(readable, key=lambda run: run.created_at, reverse=True), *broken]


def _read_index(folder: Path) -> None:
    """Take over what the index of a folder says about files that have not been read yet."""
    try:
        if all(is_cached(_LISTED, path) for path in run_files(folder)):
            return
    except InputError:
        return
    for path, listed in index.load(folder).items():
        _keep(path, listed)


def _keep(path: Path, listed: index.Listed) -> None:
    """Take over what has been read of a file."""
    cached(_LISTED, path, lambda: listed)


def _now(folder: Where, summary: Summary) -> Summary:
    """The summary with its present status: the heartbeat ends without a change of the file."""
    if summary.status not in ("running", STOPPED):
        return summary
    path = root_of(folder) / (summary.name + SUFFIX)
    return replace(summary, status=STOPPED if has_stopped(path) else "running")


def listed_run(folder: Where, name: str) -> index.Listed:
    """The numbers and settings of the run ``name``. The name is not trusted.

    Raises:
        InputError: as ``load_run``.
    """
    path = run_path(folder, name)
    return cached(_LISTED, path, lambda: listing.read(path))


def finite_counts(folder: Where, summary: Summary) -> dict[str, str]:
    """``4 of 5 finite`` for each mean over samples that is not finite, by its name."""
    lost = [
        name
        for name, mean in (("lambda_1", summary.lambda_1), ("trace", summary.trace))
        if mean is not None and not math.isfinite(mean.mean)
    ]
    if not lost:
        return {}
    try:
        group = load_run(folder, summary.name).read("samples", "eigenvalues", "trace")
    except (InputError, KeyError):  # changed since the summary was read
        return {}
    columns = {"lambda_1": group["eigenvalues"][:, 0]} if "lambda_1" in lost else {}
    columns |= {"trace": group["trace"]} if "trace" in lost else {}
    return {
        name: f"{np.count_nonzero(np.isfinite(values))} of {len(values)} finite"
        for name, values in columns.items()
    }


def load_run(folder: Where, name: str) -> Run:
    """Open the run ``name`` of ``folder``. The name is not trusted.

    Raises:
        InputError: there is no such run, the name or a link leads out of the folder, or the file
            cannot be read.
    """
    run = Run.open(run_path(folder, name))
    run.name = name
    return run


def cached_run(folder: Where, name: str) -> Run:
    """As ``load_run``, but the file is opened again only if it has changed.

    Raises:
        InputError: as ``load_run``.
    """
    path = run_path(folder, name)
    return cached(f"run {name}", path, lambda: load_run(folder, name))


def inside(folder: Path, view: View) -> Where:
    """The folder that a view is about, the served one or one inside it, and those added to it.

    The names are not trusted. One that leads elsewhere is that of a folder that does not exist.
    """
    root = _within(folder, view.texts.get("in", ""))
    names = tuple(dict.fromkeys(filter(None, view.texts.get("with", "").split(","))))
    more = tuple(name for name in names if _within(root, name).is_dir())
    return Folders(root, more[:MOST_FOLDERS]) if more else root


def _within(folder: Path, name: str) -> Path:
    """The folder ``name`` inside another one; one that does not exist if it leads elsewhere."""
    parts = name.split("/") if name else []
    if any(not part or part.startswith(".") or "\0" in part or "\\" in part for part in parts):
        return folder / "no such folder"
    path = folder.joinpath(*parts)
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        is_inside = False
    return path if is_inside else folder / "no such folder"


def run_path(folder: Where, name: str) -> Path:
    """The file of the run ``name`` of ``folder``, or ``inner/name``. The name is not trusted.

    Raises:
        InputError: there is no such file, or the name or a link leads out of the folder.
    """
    folder = root_of(folder)
    parts = name.split("/")
    is_name = not any(
        not part or part.startswith(".") or "\\" in part or "\0" in part for part in parts
    )
    if not is_name or not folder.joinpath(*parts[:-1]).is_dir():
        raise InputError(f"'{name}' is not the name of a run in {folder}")
    path = folder / (name + SUFFIX)
    try:
        if not path.resolve(strict=True).is_relative_to(folder.resolve()):
            raise InputError(f"{path} is a link out of the folder: refused")
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe could block for ever
            raise InputError(f"{path} is not a regular file")
    except FileNotFoundError as error:
        raise InputError(f"there is no run '{name}' in {folder}") from error
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    return path


def open_runs(folder: Where, view: View) -> tuple[list[Run], list[InputError]]:
    """The readable runs of ``view``, in its order, and the errors of the others."""
    runs: list[Run] = []
    faults: list[InputError] = []
    for name in view.runs:
        try:
            runs.append(cached_run(folder, name))
        except InputError as fault:
            faults.append(fault)
    return runs, faults


def stamp(folder: Where, view: View) -> str:
    """A text that changes when a file that ``view`` shows changes."""
    try:
        names = set(named_files(folder))
    except InputError as error:
        return str(error)
    if view.page not in ("", "compare") and not view.by:
        names = {*view.runs, *([view.name] if view.page == "run" else [])}
    states: list[tuple[object, ...]] = []
    if view.page in ("", "run"):
        with suppress(OSError):  # nothing is noted
            states.append((NOTES, (root_of(folder) / NOTES).stat().st_mtime_ns))
    for name in sorted(names):
        try:
            path = root_of(folder) / (name + SUFFIX)
            status = path.lstat()
        except (OSError, ValueError):  # deleted, or not a valid file name: the page reports it
            continue
        states.append((name, status.st_mtime_ns, status.st_size, has_stopped(path)))
    return str(states)


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
