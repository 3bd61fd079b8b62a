"""Running statistics of normalisation layers, re-estimated for given weights.

The running statistics of a trained network belong to its weights. A posterior sample has other
weights, so it needs statistics of its own (SWAG, arXiv 1902.02476, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from landscape.autograd.settings import full_precision, no_autocast
from landscape.errors import InputError
from landscape.objective.batches import Batch, Pairs, as_pair, examples_in, take_batch
from landscape.objective.parameters import Network, ParameterSpace
from landscape.running_stats.moments import Moments
from landscape.running_stats.one_batch import held, joined


@dataclass(frozen=True)
class Reestimated:
    """Running statistics of some weights, and the network's outputs from the same pass.

    Attributes:
        buffers: The module's buffers by name, with these statistics.
        outputs: The network's outputs for all examples in evaluation mode with these buffers: one
            item for all batches, or one for each. ``None`` where a layer is called twice, and in a
            network without running statistics.
        targets: The examples' targets, batch by batch.
    """

    buffers: dict[str, Tensor]
    outputs: Sequence[Any] | None = None
    targets: Sequence[Any] = ()


def normalisation_layers(module: nn.Module) -> list[nn.Module]:
    """The layers of ``module`` with running statistics: batch and instance normalisation."""
    return [
        layer
        for layer in module.modules()
        if isinstance(layer, _NormBase) and isinstance(layer.running_mean, Tensor)
    ]


def check_statistics(space: ParameterSpace, batch: Batch) -> None:
    """Refuse a network with running statistics in layers that are not torch's.

    They cannot be re-estimated, so a posterior's samples would have those of other weights.

    Args:
        space: The network's space.
        batch: A batch; a few of its examples pass through the network in training mode.

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
    with suppress(Exception), torch.random.fork_rng(), torch.no_grad():  # it may refuse to train
        space.call(space.vector(), inputs, buffers, training=True)
    for name, layer in own.items():
        if not torch.equal(before[name].nan_to_num(), buffers[name].nan_to_num()):
            raise InputError(
                f"a layer of type {type(layer).__name__} keeps running statistics of its own "
                f"('{name}'), which cannot be re-estimated for the samples of a posterior: derive "
                "the layer from torch's batch normalisation"
            )


@torch.no_grad()
def reestimate(space: ParameterSpace, vector: Tensor, batches: Iterable[Batch]) -> Reestimated:
    """The running statistics of the weights ``vector``.

    The statistics of a layer are the mean and the unbiased variance of all its inputs in evaluation
    mode, where the layers before it have theirs. They do not depend on how the examples are
    divided. (In torch's training mode the layers before normalise with the biased variance, which
    makes a difference of the order of 1 / N.) A layer that is called twice has the statistics of
    both inputs. Dropout is off. A module without running statistics keeps its buffers, without a
    pass.

    All examples pass through the network once, as one batch: each layer gets its statistics before
    it normalises. The pass may take a third of the free memory. Batches that cannot be joined, or
    whose pass does not fit, pass once for each layer, up to that layer, and once more for the
    outputs. ResNet-20 (19 layers, CPU): 10,000 images of 32 x 32 take 17 to 21 s and 6.0 GB as one
    batch, and about 9.6 times as long layer by layer.

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
    # A list is in memory already.
    is_list = isinstance(batches, list)
    batches = held([as_pair(batch) for batch in batches] if is_list else Pairs(batches))
    with full_precision(), no_autocast():
        space.settle(inputs for inputs, _ in batches)
        with space.at(vector, buffers) as network:  # on a copy of them
            inputs = joined(space, network, batches)
            if inputs is None:
                moments, outputs, targets = _layer_by_layer(network, layers, batches)
            else:
                moments, outputs = _at_once(network, layers, inputs)
                targets = [target for _, target in batches]
            buffers = space.buffers()
    if not targets:
        raise InputError("the data to re-estimate running statistics on has no batch")
    if any(layer.too_few for layer in moments):
        raise InputError("running statistics need more than one value a channel")
    # A layer that is called twice has seen half of its inputs when it normalises them.
    is_final = all(layer.calls == len(outputs) for layer in moments)
    return Reestimated(buffers, outputs if is_final else None, targets)


def _at_once(
    network: Network, layers: Sequence[nn.Module], inputs: Any
) -> tuple[Collection[Moments], list[Any]]:
    """Moments and outputs from one pass; each layer gets its statistics before it normalises."""
    moments: dict[nn.Module, Moments] = {}

    def settle(layer: nn.Module, given: Tensor) -> None:
        moments.setdefault(layer, Moments(layer)).add(given)
        moments[layer].write()

    with _before_calls(layers, settle):
        return moments.values(), [network(inputs)]


class _Reached(BaseException):
    """A pass has reached the layer whose input it collects.

    Without it each pass goes through the whole network, which takes 1.8 times as long (ResNet-20,
    19 layers). It is no ``Exception``, so a network that catches those does not catch it.
    """


def _layer_by_layer(
    network: Network, layers: Sequence[nn.Module], batches: Iterable[Batch]
) -> tuple[Collection[Moments], list[Any], list[Any]]:
    """Moments, outputs and targets from a pass over the batches for each call of a layer."""
    moments: dict[nn.Module, Moments] = {}
    settled, calls = 0, 0

    def add(layer: nn.Module, given: Tensor) -> None:
        nonlocal calls
        calls += 1
        if calls > settled:
            moments.setdefault(layer, Moments(layer)).add(given)
            raise _Reached

    with _before_calls(layers, add):
        while True:
            outputs, targets = [], []
            for inputs, target in batches:
                calls = 0
                targets.append(target)
                with suppress(_Reached):
                    outputs.append(network(inputs))
            if len(outputs) == len(targets):
                return moments.values(), outputs, targets
            settled += 1
            for layer in moments.values():
                layer.write()


@contextmanager
def _before_calls(
    layers: Iterable[nn.Module], hook: Callable[[nn.Module, Tensor], None]
) -> Iterator[None]:
    """Call ``hook`` before each call of some layers, with the layer and its first argument."""

    def call(layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        hook(layer, (*given, *named.values())[0])

    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(layer.register_forward_pre_hook(call, with_kwargs=True))
        yield
