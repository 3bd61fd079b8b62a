"""SWAG: a Gaussian fitted to the trajectory of SGD at a constant rate (arXiv 1902.02476)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.methods.balls.framework import POSTERIOR_BALLS, SCORE_BALLS, Framework, all_but
from landscape.methods.state import Problem, State, descend, new_state, starting_weights
from landscape.objective.batches import Batch
from landscape.posteriors import Gaussian, Posterior

_MIN_VARIANCE = 1e-30


def _snapshots_for(rank: int) -> int:
    """Smallest number of snapshots that a Gaussian of this rank can be made of."""
    return max(rank + 1, 2)


@dataclass
class Moments:
    """Running mean, variance and last deviations of a sequence of vectors.

    The variance follows Welford's recurrence, because E[w^2] - E[w]^2 cancels in float32.

    Attributes:
        rank: K, the number of deviations stored.
        count: Number of vectors seen.
        mean: Their mean, shape (P,).
        squares: Sum of squared deviations from the mean, shape (P,).
        deviations: The last K differences between a vector and the mean up to it, oldest first.
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

    @property
    def suffice(self) -> bool:
        """Whether K + 1 vectors were seen (the first deviation is zero), and at least two."""
        return self.count >= _snapshots_for(self.rank)

    def gaussian(self) -> Gaussian:
        """sigma^2 = variance / 2 and U = D / sqrt(2 (K - 1)): equation 1 of the paper.

        Raises:
            InputError: too few vectors were seen; see ``suffice``.
        """
        if not self.suffice:
            raise InputError(
                f"swag: {self.count} of the {_snapshots_for(self.rank)} snapshots that rank "
                f"{self.rank} needs: train longer, start collecting earlier, or lower the rank"
            )
        variance = (self.squares / self.count).clamp_min(2 * _MIN_VARIANCE) / 2
        factor = self.mean.new_zeros(len(self.mean), 0)
        if self.rank:
            factor = torch.stack(self.deviations, 1) / math.sqrt(2 * (self.rank - 1))
        return Gaussian(self.mean.clone(), variance.sqrt(), factor)


@dataclass(kw_only=True)
class SWAGState(State):
    """Weights and their velocity, shape (P,), under SGD, and the moments of their trajectory.

    ``prior`` is the Gaussian whose covariance a posterior ball has; without one, a posterior ball
    is that of the trajectory.
    """

    weights: Tensor
    velocity: Tensor
    moments: Moments
    prior: Gaussian | None = None

    @property
    def mean(self) -> Tensor:
        """The trajectory's mean after the first snapshot; the weights before it."""
        return self.moments.mean if self.moments.count else self.weights


@dataclass(frozen=True, kw_only=True)
class SWAG(Framework[SWAGState]):
    """The Gaussian of the snapshots of SGD, one an epoch, at a constant learning rate.

    Until ``start`` the rate follows the shared schedule down to ``swag_rate``; then it stays there.
    A ``prior`` given to ``fit`` sets the start, which is its mean. The posterior balls also take
    its covariance, for example that of a source task's SWAG. Without a prior they take the
    covariance of the snapshots so far, and there is no ball before K + 1 snapshots: until then
    there is no such Gaussian. This is FP-BMA (SWAG) from scratch, with beta = 0 (arXiv 2406.15664).
    A training whose last snapshot is the one with which the ball begins is refused.

    Attributes:
        weight_decay: Coefficient of the penalty (weight_decay / 2) ||w||^2.
        rank: K, the number of columns of the low-rank part; 0 or at least 2.
        start: Share of the steps before the first snapshot.
        swag_rate: The constant learning rate; 0 to follow the shared schedule to its end at zero.
    """

    weight_decay: float = 5e-4
    rank: int = 5
    start: float = 0.5
    swag_rate: float = 0.02

    name: ClassVar[str] = "swag"
    can_stop_early: ClassVar[bool] = False
    trains_rest: ClassVar[bool] = True
    refused = dict.fromkeys(
        SCORE_BALLS, "it has no sample to take a score at; use 'posterior-exact'"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0")
        self._require(self.rank == 0 or self.rank >= 2, "rank", "0 or at least 2")
        self._require(0 <= self.start < 1, "start", "in [0, 1)")
        self._require(0 <= self.swag_rate < math.inf, "swag_rate", "at least 0 and finite")
        if self._snapshots < _snapshots_for(self.rank):
            raise InputError(
                f"{self.name}: {self.epochs} epochs with start={self.start} leave "
                f"{self._snapshots} of the {_snapshots_for(self.rank)} snapshots that rank "
                f"{self.rank} needs: train longer, start earlier, or lower the rank"
            )

    def init(self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0) -> SWAGState:
        """Weights at the prior's mean, or the model's own; no snapshot yet.

        Raises:
            InputError: the prior of a posterior ball is not Gaussian, or there is none and no step
                would have a ball.
        """
        gaussian = None
        if self.ball in POSTERIOR_BALLS and prior is not None:
            gaussian = prior.gaussian.to(problem.space.device)
        elif self.ball in POSTERIOR_BALLS and self._snapshots == _snapshots_for(self.rank):
            raise InputError(
                f"{self.name}: the ball of its own snapshots begins after the last of "
                f"{self._snapshots}, so that no step would have one: train longer, start earlier, "
                "lower the rank, or give a prior"
            )
        weights = starting_weights(problem, prior)
        return SWAGState(
            **new_state(problem, seed),
            weights=weights,
            velocity=torch.zeros_like(weights),
            moments=Moments(self.rank),
            prior=gaussian,
        )

    def step(self, state: SWAGState, batch: Batch) -> SWAGState:
        """One step along the gradient at the ball's worst place; a snapshot after an epoch."""
        q = state.prior
        if q is None and self.ball in POSTERIOR_BALLS and state.moments.suffice:
            q = state.moments.gaussian()
        if q is None and self.ball in POSTERIOR_BALLS:
            loss, gradient = state.loss_and_gradient(state.weights, batch)
            state.last = {"loss": loss, "perturbation_norm": torch.zeros_like(loss)}
        else:
            gradient, state.last = self.gradient_near(state, state.weights, batch, q)
        gradient = gradient.add(state.weights, alpha=self.weight_decay)
        rate = self.rate(state.steps_done, state.problem.steps)
        descend(state.weights, state.velocity, gradient, rate=rate, momentum=self.momentum)
        self.advance(state)
        collecting = state.steps_done > self._collects_from(state.problem.steps)
        if collecting and state.steps_done % state.problem.steps_per_epoch == 0:
            state.moments.add(state.weights.clone())
            state.keep_rest()
        return state

    def posterior(self, state: SWAGState) -> Posterior:
        """The Gaussian of the snapshots so far.

        Raises:
            InputError: there are fewer snapshots than the rank needs.
        """
        return Posterior(state.space, state.moments.gaussian(), method=self.name)

    def rate(self, step: int, steps: int) -> float:
        """The shared schedule, not below ``swag_rate``, up to ``start``; constant from there."""
        if not self.swag_rate:
            return super().rate(step, steps)
        collects_from = self._collects_from(steps)
        if step >= collects_from:
            return self.swag_rate
        return max(super().rate(step, collects_from), min(self.swag_rate, self.learning_rate))

    @property
    def _snapshots(self) -> int:
        """Number of snapshots of a complete training."""
        return self.epochs - math.floor(self.start * self.epochs)

    def _collects_from(self, steps: int) -> int:
        return math.floor(self.start * steps)


@dataclass(frozen=True, kw_only=True)
class FSWAG(SWAG):
    """SWAG with a Euclidean ball: SWAG along a trajectory of SAM (F-SWAG, arXiv 2302.02713)."""

    ball: str = "euclidean"

    name: ClassVar[str] = "f-swag"
    refused = all_but("euclidean", "swag")
