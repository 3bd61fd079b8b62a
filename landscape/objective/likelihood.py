"""Losses that are negative log-likelihoods of real targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from landscape.autograd.pytrees import tensors_of
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


@dataclass(frozen=True)
class LearntNoise:
    """-log N(y; m, s^2 I) in nats, where the network gives both the mean m and log s^2.

    The network returns m and log s^2, each (B, D): one after the other in one tensor (B, 2 D), or
    as a tuple of two. In a tuple log s^2 may also be (D,), (1,) or a single number: one noise for
    all inputs, such as a parameter of the network. (Nix & Weigend 1994; Kendall & Gal, arXiv
    1703.04977.)

    Examples:
        >>> import torch
        >>> loss = LearntNoise()
        >>> outputs = torch.tensor([[1.0, 2 * math.log(2.0)]])  # mean 1, deviation 2
        >>> torch.equal(loss(outputs, torch.tensor([5.0])), GaussianLikelihood(2.0)(
        ...     outputs[:, :1], torch.tensor([5.0])))
        True
    """

    @property
    def __name__(self) -> str:
        """Name in run files."""
        return "gaussian with learnt noise"

    def __call__(self, outputs: Any, targets: Tensor) -> Tensor:
        """The losses (B,) of the network's outputs with targets (B, D), or (B,) for D = 1.

        Raises:
            InputError: the shapes do not fit.
        """
        mean, log_variance = self.divide(outputs, targets)
        squares = residuals(mean, targets) ** 2 * (-log_variance).exp()
        return (0.5 * (squares + log_variance + math.log(2 * math.pi))).sum(-1)

    def divide(self, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and log s^2, each (B, D).

        Raises:
            InputError: the outputs are not as above.
        """
        size = targets.shape[1] if targets.ndim > 1 else 1
        if isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] == 2 * size:
            return outputs[:, :size], outputs[:, size:]
        if isinstance(outputs, list | tuple) and len(outputs) == 2:
            mean, log_variance = outputs
            if isinstance(mean, Tensor) and isinstance(log_variance, Tensor):
                mean = mean[:, None] if mean.ndim == 1 else mean
                if log_variance.shape == mean.shape[:1] != mean.shape[1:]:
                    log_variance = log_variance[:, None]
                return mean, log_variance.expand_as(mean)
        shapes = [tuple(tensor.shape) for tensor in tensors_of(outputs)]
        raise InputError(
            "a Gaussian with learnt noise needs a mean and a log-variance for each target: outputs "
            f"(B, {2 * size}) or a tuple of two (B, {size}), not {shapes}"
        )


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
