"""Losses that are negative log-likelihoods of real targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from landscape.errors import InputError


@dataclass(frozen=True)
class GaussianLikelihood:
    """-log N(y; f(x), noise^2 I) in nats, with the constant; one value for each example.

    Attributes:
        noise: Standard deviation of the noise, in the targets' units.

    Examples:
        >>> import torch
        >>> loss = GaussianLikelihood(noise=2.0)
        >>> loss(torch.tensor([[1.0]]), torch.tensor([5.0]))  # 0.5 (4 / 2)^2 + log 2 + log(2 pi)/2
        tensor([3.6121])
    """

    noise: float = 1.0

    def __post_init__(self) -> None:
        check_noise(self.noise)

    @property
    def __name__(self) -> str:
        """Name in run files."""
        return f"gaussian with noise {self.noise:g}"

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The losses (B,) of outputs (B, D) with targets (B, D), or (B,) for D = 1.

        Raises:
            InputError: the shapes do not fit.
        """
        error = residuals(outputs, targets) / self.noise
        constant = math.log(self.noise) + 0.5 * math.log(2 * math.pi)
        return (0.5 * error**2 + constant).sum(-1)


def check_noise(noise: Any) -> None:
    """Refuse a noise that is no standard deviation.

    Raises:
        InputError: the noise is not one positive, finite number.
    """
    try:
        is_one = 0 < float(noise) < math.inf
    except (TypeError, ValueError, RuntimeError):
        is_one = False
    if not is_one:
        raise InputError(
            f"the noise must be positive and finite, one number, not {str(noise)[:60]}"
        )


def residuals(outputs: Tensor, targets: Tensor) -> Tensor:
    """f(x) - y, shape (..., B, D), for outputs (..., B, D) and targets (B, D) or (B,).

    Raises:
        InputError: the shapes do not match; broadcasting would hide it.
    """
    expected = targets[:, None] if targets.ndim == 1 else targets
    if outputs.ndim < 2 or expected.ndim != 2 or outputs.shape[-2:] != expected.shape:
        raise InputError(
            "a Gaussian likelihood needs one output for each target: outputs "
            f"{tuple(outputs.shape)} do not fit targets {tuple(targets.shape)}"
        )
    return outputs - expected
