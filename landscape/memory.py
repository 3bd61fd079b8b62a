"""The process's memory."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.batches import tensors_of
from landscape.errors import InputError

T = TypeVar("T")

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


class SavedTensors:
    """Counts the memory of what autograd saves while graphs are built.

    Several nodes save the same activation, and views of one: each storage is counted once. That is
    right as long as all graphs counted are alive.

    Attributes:
        nbytes: So far; infinite where it could not be counted.
    """

    def __init__(self) -> None:
        self.nbytes = 0.0
        self._seen: set[int] = set()

    def counting(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, with every tensor counted that is saved meanwhile.

        ``torch.func`` in a network's forward pass lets nothing be counted; ``work`` is then done
        again without.
        """
        if self.nbytes < math.inf:
            try:
                with torch.autograd.graph.saved_tensors_hooks(self._count, lambda tensor: tensor):
                    return work()
            except RuntimeError as error:
                if "saved tensor hooks" not in str(error):
                    raise
                self.nbytes = math.inf
        return work()

    def _count(self, tensor: Tensor) -> Tensor:
        if tensor.layout is not torch.strided:  # sparse, without one storage: at most so much
            self.nbytes += tensor.numel() * tensor.element_size()
        elif tensor.untyped_storage().data_ptr() not in self._seen:
            self._seen.add(tensor.untyped_storage().data_ptr())
            self.nbytes += tensor.untyped_storage().nbytes()
        # A node that kept its own output with its graph would keep itself, for ever.
        return tensor.detach()


class LiveTensors(TorchDispatchMode):
    """Counts the memory of what is computed within it.

    Attributes:
        course: Bytes after each operation.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.course: list[int] = []
        self._sizes: dict[StorageWeakRef, int] = {}

    def nbytes(self) -> int:
        """Bytes now."""
        for gone in [ref for ref in self._sizes if ref.expired()]:  # type: ignore[no-untyped-call]
            del self._sizes[gone]
        return sum(self._sizes.values())

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in tensors_of(found):
            storage = tensor.untyped_storage()
            self._sizes[StorageWeakRef(storage)] = storage.nbytes()  # type: ignore[no-untyped-call]
        self.course.append(self.nbytes())
        return found


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
