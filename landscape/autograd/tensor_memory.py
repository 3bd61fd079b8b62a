"""The memory of tensors: of those that graphs save, and of those that are alive."""

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
    """Counts the memory of the tensors that autograd saves while graphs are built.

    Several nodes save the same activation, or views of it: each storage is counted once. That is
    right as long as all counted graphs are alive.

    Attributes:
        nbytes: Bytes so far; infinite if they could not be counted.
    """

    def __init__(self) -> None:
        self.nbytes = 0.0
        self._seen: set[int] = set()

    def counting(self, work: Callable[[], T]) -> T:
        """The result of ``work``. Every tensor that is saved meanwhile is counted.

        ``torch.func`` in a network's forward pass forbids counting; ``work`` is then done again
        without it.
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
        if tensor.layout is not torch.strided:  # sparse, without a single storage: an upper bound
            self.nbytes += tensor.numel() * tensor.element_size()
        elif tensor.untyped_storage().data_ptr() not in self._seen:
            self._seen.add(tensor.untyped_storage().data_ptr())
            self.nbytes += tensor.untyped_storage().nbytes()
        # A node that saved its own output with its graph would keep itself alive for ever.
        return tensor.detach()


class LiveTensors(TorchDispatchMode):
    """Counts the memory of the tensors that are computed within it.

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
        """Number of bytes that are alive now."""
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
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_of(result):
            storage = tensor.untyped_storage()
            self._alive[StorageWeakRef(storage)] = storage.nbytes()  # type: ignore[no-untyped-call]
            self.sizes.append(tensor.numel())
        self.course.append(self.nbytes())
        return result
