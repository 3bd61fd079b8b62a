"""Bayesian model averaging for real targets.

p(y | x) = mean over samples s of N(y; f(x; w_s), noise^2)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from landscape.objective.batches import Batch
from landscape.objective.likelihood import check_noise, residuals
from landscape.posteriors import Posterior
from landscape.prediction.averaging import sampled_outputs


@dataclass(frozen=True)
class RealPrediction:
    """Predictions of D real targets by each posterior sample on one data set, with Gaussian noise.

    Attributes:
        outputs: Values of f(x_n; w_s), shape (S, N, D).
        targets: Targets, shape (N, D), or (N,) for D = 1.
        noise: Standard deviation of the noise.
    """

    outputs: Tensor
    targets: Tensor
    noise: float

    @property
    def mean(self) -> Tensor:
        """Mean of the predictive distribution, shape (N, D)."""
        return self.outputs.mean(0)

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of the predictive distribution, including the noise, shape (N, D)."""
        return (self.outputs.var(0, correction=0) + self.noise**2).sqrt()

    def metrics(self) -> dict[str, float]:
        """NLL of the mixture in nats per example, and root mean squared error of its mean."""
        return _metrics(self.outputs, self.targets, self.noise)

    def sample_metrics(self) -> list[dict[str, float]]:
        """The same metrics for each sample alone."""
        return [_metrics(sample[None], self.targets, self.noise) for sample in self.outputs]


def predict_real(
    posterior: Posterior,
    data: Iterable[Batch],
    *,
    noise: float,
    samples: int = 30,
    seed: int = 0,
) -> RealPrediction:
    """Predict real targets with each of a posterior's samples.

    ``predict`` does the same for classes.

    Args:
        posterior: Posterior to sample from.
        data: Batches of (inputs, targets).
        noise: Standard deviation of the noise in the likelihood used for training.
        samples: Number of posterior samples S.
        seed: Seed of the samples.

    Raises:
        InputError: There is no data, outputs and targets do not match, or the noise is not a
            positive number.
    """
    check_noise(noise)
    outputs, targets = sampled_outputs(posterior, data, samples=samples, seed=seed)
    residuals(outputs, targets)
    return RealPrediction(outputs, targets, noise)


def _metrics(outputs: Tensor, targets: Tensor, noise: float) -> dict[str, float]:
    errors = residuals(outputs.double(), targets.double())
    constant = math.log(noise) + 0.5 * math.log(2 * math.pi)
    log_density = -(0.5 * (errors / noise) ** 2 + constant).sum(-1)
    mixture = log_density.logsumexp(0) - math.log(len(outputs))
    squared = errors.mean(0) ** 2
    return {"nll": float(-mixture.mean()), "rmse": float(squared.mean().sqrt())}
