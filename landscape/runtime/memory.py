"""The process's memory."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

import torch

from landscape.errors import InputError

_LIMIT = (1 << 31) - 1
# By their numbers in glibc's malloc.h: the thresholds from where on memory is given back and mapped
# by itself, and the number of arenas, of which the first alone keeps large blocks.
_SETTINGS = {-1: _LIMIT, -3: _LIMIT, -8: 1}
_UNKNOWN = 1 << 32  # taken to be free where the system does not say
_CHECKED = 1 << 28  # from here on
_share = 0.25


def keep_freed_memory() -> bool:
    """Let glibc's ``malloc`` reuse large blocks, as torch does on a GPU; the rest of the process.

    By default a large tensor's memory goes back to the system when it is freed, and the next one's
    arrives page by page: on a CPU that can cost more than the arithmetic on it. The process keeps
    what it needed at most. The command line calls this; a script or a notebook may, before it
    computes anything: threads that have begun keep their own ways.

    Returns:
        Whether it took effect; False where the C library is another.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(*setting) == 1 for setting in _SETTINGS.items())


def spare(device: torch.device) -> int:
    """Bytes that may be kept on a device to save time: a quarter of what is free there now.

    On the CPU that is within the limit of a container, and divided among worker processes.
    """
    return int(_share * _available(device))


def check_room(nbytes: int, device: torch.device, what: str) -> None:
    """Refuse what cannot fit: the system may stop a process that tries, or the whole machine.

    Raises:
        InputError: it takes more than is free on the device.
    """
    if nbytes > _CHECKED and nbytes > _available(device):
        raise InputError(
            f"{what} take {nbytes / 1e9:,.1f} GB, and {_available(device) / 1e9:,.1f} GB are free: "
            "ask for fewer"
        )


def divide_among(processes: int) -> None:
    """Let ``spare`` count with so many processes like this one."""
    global _share
    _share = 0.25 / processes


def _available(device: torch.device) -> int:
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    found = [_UNKNOWN]
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = [1024 * int(next(x for x in lines if x.startswith("MemAvailable")).split()[1])]
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # no such control group, or no limit ("max")
            root = Path("/sys/fs/cgroup")
            found.append(int((root / limit).read_text()) - int((root / used).read_text()))
    return max(0, min(found))
