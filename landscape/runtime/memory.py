"""Memory of this process: how it is reused, and how much is free."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.errors import InputError

if TYPE_CHECKING:
    import torch

_LIMIT = (1 << 31) - 1
# Options of glibc's mallopt by their numbers in malloc.h: the thresholds for returning memory to
# the system and for mapping a block separately, and the number of arenas. Only the first arena
# keeps large blocks.
_SETTINGS = {-1: _LIMIT, -3: _LIMIT, -8: 1}
_DEFAULT = 1 << 32  # assumed to be free if the system does not say
_share = 0.25

CHECKED = 1 << 28
"""Smallest number of bytes of a request that is checked."""


def keep_freed_memory() -> bool:
    """Let glibc's ``malloc`` reuse large blocks until the process ends, as torch does on a GPU.

    By default the memory of a large tensor returns to the system when it is freed. The system gives
    new memory page by page, which can cost more time on a CPU than the arithmetic. With this
    setting the process keeps its largest amount of memory.

    The command line calls this function. Scripts and notebooks may call it before they compute
    anything. It does not affect threads that are already running.

    Returns:
        Whether it took effect; false for another C library than glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(*setting) == 1 for setting in _SETTINGS.items())


def spare(device: torch.device) -> int:
    """Number of bytes that may be used on a device to save time: a quarter of the free memory.

    On the CPU this respects the limit of a container, and it is divided among worker processes.
    """
    return int(_share * _available(device))


def check_room(nbytes: int, device: torch.device, what: str) -> None:
    """Check that an allocation fits into memory. Otherwise the system might kill this process.

    Args:
        nbytes: Number of bytes to allocate.
        device: Device to allocate on.
        what: Name of the data for the error message, in the plural.

    Raises:
        InputError: The device has less free memory.
    """
    if nbytes > CHECKED and nbytes > _available(device):
        raise InputError(
            f"{what} take {nbytes / 1e9:,.1f} GB, but {_available(device) / 1e9:,.1f} GB are free: "
            "ask for fewer"
        )


def divide_among(processes: int) -> None:
    """Let ``spare`` divide the memory among so many processes."""
    global _share
    _share = 0.25 / processes


def available(device: torch.device) -> int:
    """Number of bytes that are free on a device, for this process among its workers."""
    return int(4 * _share * _available(device))


def _available(device: torch.device) -> int:
    if device.type == "cuda":
        import torch  # who has a device has it; a worker process may have no use for it

        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    available = [_DEFAULT]
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = [1024 * int(next(x for x in lines if x.startswith("MemAvailable")).split()[1])]
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # no such control group, or no limit ("max")
            root = Path("/sys/fs/cgroup")
            available.append(int((root / limit).read_text()) - int((root / used).read_text()))
    return max(0, min(available))
