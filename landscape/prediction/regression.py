"""Bayesian model averaging for real targets.

p(y | x) = mean over samples s of N(y; f(x; w_s), noise^2)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.objective.batches import Batch
from landscape.objective.likelihood import LearntNoise, check_noise, residuals
from landscape.objective.losses import Criterion, Loss
from landscape.posteriors import Posterior
from landscape.prediction.averaging import sampled_outputs


@dataclass(frozen=True)
class RealPrediction:
    """Predictions of D real targets by each posterior sample on one data set, with Gaussian noise.

    Attributes:
        outputs: Values of f(x_n; w_s), shape (S, N, D).
        targets: Targets, shape (N, D), or (N,) for D = 1.
        noise: Standard deviation of the noise; a learnt one has that of each prediction, shape
            (S, N, D).
    """

    outputs: Tensor
    targets: Tensor
    noise: float | Tensor

    @property
    def mean(self) -> Tensor:
        """Mean of the predictive distribution, shape (N, D)."""
        return self.outputs.mean(0)

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of the predictive distribution, including the noise, shape (N, D)."""
        within = self.noise**2
        within = within.mean(0) if isinstance(within, Tensor) else within
        return (self.outputs.var(0, correction=0) + within).sqrt()

    def metrics(self) -> dict[str, float]:
        """NLL of the mixture in nats per example, and root mean squared error of its mean."""
        return _metrics(self.outputs, self.targets, self.noise)

    def sample_metrics(self) -> list[dict[str, float]]:
        """The same metrics for each sample alone."""
        return [
            _metrics(
                sample[None],
                self.targets,
                self.noise[s][None] if isinstance(self.noise, Tensor) else self.noise,
            )
            for s, sample in enumerate(self.outputs)
        ]


def predict_real(
    posterior: Posterior,
    data: Iterable[Batch],
    *,
    noise: float | None = None,
    samples: int = 30,
    seed: int = 0,
    loss: Loss = "gaussian",
) -> RealPrediction:
    """Predict real targets with each of a posterior's samples.

    ``predict`` does the same for classes.

    Args:
        posterior: Posterior to sample from.
        data: Batches of (inputs, targets).
        noise: Standard deviation of the noise; that of the loss if ``None``.
        samples: Number of posterior samples S.
        seed: Seed of the samples.
        loss: The likelihood used for training, which also says where the means are:
            ``"gaussian"``, a ``GaussianLikelihood`` or ``"gaussian_learnt_noise"``.

    Raises:
        InputError: There is no data, outputs and targets do not match, the noise is not a positive
            number, or the loss is no Gaussian likelihood.
    """
    criterion = Criterion(loss)
    likelihood = criterion.likelihood
    if likelihood is None:
        raise InputError(
            f"predict_real needs a Gaussian likelihood, not {criterion.name}: pass loss='gaussian' "
            "and the noise, or loss='gaussian_learnt_noise'"
        )
    if isinstance(likelihood, LearntNoise):
        if noise is not None:
            raise InputError("the noise is learnt: leave noise out")

        def read_both(outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
            mean, log_variance = likelihood.divide(criterion.read(outputs), targets)
            residuals(mean, targets)
            return torch.stack([mean, (0.5 * log_variance).exp()], 1), targets

        both, targets = sampled_outputs(posterior, data, read_both, samples=samples, seed=seed)
        return RealPrediction(both[:, :, 0], targets, both[:, :, 1])
    noise = likelihood.noise if noise is None else noise
    check_noise(noise)

    def read(outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        mean = criterion.read(outputs)
        residuals(mean, targets)
        return mean, targets

    outputs, targets = sampled_outputs(posterior, data, read, samples=samples, seed=seed)
    return RealPrediction(outputs, targets, noise)


def _metrics(outputs: Tensor, targets: Tensor, noise: float | Tensor) -> dict[str, float]:
    errors = residuals(outputs.double(), targets.double())
    deviation = torch.as_tensor(noise, dtype=errors.dtype, device=errors.device)
    constant = deviation.log() + 0.5 * math.log(2 * math.pi)
    log_density = -(0.5 * (errors / deviation) ** 2 + constant).sum(-1)
    mixture = log_density.logsumexp(0) - math.log(len(outputs))
    squared = errors.mean(0) ** 2
    return {"nll": float(-mixture.mean()), "rmse": float(squared.mean().sqrt())}
