"""The list of the runs in a folder: what it shows of each, and the files that are no runs."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from landscape.errors import InputError
from landscape.runtime.files import FileState, file_state
from landscape.store import Summary
from landscape.store.heartbeat import STOPPED, has_stopped
from landscape_app import index, listing
from landscape_app.cache import cached, cached_of_folder, is_cached
from landscape_app.folders import (
    SUFFIX,
    Where,
    load_run,
    named_files,
    root_of,
    run_files,
    run_path,
    state_of,
)

_LISTED = "listed"
_listing = threading.Lock()
"""Lock that makes a second request for the list wait until the first has read it."""


@dataclass(frozen=True)
class BrokenRun:
    """A file with the name of a run that cannot be read as a run."""

    name: str
    reason: str


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
