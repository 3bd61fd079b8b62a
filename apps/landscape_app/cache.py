"""Small results of much work on a file, kept until the file changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")

_MOST = 2048
_results: OrderedDict[tuple[Any, ...], Any] = OrderedDict()


def kept(what: str, path: Path, work: Callable[[], Found]) -> Found:
    """``work()``, from memory where it was done for the file as it is now.

    Errors are not kept. Of more than 2048 results the oldest are forgotten.

    Args:
        what: Name of the work.
        path: The file, on which alone the result depends.
        work: Gives a result that is small and not changed by its users.
    """
    try:
        status = path.stat()
    except OSError:  # gone: the work says so
        return work()
    state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    key = (what, str(path), *state)
    if key in _results:
        return _results[key]  # type: ignore[no-any-return]
    found = work()
    _results[key] = found
    while len(_results) > _MOST:
        _results.popitem(last=False)
    return found
