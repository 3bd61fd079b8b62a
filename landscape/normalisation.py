"""Running statistics of normalisation layers, re-estimated for given weights.

A posterior sample has other weights than the network whose statistics the layers carry, so each is
judged with statistics of its own (SWAG, arXiv 1902.02476, section 3.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from landscape.errors import InputError
from landscape.parameters import ParameterSpace

_TOGETHER = 1 << 25
_PIECE = 1 << 19


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
) -> dict[str, Tensor]:
    """Buffers with the running statistics of the weights ``vector``.

    They are those of one pass with all examples in one batch, however the examples are divided.
    With more than one batch a layer's statistics wait until those of the layers before it are
    known, so that there is a pass for every layer, as far as that layer; batches are therefore put
    together, up to 32 MiB of inputs. Dropout is off. A module without running statistics gets its
    buffers back unchanged, without a pass.

    Args:
        space: The parameter space.
        vector: Weights, shape (P,).
        batches: The training set, as (inputs, targets), re-readable.

    Returns:
        Buffers by name, for ``space.call``.

    Raises:
        InputError: ``batches`` is empty or can be read only once, or a layer sees a single value.
    """
    buffers = space.buffers()
    layers = normalisation_layers(space.module)
    if not layers:
        return buffers
    if isinstance(batches, Iterator):
        raise InputError(
            "the data to re-estimate running statistics on can be read only once; pass a list or "
            "a DataLoader"
        )
    space.module.eval()
    count, moments, calls = _pass(space, vector, batches, buffers, set(layers))
    if count == 0:
        raise InputError("the data to re-estimate running statistics on has no batch")
    settled = moments
    if count > 1:  # only the layer that is called first has seen its final inputs
        order = list(moments)
        settled = {order[0]: moments[order[0]]}
        for layer in order[1:]:
            _, moments, _ = _pass(space, vector, batches, buffers, {layer}, calls[layer] // count)
            settled |= moments
    for layer_moments in settled.values():
        layer_moments.finish()
    return buffers


class _Reached(Exception):
    """The layers behind are not needed."""


def _pass(
    space: ParameterSpace,
    vector: Tensor,
    batches: Iterable[tuple[Any, Any]],
    buffers: dict[str, Tensor],
    open_layers: set[nn.Module],
    stop: int = 0,
) -> tuple[int, dict[nn.Module, _Moments], Counter[nn.Module]]:
    """Go over the batches, each as far as the ``stop``-th call of an open layer; 0 for to the end.

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
    with ExitStack() as hooks:
        for layer in open_layers:
            hooks.enter_context(layer.register_forward_pre_hook(collect))
        for inputs in _together(inputs for inputs, _ in batches):
            reached = 0
            with suppress(_Reached):
                space.call(vector, inputs, buffers)
            count += 1
    return count, moments, calls


def _together(parts: Iterable[Any]) -> Iterator[Any]:
    """Consecutive tensors of examples as one, up to ``_TOGETHER`` bytes; others as they are."""
    held: list[Tensor] = []
    for part in parts:
        fits = (
            held
            and isinstance(part, Tensor)
            and part.shape[1:] == held[0].shape[1:]
            and part.dtype == held[0].dtype
            and part.nbytes + sum(each.nbytes for each in held) <= _TOGETHER
        )
        if held and not fits:
            yield torch.cat(held)
            held = []
        if isinstance(part, Tensor):
            held.append(part)
        else:
            yield part
    if held:
        yield torch.cat(held)


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

    The variance is that of the examples (divisor n), as a layer normalises with in training, until
    ``finish`` makes it the estimate (divisor n - 1) that layers keep.
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
        for kept, value in zip(self._kept, (self._mean, self._variance), strict=True):
            kept.copy_(value)

    def finish(self) -> None:
        """Make the variance kept unbiased."""
        if not self._over_batch:
            return
        if self._count < 2:
            raise InputError("running statistics need more than one value a channel")
        self._kept[1].mul_(self._count / (self._count - 1))
