"""Standardised inputs, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scaling:
    """x -> (x - mean) / deviation, by channel of an image or by feature.

    Attributes:
        mean: Shape that broadcasts with one input.
        deviation: The same, positive.
    """

    mean: Tensor
    deviation: Tensor

    @staticmethod
    def of(inputs: Tensor) -> Scaling:
        """The moments of training inputs: (N, C, H, W) by channel, others (N, ...) by entry.

        What does not vary is only centred.

        Example:
            >>> Scaling.of(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).apply(torch.tensor([[3.0, 6.0]]))
            tensor([[1., 1.]])
        """
        over = (0, 2, 3) if inputs.ndim == 4 else (0,)
        variance, mean = torch.var_mean(inputs.double(), over, correction=0, keepdim=True)
        deviation = torch.where(variance > 0, variance.sqrt(), 1.0)
        return Scaling(mean[0].to(inputs), deviation[0].to(inputs))

    def apply(self, inputs: Tensor) -> Tensor:
        """Standardised inputs."""
        return (inputs - self.mean.to(inputs)) / self.deviation.to(inputs)

    def invert(self, inputs: Tensor) -> Tensor:
        """The inputs that ``apply`` was given."""
        return inputs * self.deviation.to(inputs) + self.mean.to(inputs)
