"""Work on a GPU recorded as a CUDA graph, and from then on started as a whole.

A small network's kernels take microseconds each, and so does starting one from Python: hundreds a
pass, one after the other. A graph of them starts at once: the same kernels, the same result.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
from torch import Tensor

from landscape.autograd.pytrees import map_tensors, tensors_of

Work = Callable[..., Tensor]

Item = TypeVar("Item")
_of_this_thread = threading.local()

_BRANCHES = 4
_SHAPES = 8
"""Different ones that are recorded; those of a stream that never repeats would fill the memory."""


class Recorder:
    """Calls a function of tensors; on a GPU, after two calls, by a graph of what it did there.

    What it did must depend on its arguments by their values alone, in memory that stays: Python
    code runs while it is recorded, and never again. A function that waits for the GPU, or copies
    from the host, cannot be recorded and is called every time.

    Args:
        device: Where the tensors are.
    """

    def __init__(self, device: torch.device) -> None:
        streams = _streams(device) if device.type == "cuda" else []
        self._stream = streams[0] if streams else None
        self._branches = streams[1:]
        self._calls: Counter[Any] = Counter()
        self._recordings: dict[Any, _Recording] = {}

    @contextmanager
    def stream(self) -> Iterator[None]:
        """What goes into a recording has to be made within it, and ``__call__`` called.

        A derivative is taken on the stream that its function was evaluated on.
        """
        if self._stream is None:
            yield
            return
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            outside.wait_stream(self._stream)

    def each(self, function: Callable[[Item], Tensor], items: Sequence[Item]) -> list[Tensor]:
        """``function`` of each item; in a recording several at a time, for they are small."""
        if not self._branches or not torch.cuda.is_current_stream_capturing():
            return [function(item) for item in items]
        trunk, found = torch.cuda.current_stream(), []
        for branch in self._branches:
            branch.wait_stream(trunk)
        for item, branch in zip(items, itertools.cycle(self._branches), strict=False):
            with torch.cuda.stream(branch):
                found.append(function(item))
        for branch in self._branches:
            trunk.wait_stream(branch)
        return found

    def __call__(self, function: Work, *arguments: Any) -> Tensor:
        """``function(*arguments)``.

        Args:
            function: The same one at every call.
            arguments: Tensors or ``None``, alone or in dicts and sequences.
        """
        if self._stream is None:
            return function(*arguments)
        try:
            key = _signature(arguments)
        except TypeError:  # there is something else among them
            return function(*arguments)
        if key not in self._calls and len(self._calls) == _SHAPES:
            return function(*arguments)
        self._calls[key] += 1
        if self._calls[key] == 2:
            # A RuntimeError of the function itself comes up below again.
            with suppress(RuntimeError):
                self._recordings[key] = _Recording(function, arguments)
        if key in self._recordings:
            return self._recordings[key](arguments)
        return function(*arguments)


class _Recording:
    def __init__(self, function: Work, arguments: Any) -> None:
        self._arguments = map_tensors(torch.clone, arguments)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may be at work on other streams.
        self._graph.capture_begin(capture_error_mode="thread_local")
        try:
            self._result = function(*self._arguments)
        finally:
            self._graph.capture_end()

    def __call__(self, arguments: Any) -> Tensor:
        for own, given in zip(tensors_of(self._arguments), tensors_of(arguments), strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._result.clone()


def _streams(device: torch.device) -> list[torch.cuda.Stream]:
    """This thread's own, one and the branches: cuBLAS keeps 32 MiB for each that there ever was."""
    made = _of_this_thread.__dict__.setdefault("streams", {})
    if device not in made:
        made[device] = [torch.cuda.Stream(device) for _ in range(1 + _BRANCHES)]  # type: ignore[no-untyped-call]
    found: list[torch.cuda.Stream] = made[device]
    return found


def _signature(value: Any) -> Any:
    """What arguments have in common that one recording will do for."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, value.device
    if isinstance(value, dict):
        return tuple((name, _signature(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(_signature(item) for item in value)
    if value is None:
        return None
    raise TypeError
