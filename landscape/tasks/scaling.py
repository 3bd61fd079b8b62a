"""Standardisation of inputs, and its inverse."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scaling:
    """The map x -> (x - mean) / deviation, per image channel or per feature.

    Attributes:
        mean: Mean, in a shape that broadcasts with one input.
        deviation: Standard deviation in the same shape, positive.
    """

    mean: Tensor
    deviation: Tensor

    @staticmethod
    def of(inputs: Tensor) -> Scaling:
        """The scaling of training inputs: (N, C, H, W) per channel, others (N, ...) per entry.

        Constant channels and entries are only centred.

        Examples:
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
        """Inputs before standardisation."""
        return inputs * self.deviation.to(inputs) + self.mean.to(inputs)
