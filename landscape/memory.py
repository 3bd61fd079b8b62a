"""The process's memory."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LIMIT = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Let glibc's ``malloc`` reuse large blocks, as torch does on a GPU; the rest of the process.

    By default a large tensor's memory goes back to the system when it is freed, and the next one's
    arrives page by page: on a CPU that can cost more than the arithmetic on it. The process keeps
    what it needed at most. The command line calls this; a script or a notebook may.

    Returns:
        Whether it took effect; False where the C library is another.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(parameter, _LIMIT) == 1 for parameter in (_TRIM_THRESHOLD, _MMAP_THRESHOLD)
    )
