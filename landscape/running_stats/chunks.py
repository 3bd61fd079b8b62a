"""Examples in parts that pass through a network side by side, as far as there is room."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from landscape.autograd.pytrees import map_tensors, tensors_of
from landscape.autograd.tensor_memory import LiveTensors
from landscape.objective.parameters import ParameterSpace
from landscape.running_stats.layerwise import Lockstep
from landscape.runtime.memory import spare

Network = Callable[[Any], Any]

# Bytes of inputs that are joined without a look, and that a part takes of a core's cache and memory
# or of a GPU's; threads, of which a part has as many as torch.
_TOGETHER = 1 << 20
_PART = 1 << 27
_PART_ON_GPU = 1 << 31
_THREADS = 512
# Of what may be kept: a third of the free memory, as malloc takes up to twice what it gives.
_WAITING = 4 / 3


@contextmanager
def before_calls(layers: Iterable[nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    """Within it, ``hook`` is called before each of some layers with all that it is given."""

    def call(layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        hook(layer, (*given, *named.values()))

    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(layer.register_forward_pre_hook(call, with_kwargs=True))
        yield


@dataclass(frozen=True)
class _Need:
    """Bytes that one more example takes in a network.

    Attributes:
        most: At any time.
        waiting: Where it waits at a layer; infinite in networks where it may not.
    """

    most: float
    waiting: float


_NEEDS: WeakKeyDictionary[nn.Module, dict[Any, _Need]] = WeakKeyDictionary()  # by kind of example


class _Again(Iterable[Any]):
    """What ``read`` gives, each time anew."""

    def __init__(self, read: Callable[[], Iterator[Any]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Any]:
        return self._read()


class Parts:
    """Divides examples into parts that are small enough for a cache and large enough for a GPU.

    Args:
        space: Of the network; says where it is.
        network: What the parts pass through, as ``ParameterSpace.at`` gives it.
        layers: Before which they are to wait for each other.
    """

    def __init__(
        self, space: ParameterSpace, network: Network, layers: Sequence[nn.Module]
    ) -> None:
        self._network, self._layers = network, layers
        self._known = _NEEDS.setdefault(space.module, {})
        threads = torch.get_num_threads()
        self._part = _PART_ON_GPU if space.device.type == "cuda" else threads * _PART
        self._waiting_parts = max(2, _THREADS // threads)
        self._waiting = _WAITING * spare(space.device)

    def divided(self, read: Callable[[], Iterable[Any]]) -> tuple[list[Any], Iterable[Any]]:
        """The inputs of batches, in parts.

        Args:
            read: Gives the inputs of each batch, as often as it is called.

        Returns:
            Parts that may wait for each other in the memory there is, and the rest, which reads
            all batches anew each time if their inputs themselves are too much to be kept.
        """
        parts: list[Any] = []
        kept = 0
        for part in self._joined(read()):
            parts.append(part)
            kept += sum(each.nbytes for each in tensors_of(part))
            if len(parts) > 1 and kept > spare(torch.device("cpu")):
                return [], _Again(lambda: self._joined(read()))
        waiting = self._how_many_may_wait(parts)
        return parts[:waiting], parts[waiting:]

    def _how_many_may_wait(self, parts: list[Any]) -> int:
        if len(parts) < 2:
            return len(parts)
        nbytes = itertools.accumulate(_rows(part) * self._need(part).waiting for part in parts)
        room = itertools.takewhile(lambda total: total <= self._waiting, nbytes)
        return min(self._waiting_parts, len(list(room)))

    def _joined(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Tensors as far as they may be one part; what is no tensor as it is."""
        held: list[Tensor] = []
        examples = 0
        for inputs in batches:
            examples += _rows(inputs)
            if held and not (_alike(inputs, held[0]) and self._may_be_joined(inputs, examples)):
                yield _one(held)
                held, examples = [], _rows(inputs)
            if isinstance(inputs, Tensor):
                held.append(inputs)
            else:
                yield inputs
                examples = 0
        if held:
            yield _one(held)

    def _may_be_joined(self, inputs: Tensor, examples: int) -> bool:
        """Whether so many like these may be one part."""
        if examples * inputs[:1].nbytes <= _TOGETHER:
            return True
        return examples * self._need(inputs).most <= self._part

    def _need(self, part: Any) -> _Need:
        kind = tuple((each.shape[1:], each.dtype) for each in tensors_of(part))
        if kind not in self._known:
            try:
                self._known[kind] = self._measured(part)
            except Exception:
                # A network may refuse so few examples, or fail where it keeps something in itself.
                # Then each part is for itself; what is wrong with it otherwise, its own run raises.
                return _Need(math.inf, math.inf)
        return self._known[kind]

    def _measured(self, part: Any) -> _Need:
        """From a run of one example and a run of two."""
        few = [map_tensors(itemgetter(rows), part) for rows in ([0], [0, -1])]
        outputs, courses, waits = zip(*map(self._watched, few), strict=True)
        own = sum(each[:1].nbytes for each in tensors_of(part))
        waiting = own + _rise(*waits) if self._apart(few, outputs) else math.inf
        return _Need(own + _rise(*courses), waiting)

    def _watched(self, inputs: Any) -> tuple[Any, list[int], list[int]]:
        """The outputs; bytes in the course of the run, and before each layer."""
        waiting: list[int] = []
        live = LiveTensors()
        with live, before_calls(self._layers, lambda *_: waiting.append(live.nbytes())):
            return self._network(inputs), live.course, waiting

    def _apart(self, few: list[Any], alone: Sequence[Any]) -> bool:
        """Whether runs side by side give what each gives alone.

        A network that leaves something in itself, for later in the same run, finds another's there.
        """
        lockstep = Lockstep()
        with before_calls(self._layers, lambda *_: lockstep.step(lambda: None)):
            together = tensors_of(lockstep.run(self._network, few))
        return bool(together) and all(map(_close, tensors_of(list(alone)), together))


def _one(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors) if len(tensors) > 1 else tensors[0]


def _rise(one: list[int], two: list[int]) -> int:
    return max((more - less for less, more in zip(one, two, strict=False)), default=0)


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, equal_nan=True)


def _rows(inputs: Any) -> int:
    return max((len(each) for each in tensors_of(inputs) if each.ndim), default=0)


def _alike(inputs: Any, other: Tensor) -> bool:
    return (
        isinstance(inputs, Tensor)
        and inputs.shape[1:] == other.shape[1:]
        and inputs.dtype == other.dtype
    )
