"""Running statistics of normalisation layers, re-estimated for given weights.

A posterior sample has other weights than the network whose statistics the layers carry, so each is
judged with statistics of its own (SWAG, arXiv 1902.02476, section 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.batches import map_tensors, tensors_of
from landscape.differentiation import full_precision
from landscape.errors import InputError
from landscape.lockstep import Lockstep
from landscape.memory import spare
from landscape.parameters import ParameterSpace

Network = Callable[[Any], Any]

# Bytes of inputs that are joined without a look, and that a part takes of a core's cache and memory
# or of a GPU's; threads, of which a part has as many as torch; bytes that stay in a core's cache.
_TOGETHER = 1 << 20
_PART = 1 << 27
_PART_ON_GPU = 1 << 31
_THREADS = 512
_PIECE = 1 << 19


@dataclass(frozen=True)
class Reestimated:
    """Running statistics of some weights, and what came by the way.

    Attributes:
        buffers: The module's buffers by name, with these statistics.
        outputs: What the network makes of all examples with these buffers, in evaluation mode, in
            parts of whole batches; ``None`` where the statistics took more than one pass, or none.
        targets: Those of the examples, batch by batch.
    """

    buffers: dict[str, Tensor]
    outputs: Sequence[Any] | None = None
    targets: Sequence[Any] = ()


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


def normalisation_layers(module: nn.Module) -> list[nn.Module]:
    """The layers of ``module`` that keep running statistics: batch and instance normalisation."""
    return [
        layer
        for layer in module.modules()
        if isinstance(layer, _NormBase) and isinstance(layer.running_mean, Tensor)
    ]


@torch.no_grad()
def reestimate(
    space: ParameterSpace, vector: Tensor, batches: Iterable[tuple[Any, Any]]
) -> Reestimated:
    """The running statistics of the weights ``vector``.

    A layer's are mean and unbiased variance of all that it is given in evaluation mode, where the
    layers before it have theirs, however the examples are divided. (In torch's training mode those
    normalise with the biased variance: there is a difference of the order of 1 / N.)

    The examples pass through the network once, in parts that wait for each other at each layer
    until its statistics are known (``lockstep``). What they hold meanwhile has to fit in half of
    the free memory; where it does not, there is a pass for every layer, as far as that layer.
    Dropout is off. A module without running statistics keeps its buffers, without a pass.

    Args:
        space: The parameter space.
        vector: Weights, shape (P,).
        batches: The training set, as (inputs, targets), re-readable.

    Raises:
        InputError: ``batches`` is empty or can be read only once, or a layer sees a single value.
    """
    buffers = space.buffers()
    layers = normalisation_layers(space.module)
    if not layers:
        return Reestimated(buffers)
    if isinstance(batches, Iterator):
        raise InputError(
            "the data to re-estimate running statistics on can be read only once; pass a list or "
            "a DataLoader"
        )
    passes = _Passes(space, vector, batches, buffers)
    with full_precision():
        groups, moments = passes.over(set(layers))
        if groups == 0:
            raise InputError("the data to re-estimate running statistics on has no batch")
        # A layer that is called twice has seen half of its inputs when it normalises them.
        final = groups == 1 and all(each.calls == passes.parts for each in moments.values())
        if groups > 1:  # only the layer that is called first has seen its final inputs
            for layer in list(moments)[1:]:
                _, again = passes.over({layer}, moments[layer].calls // passes.parts)
                moments |= again
    if any(layer_moments.too_few for layer_moments in moments.values()):
        raise InputError("running statistics need more than one value a channel")
    return Reestimated(buffers, passes.outputs if final else None, passes.targets)


class _Passes:
    """Passes of one network over the same batches.

    Attributes:
        parts: Into how many the last pass divided the examples.
        outputs: Of those that waited for each other last.
        targets: Of all batches.
    """

    def __init__(
        self,
        space: ParameterSpace,
        vector: Tensor,
        batches: Iterable[tuple[Any, Any]],
        buffers: dict[str, Tensor],
    ) -> None:
        self._space, self._vector, self._buffers = space, vector, buffers
        self._batches = batches
        self.outputs: list[Any] = []
        self.parts = 0
        self.targets: list[Any] = []

    def over(
        self, open_layers: set[nn.Module], stop: int | None = None
    ) -> tuple[int, dict[nn.Module, _Moments]]:
        """Go over the examples, as far as the ``stop``-th call of an open layer.

        Returns:
            Number of groups of parts, of which each waits for its own; the moments of what the open
            layers were given, in the order of their first calls.
        """

        def work(network: Network) -> tuple[int, dict[nn.Module, _Moments]]:
            moments: dict[nn.Module, _Moments] = {}
            lockstep = Lockstep(stop)

            def collect(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                if layer not in moments:
                    moments[layer] = _Moments(layer)
                moments[layer].add(inputs[0])
                lockstep.wait()

            groups = self.parts = 0
            for group in self._groups(_Room(self._space, network)):
                with _before_calls(open_layers, collect):
                    self.outputs = lockstep.run(network, group)
                groups += 1
                self.parts += len(group)
            return groups, moments

        return self._space.predict_within(self._vector, work, self._buffers)

    def _groups(self, room: _Room) -> Iterator[list[Any]]:
        """Parts that there is room for side by side."""
        group: list[Any] = []
        for part in self._parts(room):
            if group and not room.side_by_side([*group, part]):
                yield group
                group = []
            group.append(part)
        if group:
            yield group

    def _parts(self, room: _Room) -> Iterator[Any]:
        """The inputs of batches, consecutive ones joined as far as they may be."""
        self.targets = []
        held: list[Tensor] = []
        examples = 0
        for inputs, targets in self._batches:
            rows = _rows(inputs)
            if held and not (_alike(inputs, held[0]) and room.joined(inputs, examples + rows)):
                yield torch.cat(held)
                held, examples = [], 0
            self.targets.append(targets)
            if isinstance(inputs, Tensor):
                held.append(inputs)
                examples += rows
            else:
                yield inputs
        if held:
            yield torch.cat(held) if len(held) > 1 else held[0]


class _Room:
    """How many examples may be joined, and how many may wait for each other."""

    def __init__(self, space: ParameterSpace, network: Network) -> None:
        self._network = network
        self._layers = normalisation_layers(space.module)
        self._known = _NEEDS.setdefault(space.module, {})
        threads = torch.get_num_threads()
        self._parts = max(2, _THREADS // threads)  # each of which has as many
        self._part = _PART_ON_GPU if space.device.type == "cuda" else threads * _PART
        self._all = 2 * spare(space.device)

    def joined(self, inputs: Tensor, examples: int) -> bool:
        """Whether so many like these may be one part."""
        if examples * inputs[:1].nbytes <= _TOGETHER:
            return True
        return examples * self._need(inputs).most <= self._part

    def side_by_side(self, parts: list[Any]) -> bool:
        """Whether these may wait for each other."""
        if len(parts) > self._parts:
            return False
        return sum(_rows(part) * self._need(part).waiting for part in parts) <= self._all

    def _need(self, part: Any) -> _Need:
        kind = tuple((each.shape[1:], each.dtype) for each in tensors_of(part))
        if kind not in self._known:
            try:
                self._known[kind] = self._measured(part)
            except Exception:  # of a network that does not take so few: each part is for itself
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
        live = _Live()
        with live, _before_calls(self._layers, lambda *_: waiting.append(live.nbytes())):
            return self._network(inputs), live.course, waiting

    def _apart(self, few: list[Any], alone: Sequence[Any]) -> bool:
        """Whether runs side by side give what each gives alone.

        A network that leaves something in itself, for later in the same run, finds another's there.
        """
        lockstep = Lockstep()
        with suppress(Exception), _before_calls(self._layers, lambda *_: lockstep.wait()):
            together = tensors_of(lockstep.run(self._network, few))
            return bool(together) and all(map(_close, tensors_of(list(alone)), together))
        return False


class _Live(TorchDispatchMode):
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


@contextmanager
def _before_calls(layers: Iterable[nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(layer.register_forward_pre_hook(hook))
        yield


def _rise(one: list[int], two: list[int]) -> int:
    return max((more - less for less, more in zip(one, two, strict=False)), default=0)


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, equal_nan=True)


def _rows(part: Any) -> int:
    return max((len(each) for each in tensors_of(part) if each.ndim), default=0)


def _alike(part: Any, other: Tensor) -> bool:
    return (
        isinstance(part, Tensor) and part.shape[1:] == other.shape[1:] and part.dtype == other.dtype
    )


def _var_mean(inputs: Tensor, dims: list[int]) -> tuple[Tensor, Tensor]:
    """Variance (divisor n) and mean by channel; as ``torch.var_mean``, in a fraction of its time.

    On the CPU that does not vectorise over the axes before and after the channel's. Here it is two
    passes, the second in pieces that stay in the cache.
    """
    if inputs.device.type != "cpu":
        variance, mean = torch.var_mean(inputs, dims, correction=0)
        return variance, mean
    mean = inputs.mean(dims, keepdim=True)
    squares = torch.zeros(inputs.shape[1], dtype=torch.float64)
    rows = max(1, len(inputs) * _PIECE // max(1, inputs.nbytes))
    for piece in torch.split(inputs, rows):
        squares += (piece - mean).square_().sum(dims)
    return squares / (inputs.numel() // inputs.shape[1]), mean.flatten()


class _Moments:
    """Mean and variance by channel of what a layer was given so far, kept in its buffers.

    Attributes:
        too_few: Whether there is no variance to estimate from them.
        calls: How often it was given something.
    """

    def __init__(self, layer: nn.Module) -> None:
        self._over_batch = isinstance(layer, _BatchNorm)
        self._kept: tuple[Tensor, Tensor] = (layer.running_mean, layer.running_var)  # type: ignore[assignment]
        self._count = self.calls = 0
        self._mean = self._variance = torch.zeros(0)

    def add(self, inputs: Tensor) -> None:
        """Take in a batch of shape (B, C, ...), by the update of Chan, Golub & LeVeque (1979)."""
        self.calls += 1
        inside = list(range(2, inputs.ndim))
        if self._over_batch:
            count = inputs.numel() // inputs.shape[1]
            variance, mean = _var_mean(inputs, [0, *inside])
        else:  # instance normalisation keeps the mean of each example's own moments
            count = inputs.shape[0]
            variance, mean = (m.mean(0) for m in torch.var_mean(inputs, inside, correction=1))
        mean, variance = mean.double(), variance.double()
        if self._count:
            share = count / (self._count + count)
            step = mean - self._mean
            between = step**2 * (1 - share) if self._over_batch else 0.0
            mean = self._mean + share * step
            variance = self._variance + share * (variance - self._variance + between)
        self._mean, self._variance = mean, variance
        self._count += count
        mean_kept, variance_kept = self._kept
        mean_kept.copy_(mean)
        unbiased = self._over_batch and self._count > 1
        variance_kept.copy_(variance * (self._count / (self._count - 1)) if unbiased else variance)

    @property
    def too_few(self) -> bool:
        return self._over_batch and self._count < 2
