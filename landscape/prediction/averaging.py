"""Bayesian model averaging: p(y | x) = mean over samples s of softmax f(x; w_s)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.objective.batches import Batch, Pairs
from landscape.objective.losses import Criterion, Loss
from landscape.posteriors import Posterior
from landscape.prediction import metrics
from landscape.runtime.memory import check_room

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
    posterior: Posterior,
    data: Iterable[Batch],
    *,
    samples: int = 30,
    seed: int = 0,
    loss: Loss = "cross_entropy",
) -> Prediction:
    """Predict with each of a posterior's samples.

    The network is in evaluation mode. Its running statistics are re-estimated for each sample.

    Args:
        posterior: Posterior to sample from. A posterior with fewer samples gives all it has.
        data: Batches of (inputs, labels), or of other forms; see ``batches.as_pair``. Each token
            and each pixel with a label is an example. Those with the label -100, which torch's
            losses ignore, are left out.
        samples: Number of posterior samples S.
        seed: Seed of the samples. ``measure`` uses the same samples for the same seed.
        loss: The loss, which says where the logits are; see ``losses.Readout``. With
            ``"binary_cross_entropy"`` one logit z stands for the two of the classes, 0 and z.

    Raises:
        InputError: There is no data, the predictions do not fit in memory, or the network does not
            return logits (B, C).
    """
    criterion = Criterion(loss)

    def read(outputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        rows = criterion.rows(outputs, targets)
        if rows is None:
            raise _no_logits(criterion.read(outputs))
        logits, labels = rows
        counts = labels != _IGNORED
        return torch.log_softmax(logits[counts], dim=1), labels[counts]

    return Prediction(*sampled_outputs(posterior, data, read, samples=samples, seed=seed))


def _no_logits(outputs: Any) -> InputError:
    if isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] == 1:
        return InputError(
            "predict needs a logit for each class, but the network has one output: for one logit "
            "pass loss='binary_cross_entropy'"
        )
    return InputError(
        "predict needs a network that returns logits (B, C), (B, C, ...) or (B, T, C), and labels "
        "of that shape without C"
    )


def sampled_outputs(
    posterior: Posterior,
    data: Iterable[Batch],
    read: Callable[[Any, Any], tuple[Tensor, Tensor]],
    *,
    samples: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Predictions (S, N, ...) at posterior samples, and the targets (N, ...).

    Args:
        posterior: Posterior to sample from.
        data: Batches of (inputs, targets).
        read: Returns predictions and targets, row by row, of a batch's outputs and targets.
        samples: Number of posterior samples S.
        seed: Seed of the samples.

    Raises:
        InputError: There is no data, or the predictions do not fit in memory.
    """
    posterior.check_statistics(data)
    count = posterior.num_available(samples)
    rows: list[Tensor] = []
    targets: list[Tensor] = []
    with torch.no_grad():
        for w in posterior.sample(count, seed):
            buffers = posterior.buffers(w)
            parts, targets = [], []
            for inputs, batch_targets in Pairs(data):
                outputs = posterior.space.predict(w, inputs, buffers)
                part, of_part = read(outputs, posterior.space.move(batch_targets))
                parts.append(part)
                targets.append(of_part)
            if not parts:
                raise InputError("the data has no batches: nothing to predict")
            rows.append(torch.cat(parts))
            if len(rows) == 1:
                room = (count - 1) * rows[0].nbytes
                check_room(room, posterior.device, f"predictions of {count} samples")
    return torch.stack(rows), torch.cat(targets)


def _metrics(log_probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    return {
        "accuracy": metrics.accuracy(log_probabilities, labels),
        "nll": metrics.nll(log_probabilities, labels),
        "ece": metrics.ece(log_probabilities, labels),
        "brier": metrics.brier(log_probabilities, labels),
    }
