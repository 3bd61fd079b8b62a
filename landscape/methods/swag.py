"""SWAG: a Gaussian fitted to the trajectory of SGD at a constant rate (arXiv 1902.02476)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.methods.loop import Problem, new_state
from landscape.methods.map import Descent, MAPState
from landscape.objective.batches import Batch
from landscape.posteriors import Gaussian, Posterior

_MIN_VARIANCE = 1e-30


@dataclass
class Moments:
    """Running mean, variance and last deviations of a sequence of vectors.

    The variance is by Welford's recurrence: E[w^2] - E[w]^2 cancels in float32.

    Attributes:
        rank: K, how many deviations are kept.
        count: Vectors seen.
        mean: Their mean, shape (P,).
        squares: Sum of squared deviations from the mean, shape (P,).
        deviations: The last K of (vector - mean of the vectors up to it), oldest first.
    """

    rank: int
    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))
    deviations: list[Tensor] = field(default_factory=list)

    def add(self, vector: Tensor) -> None:
        """Take in one vector (P,)."""
        self.count += 1
        before = vector - self.mean
        self.mean = self.mean + before / self.count
        after = vector - self.mean
        self.squares = self.squares + before * after
        if self.rank:
            self.deviations = [*self.deviations, after][-self.rank :]

    def gaussian(self) -> Gaussian:
        """sigma^2 = variance / 2 and U = D / sqrt(2 (K - 1)): equation 1 of the paper.

        Raises:
            InputError: fewer than K + 1 vectors were seen (the first deviates by zero), or fewer
                than two.
        """
        if self.count < self.rank + 1 or self.count < 2:
            raise InputError(
                f"swag: {self.count} snapshots are too few for rank {self.rank}: train longer, "
                "start collecting earlier, or lower the rank"
            )
        variance = (self.squares / self.count).clamp_min(2 * _MIN_VARIANCE) / 2
        factor = self.mean.new_zeros(len(self.mean), 0)
        if self.rank:
            factor = torch.stack(self.deviations, 1) / math.sqrt(2 * (self.rank - 1))
        return Gaussian(self.mean.clone(), variance.sqrt(), factor)


@dataclass(kw_only=True)
class SWAGState(MAPState):
    """SGD's state and the moments of its trajectory."""

    moments: Moments

    @property
    def mean(self) -> Tensor:
        """The trajectory's mean once there is one, the weights before."""
        return self.moments.mean if self.moments.count else self.weights


@dataclass(frozen=True, kw_only=True)
class SWAG(Descent[SWAGState]):
    """The Gaussian of the snapshots that SGD leaves, one an epoch, at a constant learning rate.

    Until ``start`` the rate follows the shared schedule down to ``swag_rate``; then it stays
    there. A ``prior`` given to ``fit`` only says where training starts: at its mean.

    Attributes:
        rank: K, columns of the low-rank part; 0 or at least 2.
        start: Share of the steps before snapshots are taken.
        swag_rate: The constant learning rate.
    """

    rank: int = 5
    start: float = 0.5
    swag_rate: float = 0.02

    name: ClassVar[str] = "swag"
    can_stop_early: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.rank == 0 or self.rank >= 2, "rank", "0 or at least 2")
        self._require(0 <= self.start < 1, "start", "in [0, 1)")
        self._require(0 < self.swag_rate < math.inf, "swag_rate", "positive and finite")
        snapshots = self.epochs - math.floor(self.start * self.epochs)
        if snapshots < self.rank + 1:
            raise InputError(
                f"{self.name}: {self.epochs} epochs with start={self.start} leave {snapshots} "
                f"snapshots, too few for rank {self.rank}: train longer, start earlier, or lower "
                "the rank"
            )

    def init(self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0) -> SWAGState:
        """Weights at the prior's mean, or the model's own; no snapshot yet."""
        return SWAGState(
            **new_state(problem, seed),
            **self.start_descent(problem, prior),
            moments=Moments(self.rank),
        )

    def step(self, state: SWAGState, batch: Batch) -> SWAGState:
        """One step along the gradient, and a snapshot at the end of an epoch."""
        super().step(state, batch)
        collecting = state.steps_done > self._collects_from(state.problem.steps)
        if collecting and state.steps_done % state.problem.steps_per_epoch == 0:
            state.moments.add(state.weights.clone())
        return state

    def posterior(self, state: SWAGState) -> Posterior:
        """The Gaussian of the snapshots so far.

        Raises:
            InputError: fewer snapshots were taken than the rank needs.
        """
        return Posterior(state.problem.space, state.moments.gaussian(), method=self.name)

    def rate(self, step: int, steps: int) -> float:
        """The shared schedule, not below ``swag_rate``, up to ``start``; constant from there."""
        collects_from = self._collects_from(steps)
        if step >= collects_from:
            return self.swag_rate
        return max(super().rate(step, collects_from), min(self.swag_rate, self.learning_rate))

    def _collects_from(self, steps: int) -> int:
        return math.floor(self.start * steps)
