"""Running statistics of normalisation layers, re-estimated for given weights.

A posterior sample has other weights than the network whose statistics the layers carry, so each is
judged with statistics of its own (SWAG, arXiv 1902.02476, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from landscape.autograd.settings import full_precision, no_autocast
from landscape.errors import InputError
from landscape.objective.batches import Batch, examples_in, take_batch
from landscape.objective.parameters import ParameterSpace
from landscape.running_stats.chunks import Network, Parts, before_calls
from landscape.running_stats.layerwise import Lockstep

_PIECE = 1 << 19  # bytes that stay in a core's cache


@dataclass(frozen=True)
class Reestimated:
    """Running statistics of some weights, and what came by the way.

    Attributes:
        buffers: The module's buffers by name, with these statistics.
        outputs: What the network makes of all examples with these buffers, in evaluation mode, in
            parts of whole batches; ``None`` where a layer is called twice, or there is none.
        targets: Those of the examples, batch by batch.
    """

    buffers: dict[str, Tensor]
    outputs: Sequence[Any] | None = None
    targets: Sequence[Any] = ()


def normalisation_layers(module: nn.Module) -> list[nn.Module]:
    """The layers of ``module`` that keep running statistics: batch and instance normalisation."""
    return [
        layer
        for layer in module.modules()
        if isinstance(layer, _NormBase) and isinstance(layer.running_mean, Tensor)
    ]


def check_statistics(space: ParameterSpace, batch: Batch) -> None:
    """Refuse a network with running statistics in layers that are not torch's.

    A posterior's samples would be judged with those of other weights.

    Args:
        space: The network.
        batch: Examples, a few of which are passed through it in training mode.

    Raises:
        InputError: a buffer of a layer changes in training.
    """
    own = {
        f"{prefix}.{name}".lstrip("."): layer
        for prefix, layer in space.module.named_modules()
        for name, buffer in layer.named_buffers(recurse=False)
        if not isinstance(layer, _NormBase)
        and not type(layer).__module__.startswith("torch.")
        and buffer.is_floating_point()
    }
    size = examples_in(batch)
    if not own or not size:
        return
    inputs, _ = take_batch(batch, slice(0, 8), size)
    before, buffers = space.buffers(), space.buffers()
    with suppress(Exception), torch.random.fork_rng(), torch.no_grad():  # it may not train at all
        space.call(space.vector(), inputs, buffers, training=True)
    for name, layer in own.items():
        if not torch.equal(before[name].nan_to_num(), buffers[name].nan_to_num()):
            raise InputError(
                f"a layer of type {type(layer).__name__} keeps running statistics of its own "
                f"('{name}'), which no sample of a posterior has: derive it from torch's batch "
                "normalisation, whose statistics are re-estimated for every sample"
            )


@torch.no_grad()
def reestimate(
    space: ParameterSpace, vector: Tensor, batches: Iterable[tuple[Any, Any]]
) -> Reestimated:
    """The running statistics of the weights ``vector``.

    A layer's are mean and unbiased variance of all that it is given in evaluation mode, where the
    layers before it have theirs, however the examples are divided. (In torch's training mode those
    normalise with the biased variance: there is a difference of the order of 1 / N.)

    The examples pass through the network once, in parts that wait for each other at each layer
    until its statistics are known (``lockstep``). What they hold meanwhile may take a third of the
    free memory. Parts that do not fit start again for each layer, and go as far as that layer.
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
    moments: dict[nn.Module, _Moments] = {}
    targets: list[Any] = []

    def inputs() -> Iterator[Any]:
        targets.clear()
        for given, wanted in batches:
            targets.append(wanted)
            yield given

    def run(network: Network) -> list[Any]:
        """The outputs of all parts."""
        moments.clear()
        lockstep = Lockstep()

        def collect(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            lockstep.step(lambda: moments.setdefault(layer, _Moments(layer)).add(given[0]))

        waiting, rest = Parts(space, network, layers).divided(inputs)
        with before_calls(layers, collect):
            return lockstep.run(network, waiting, rest)

    with full_precision(), no_autocast():
        space.settle(inputs())
        with space.at(vector, buffers) as network:  # on a copy of them
            outputs = run(network)
            buffers = space.buffers()
    if not targets:
        raise InputError("the data to re-estimate running statistics on has no batch")
    if any(each.too_few for each in moments.values()):
        raise InputError("running statistics need more than one value a channel")
    # A layer that is called twice has seen half of its inputs when it normalises them.
    final = all(each.calls == len(outputs) for each in moments.values())
    return Reestimated(buffers, outputs if final else None, targets)


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
