"""A cache of small results that take much work to compute from a file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from landscape.runtime.files import file_state

Result = TypeVar("Result")

_MOST = 16384
_results: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
_MOST_OF_FOLDERS = 128
_of_folders: OrderedDict[tuple[Any, ...], Any] = OrderedDict()


def cached(name: str, path: Path, work: Callable[[], Result]) -> Result:
    """The result of ``work()``, cached until the file changes.

    Errors are not cached. The cache holds the latest 16384 results.

    Args:
        name: Name of the work.
        path: The only file that the result depends on.
        work: Function that returns a small result. Callers do not change the result.
    """
    try:
        key = _key(name, path)
    except OSError:  # deleted: ``work`` reports it
        return work()
    if key in _results:
        return _results[key]  # type: ignore[no-any-return]
    result = work()
    _results[key] = result
    while len(_results) > _MOST:
        _results.popitem(last=False)
    return result


def is_cached(name: str, path: Path) -> bool:
    """Whether the result of a work is kept for the file as it is now."""
    try:
        return _key(name, path) in _results
    except OSError:
        return False


def _key(name: str, path: Path) -> tuple[Any, ...]:
    return (name, str(path), *file_state(path.stat()))


def cached_of_folder(name: object, state: object, work: Callable[[], Result]) -> Result:
    """The result of ``work()``, cached while the files of a folder are in one state.

    Errors are not cached. The cache holds the latest 128 results.

    Args:
        name: Name of the work; hashable.
        state: State of the folder, as from ``folders.state_of``.
        work: Function that returns a result. Callers do not change the result.
    """
    key = (name, state)
    if key in _of_folders:
        _of_folders.move_to_end(key)
        return _of_folders[key]  # type: ignore[no-any-return]
    result = work()
    _of_folders[key] = result
    while len(_of_folders) > _MOST_OF_FOLDERS:
        _of_folders.popitem(last=False)
    return result
