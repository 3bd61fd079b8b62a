"""The mean loss at a posterior's samples, each with running statistics of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from landscape.objective.batches import Batch, Pairs, batch_size, same_examples
from landscape.objective.losses import Loss
from landscape.objective.mean_loss import Evaluation
from landscape.objective.objective import Objective
from landscape.posteriors.posterior import Posterior
from landscape.running_stats.normalisation import normalisation_layers


@dataclass(frozen=True)
class PosteriorLoss:
    """w -> the mean loss of the weights w on fixed data. It can be sent to a worker.

    Attributes:
        posterior: The posterior, with its network and calibration data for running statistics.
        data: The fixed set, as batches.
        loss: The loss; see ``losses.Criterion``.
    """

    posterior: Posterior
    data: Iterable[Batch]
    loss: Loss = "cross_entropy"

    def __reduce__(self) -> tuple[Any, ...]:
        return PosteriorLoss, (self.posterior, self.data, self.loss)

    @cached_property
    def _objective(self) -> Objective:
        objective = Objective(self.posterior.space, self.data, self.loss).sharded()
        self.posterior.check_statistics(objective.pairs())
        return objective

    def at(self, w: Tensor) -> Objective:
        """The objective with the running statistics of w, shape (P,)."""
        return self._objective.with_buffers(self._buffers(w))

    def evaluate(self, w: Tensor) -> Evaluation:
        """Loss and accuracy at w."""
        return self.evaluate_each(w[None])[0]

    def evaluate_each(self, weights: Tensor) -> list[Evaluation]:
        """Loss and accuracy at each of some weights, shape (n, P), in one pass over the data."""
        if self._on_calibration:
            return [self._with_statistics(w) for w in weights]
        buffers = [self._buffers(w) for w in weights]
        return self._objective.evaluate_each(weights, buffers)

    def _with_statistics(self, w: Tensor) -> Evaluation:
        """Loss and accuracy, from the pass that estimates the statistics if it has the outputs."""
        estimate = self.posterior.reestimate(w)
        if estimate.outputs is None or not all(map(torch.is_tensor, estimate.outputs)):
            return self._objective.with_buffers(estimate.buffers).evaluate(w)
        return self._objective.evaluate_outputs(_by_batch(estimate.outputs, estimate.targets))

    @cached_property
    def _on_calibration(self) -> bool:
        """Whether the data are those that estimate the running statistics."""
        calibration = self.posterior.calibration
        if self.posterior.sample_buffers is not None:
            return False
        if not self._keeps_statistics or calibration is None:
            return False
        pairs = self._objective.unsharded().pairs()
        if self.data is calibration:
            next(pairs, None)  # which checks them
            return True
        return same_examples(pairs, Pairs(calibration))

    @cached_property
    def _keeps_statistics(self) -> bool:
        posterior = self.posterior
        has_own = posterior.sample_buffers is not None
        return has_own or bool(normalisation_layers(posterior.space.module))

    def _buffers(self, w: Tensor) -> dict[str, Tensor] | None:
        return self.posterior.buffers(w) if self._keeps_statistics else None


def _by_batch(parts: Iterable[Tensor], targets: Iterable[Any]) -> Iterator[Batch]:
    """The targets of each batch after its outputs, given in parts of whole batches."""
    following, part = iter(parts), torch.empty(0)
    for batch_targets in targets:
        part = part if len(part) else next(following)
        size = batch_size(None, batch_targets)
        yield part[:size], batch_targets
        part = part[size:]
