"""Bayesian model averaging: p(y | x) = mean over samples s of softmax f(x; w_s)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.objective.batches import Batch
from landscape.posteriors import Posterior
from landscape.prediction import metrics

_IGNORED = -100


@dataclass(frozen=True)
class Prediction:
    """Predictions of each posterior sample on one data set, and their average.

    Attributes:
        log_probabilities: Values of log p(class | x_n, w_s), shape (S, N, C).
        labels: Class numbers, shape (N,).
    """

    log_probabilities: Tensor
    labels: Tensor

    @property
    def probabilities(self) -> Tensor:
        """Probabilities predicted by each sample, shape (S, N, C)."""
        return self.log_probabilities.exp()

    @property
    def average(self) -> Tensor:
        """Logarithm of the averaged probabilities (not of averaged logits), shape (N, C)."""
        return self.log_probabilities.logsumexp(0) - math.log(len(self.log_probabilities))

    def metrics(self) -> dict[str, float]:
        """Accuracy, NLL (nats), ECE (15 bins) and Brier score of the averaged predictions."""
        return _metrics(self.average, self.labels)

    def sample_metrics(self) -> list[dict[str, float]]:
        """The same metrics for each sample alone."""
        return [_metrics(sample, self.labels) for sample in self.log_probabilities]


def predict(
    posterior: Posterior, data: Iterable[Batch], *, samples: int = 30, seed: int = 0
) -> Prediction:
    """Predict with each of a posterior's samples.

    The network is in evaluation mode. Its running statistics are re-estimated for each sample.

    Args:
        posterior: Posterior to sample from. A posterior with fewer samples gives all it has.
        data: Batches of (inputs, labels). Examples with the label -100, which torch's losses
            ignore, are left out.
        samples: Number of posterior samples S.
        seed: Seed of the samples. ``measure`` uses the same samples for the same seed.

    Raises:
        InputError: There is no data, or the network does not return logits (B, C).
    """
    logits, labels = sampled_outputs(posterior, data, samples=samples, seed=seed)
    if logits.ndim != 3:
        raise InputError("predict needs a network that returns logits (B, C)")
    if logits.shape[2] < 2:
        raise InputError(
            "predict needs a logit for each class, but the network has one output: for two classes "
            "with one logit z, return torch.stack([0 * z, z], 1)"
        )
    counts = labels != _IGNORED
    return Prediction(torch.log_softmax(logits[:, counts], dim=2), labels[counts])


def sampled_outputs(
    posterior: Posterior, data: Iterable[Batch], *, samples: int, seed: int
) -> tuple[Tensor, Tensor]:
    """The network's outputs (S, N, ...) at posterior samples, and the targets (N, ...).

    Args:
        posterior: Posterior to sample from.
        data: Batches of (inputs, targets).
        samples: Number of posterior samples S.
        seed: Seed of the samples.

    Raises:
        InputError: There is no data, or the network does not return a tensor.
    """
    posterior.check_statistics(data)
    count = posterior.num_available(samples)
    rows = []
    targets: list[Tensor] = []
    with torch.no_grad():
        for w in posterior.sample(count, seed):
            buffers = posterior.buffers(w)
            outputs, targets = [], []
            for inputs, batch_targets in data:
                output = posterior.space.predict(w, inputs, buffers)
                if not isinstance(output, Tensor):
                    raise InputError("predict needs a network that returns logits (B, C)")
                outputs.append(output)
                targets.append(posterior.space.move(batch_targets))
            if not outputs:
                raise InputError("the data has no batches: nothing to predict")
            rows.append(torch.cat(outputs))
    return torch.stack(rows), torch.cat(targets)


def _metrics(log_probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    return {
        "accuracy": metrics.accuracy(log_probabilities, labels),
        "nll": metrics.nll(log_probabilities, labels),
        "ece": metrics.ece(log_probabilities, labels),
        "brier": metrics.brier(log_probabilities, labels),
    }
