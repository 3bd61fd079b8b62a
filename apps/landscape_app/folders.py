"""Folders of runs: their files, the way from a name to a file, and their state.

Names come from addresses and are not trusted: none leads out of the folder that is served.
"""

from __future__ import annotations

import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from landscape.errors import InputError
from landscape.runtime.files import file_state
from landscape.store import Run
from landscape.store.heartbeat import has_stopped
from landscape_app.cache import cached
from landscape_app.url import View

SUFFIX = ".h5"
MOST_FOLDERS = 50
"""Largest number of folders whose runs are listed beside those of the folder itself."""
NOTES = "landscape-notes.json"
"""Name of the file beside the runs with their names, notes and pins: see ``remarks.py``."""


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
