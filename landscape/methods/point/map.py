"""Maximum a posteriori: stochastic gradient descent with weight decay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscape.methods.balls.framework import SCORE_BALLS, Framework
from landscape.methods.state import Problem, State, descend, new_state, starting_weights
from landscape.objective.batches import Batch
from landscape.posteriors import Gaussian, Point, Posterior


@dataclass(kw_only=True)
class MAPState(State):
    """Weights and their velocity, shape (P,), under stochastic gradient descent.

    ``prior`` is the Gaussian of a posterior ball; ``None`` for other balls.
    """

    weights: Tensor
    velocity: Tensor
    prior: Gaussian | None = None

    @property
    def mean(self) -> Tensor:
        """The weights."""
        return self.weights


@dataclass(frozen=True, kw_only=True)
class MAP(Framework[MAPState]):
    """argmin_w L(w) + (weight_decay / 2) ||w||^2, by SGD with momentum.

    This is the mode under the prior N(0, 1 / (N weight_decay)). With a ball, the maximum of L in
    the ball around w replaces L(w), to first order. A ``prior`` given to ``fit`` sets the start,
    which is its mean. The posterior balls also take its covariance; it never acts as a penalty.

    Attributes:
        weight_decay: Coefficient of the penalty.
    """

    weight_decay: float = 5e-4

    name: ClassVar[str] = "map"
    trains_rest: ClassVar[bool] = True
    refused = dict.fromkeys(
        SCORE_BALLS, "it has no sample to take a score at; use 'posterior-exact'"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0")

    def init(self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0) -> MAPState:
        """Weights at the prior's mean, or the model's own.

        Raises:
            InputError: a posterior ball has no Gaussian prior.
        """
        prior_gaussian = self.metric(problem, prior)
        weights = starting_weights(problem, prior)
        return MAPState(
            **new_state(problem, seed),
            weights=weights,
            velocity=torch.zeros_like(weights),
            prior=prior_gaussian,
        )

    def step(self, state: MAPState, batch: Batch) -> MAPState:
        """One step along the gradient at the ball's worst place."""
        weights = state.weights
        gradient, state.last = self.gradient_near(state, weights, batch, state.prior)
        gradient = gradient.add(weights, alpha=self.weight_decay)
        rate = self.rate(state.steps_done, state.problem.steps)
        descend(weights, state.velocity, gradient, rate=rate, momentum=self.momentum)
        self.advance(state)
        return state

    def posterior(self, state: MAPState) -> Posterior:
        """The point mass at the weights."""
        return Posterior(state.space, Point(state.weights.clone()), method=self.name)
