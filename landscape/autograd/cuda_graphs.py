"""Work on a GPU that is recorded as a CUDA graph and then started as a whole.

A small network's kernels take microseconds each, and so does each start from Python, hundreds of
times in a pass. A graph starts all of them at once: the same kernels, the same result.
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
"""Largest number of recordings: one for each of ever new shapes would fill the memory."""


class Recorder:
    """Calls a function of tensors; on a GPU, after two calls, by a graph of its kernels.

    The kernels must depend on the values of the arguments alone, in memory that stays: Python code
    runs while it is recorded, and never again. A function that waits for the GPU, or copies from
    the host, cannot be recorded and is called every time.

    Args:
        device: Device of the tensors.
    """

    def __init__(self, device: torch.device) -> None:
        streams = _streams(device) if device.type == "cuda" else []
        self._stream = streams[0] if streams else None
        self._branches = streams[1:]
        self._calls: Counter[Any] = Counter()
        self._recordings: dict[Any, _Recording] = {}

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Within it call ``__call__``, and make the graphs that a recorded function uses.

        Torch takes a derivative on the stream on which the function was evaluated.
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
        """``function`` of each item; in a recording several run at a time."""
        if not self._branches or not torch.cuda.is_current_stream_capturing():
            return [function(item) for item in items]
        trunk, results = torch.cuda.current_stream(), []
        for branch in self._branches:
            branch.wait_stream(trunk)
        for item, branch in zip(items, itertools.cycle(self._branches), strict=False):
            with torch.cuda.stream(branch):
                results.append(function(item))
        for branch in self._branches:
            trunk.wait_stream(branch)
        return results

    def __call__(self, function: Work, *arguments: Any) -> Tensor:
        """``function(*arguments)``.

        Args:
            function: A function, the same at every call.
            arguments: Tensors or ``None``, alone or in dicts and sequences.
        """
        if self._stream is None:
            return function(*arguments)
        try:
            key = _signature(arguments)
        except TypeError:  # an argument is something else
            return function(*arguments)
        if key not in self._calls and len(self._calls) == _SHAPES:
            return function(*arguments)
        self._calls[key] += 1
        if self._calls[key] == 2:
            # A RuntimeError of the function itself is raised again below.
            with suppress(RuntimeError):
                self._recordings[key] = _Recording(function, arguments)
        if key in self._recordings:
            return self._recordings[key](arguments)
        return function(*arguments)


class _Recording:
    def __init__(self, function: Work, arguments: Any) -> None:
        self._arguments = map_tensors(torch.clone, arguments)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may use other streams.
        self._graph.capture_begin(capture_error_mode="thread_local")
        try:
            self._result = function(*self._arguments)
        finally:
            self._graph.capture_end()

    def __call__(self, arguments: Any) -> Tensor:
        for own, new in zip(tensors_of(self._arguments), tensors_of(arguments), strict=True):
            own.copy_(new)
        self._graph.replay()
        return self._result.clone()


def _streams(device: torch.device) -> list[torch.cuda.Stream]:
    """This thread's streams, made once: cuBLAS keeps 32 MiB for every stream that ever existed."""
    by_device = _of_this_thread.__dict__.setdefault("streams", {})
    if device not in by_device:
        by_device[device] = [torch.cuda.Stream(device) for _ in range(1 + _BRANCHES)]  # type: ignore[no-untyped-call]
    streams: list[torch.cuda.Stream] = by_device[device]
    return streams


def _signature(value: Any) -> Any:
    """Shapes, types and devices, which are the same for all arguments of one recording."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, value.device
    if isinstance(value, dict):
        return tuple((name, _signature(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(_signature(item) for item in value)
    if value is None:
        return None
    raise TypeError
