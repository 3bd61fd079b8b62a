"""Running statistics of normalisation layers, re-estimated for given weights.

A posterior sample has other weights than the network whose statistics the layers carry, so each is
judged with statistics of its own (SWAG, arXiv 1902.02476, section 3.2).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.batches import tensors_of
from landscape.differentiation import full_precision
from landscape.errors import InputError
from landscape.memory import spare
from landscape.parameters import ParameterSpace

_TOGETHER = 1 << 25
_LIVE = 12
"""What a pass takes, in its largest tensors: a ResNet-20 on 10,000 images 11."""
_PIECE = 1 << 19


@dataclass(frozen=True)
class Reestimated:
    """Running statistics of some weights, and what came by the way.

    Attributes:
        buffers: The module's buffers by name, with these statistics.
        outputs: What the network makes of all examples with these buffers, in evaluation mode;
            ``None`` where the statistics took more than one pass, or none.
        targets: Those of the examples, batch by batch.
    """

    buffers: dict[str, Tensor]
    outputs: Any = None
    targets: Sequence[Any] = ()


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

    With more than one batch a layer's statistics wait until those of the layers before it are
    known, so that there is a pass for every layer, as far as that layer. Batches are therefore put
    together: up to 32 MiB of inputs, and beyond that as far as a pass takes a quarter of the free
    memory. Dropout is off. A module without running statistics keeps its buffers, without a pass.

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
        count, moments, calls = passes.over(set(layers))
        if count == 0:
            raise InputError("the data to re-estimate running statistics on has no batch")
        settled = moments
        if count > 1:  # only the layer that is called first has seen its final inputs
            order = list(moments)
            settled = {order[0]: moments[order[0]]}
            for layer in order[1:]:
                _, moments, _ = passes.over({layer}, calls[layer] // count)
                settled |= moments
    if any(layer_moments.too_few for layer_moments in settled.values()):
        raise InputError("running statistics need more than one value a channel")
    # A layer that is called twice has seen half of its inputs when it normalises them.
    final = count == 1 and set(calls.values()) == {1}
    return Reestimated(buffers, passes.outputs if final else None, passes.targets)


class _Reached(Exception):
    """The layers behind are not needed."""


class _Passes:
    """Passes of one network over the same batches.

    Attributes:
        outputs: Of the last piece.
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
        self._room: dict[torch.Size, int] = {}
        self.outputs: Any = None
        self.targets: list[Any] = []

    def over(
        self, open_layers: set[nn.Module], stop: int = 0
    ) -> tuple[int, dict[nn.Module, _Moments], Counter[nn.Module]]:
        """Go over the batches, each as far as the ``stop``-th call of an open layer; 0 for the end.

        Returns:
            Number of batches; the moments of the open layers' inputs in the order of their first
            calls, and how often each was called.
        """
        moments: dict[nn.Module, _Moments] = {}
        calls: Counter[nn.Module] = Counter()
        reached = 0

        def collect(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            nonlocal reached
            if layer not in moments:
                moments[layer] = _Moments(layer)
            moments[layer].add(inputs[0])
            calls[layer] += 1
            reached += 1
            if reached == stop:
                raise _Reached

        count = 0
        for inputs in self._pieces():
            before = {layer: copy.copy(known) for layer, known in moments.items()}, calls.copy()

            def start(*_: Any, before: Any = before) -> None:
                """A layout that does not do makes the space run the network again."""
                nonlocal moments, calls, reached
                moments = {layer: copy.copy(known) for layer, known in before[0].items()}
                calls, reached = before[1].copy(), 0

            with ExitStack() as hooks:
                hooks.enter_context(self._space.module.register_forward_pre_hook(start))
                for layer in open_layers:
                    hooks.enter_context(layer.register_forward_pre_hook(collect))
                with suppress(_Reached):
                    self.outputs = self._space.predict(self._vector, inputs, self._buffers)
            count += 1
        return count, moments, calls

    def _pieces(self) -> Iterator[Any]:
        """Consecutive inputs as one, as far as there is room; those that are no tensors as are."""
        self.targets = []
        held: list[Tensor] = []
        for part, targets in self._batches:
            if held and not (_alike(part, held[0]) and self._fits(part, held)):
                yield torch.cat(held)
                held = []
            self.targets.append(targets)
            if isinstance(part, Tensor):
                held.append(part)
            else:
                yield part
        if held:
            yield torch.cat(held) if len(held) > 1 else held[0]

    def _fits(self, part: Tensor, held: list[Tensor]) -> bool:
        nbytes = part.nbytes + sum(each.nbytes for each in held)
        return nbytes <= _TOGETHER or nbytes <= self._most(part)

    def _most(self, part: Tensor) -> int:
        """Bytes of such inputs whose pass takes the memory that there is to spare."""
        shape = part.shape[1:]
        if shape not in self._room:
            sizes = []
            for repeats in (1, 2):
                with _Sizes() as seen:
                    self._space.predict(
                        self._vector, torch.cat([part[:1]] * repeats), self._buffers
                    )
                sizes.append(seen.nbytes)
            largest = max(more - less for less, more in zip(*sizes, strict=False))
            room = spare(self._space.device) // (_LIVE * max(1, largest))
            self._room[shape] = room * part[:1].nbytes
        return self._room[shape]


class _Sizes(TorchDispatchMode):
    """Within it, ``nbytes`` gets the size of each tensor that is computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nbytes: list[int] = []

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        self.nbytes += [each.nbytes for each in tensors_of(found)]
        return found


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
    """

    def __init__(self, layer: nn.Module) -> None:
        self._over_batch = isinstance(layer, _BatchNorm)
        self._kept: tuple[Tensor, Tensor] = (layer.running_mean, layer.running_var)  # type: ignore[assignment]
        self._count = 0
        self._mean = self._variance = torch.zeros(0)

    def add(self, inputs: Tensor) -> None:
        """Take in a batch of shape (B, C, ...), by the update of Chan, Golub & LeVeque (1979)."""
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
