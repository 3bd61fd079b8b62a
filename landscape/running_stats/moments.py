"""Mean and variance of what a normalisation layer is given, batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_PIECE = 1 << 19  # bytes that stay in a core's cache


class Moments:
    """Mean and variance by channel of all inputs that a layer was given so far.

    Attributes:
        calls: Number of inputs.
    """

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer
        self._over_batch = isinstance(layer, _BatchNorm)
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

    def write(self) -> None:
        """Make mean and unbiased variance the layer's running statistics."""
        unbiased = self._over_batch and self._count > 1
        factor = self._count / (self._count - 1) if unbiased else 1.0
        self._layer.running_mean.copy_(self._mean)  # type: ignore[operator]
        self._layer.running_var.copy_(self._variance * factor)  # type: ignore[operator]

    @property
    def too_few(self) -> bool:
        """Whether the inputs have a single value a channel, which has no variance."""
        return self._over_batch and self._count < 2


def _var_mean(inputs: Tensor, dims: list[int]) -> tuple[Tensor, Tensor]:
    """Variance (divisor n) and mean by channel.

    On the CPU, ``torch.var_mean`` does not vectorise over the axes before and after the channel's.
    Two passes, the second in pieces that stay in the cache, take a fraction of its time.
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
