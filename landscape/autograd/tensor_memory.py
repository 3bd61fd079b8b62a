"""How much memory tensors take: those that graphs save, and those that are alive."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.autograd.pytrees import tensors_of

T = TypeVar("T")


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
        sizes: Number of elements of each tensor that an operation returned.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.course: list[int] = []
        self.sizes: list[int] = []
        self._alive: dict[StorageWeakRef, int] = {}

    def nbytes(self) -> int:
        """Bytes now."""
        for gone in [ref for ref in self._alive if ref.expired()]:  # type: ignore[no-untyped-call]
            del self._alive[gone]
        return sum(self._alive.values())

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
            self._alive[StorageWeakRef(storage)] = storage.nbytes()  # type: ignore[no-untyped-call]
            self.sizes.append(tensor.numel())
        self.course.append(self.nbytes())
        return found
