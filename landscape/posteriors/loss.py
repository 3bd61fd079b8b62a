"""The mean loss at a posterior's samples, each with running statistics of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from landscape.batches import Batch
from landscape.losses import Loss
from landscape.objective import Evaluation, Objective
from landscape.posteriors.posterior import Posterior


@dataclass(frozen=True)
class PosteriorLoss:
    """w -> the mean loss of the weights w on fixed data; what is sent to a worker.

    Attributes:
        posterior: Whose network, and whose calibration data for the running statistics.
        data: The fixed set, as batches.
        loss: See ``losses.summed_loss``.
    """

    posterior: Posterior
    data: Iterable[Batch]
    loss: Loss = "cross_entropy"

    def at(self, w: Tensor) -> Objective:
        """The objective with the running statistics of w, shape (P,)."""
        buffers = self.posterior.buffers(w)
        return Objective(self.posterior.space, self.data, self.loss, buffers=buffers)

    def evaluate(self, w: Tensor) -> Evaluation:
        """Loss and accuracy at w."""
        return self.at(w).evaluate(w)
