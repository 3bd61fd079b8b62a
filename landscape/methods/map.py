"""Maximum a posteriori: stochastic gradient descent with weight decay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from landscape.methods.loop import Method, Problem, State, descend, new_state
from landscape.objective.batches import Batch
from landscape.posteriors import Point, Posterior


@dataclass(kw_only=True)
class MAPState(State):
    """Weights, shape (P,), under stochastic gradient descent."""

    weights: Tensor
    optimizer: torch.optim.Optimizer

    @property
    def mean(self) -> Tensor:
        """The weights."""
        return self.weights


StateT = TypeVar("StateT", bound=MAPState)


@dataclass(frozen=True, kw_only=True)
class Descent(Method[StateT]):
    """SGD with momentum on L(w) + (weight_decay / 2) ||w||^2.

    Attributes:
        weight_decay: Coefficient of the penalty.
    """

    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0")

    def step(self, state: StateT, batch: Batch) -> StateT:
        """One step along the gradient."""
        gradient, state.last = self.gradient(state, batch)
        descend(state.optimizer, [gradient], self.rate(state.steps_done, state.problem.steps))
        state.steps_done += 1
        return state

    def gradient(self, state: StateT, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Where a step goes, shape (P,), and what there is to say about it."""
        loss, gradient = state.loss_and_gradient(state.weights, batch)
        return gradient, {"loss": loss}

    def start_descent(self, problem: Problem, prior: Posterior | None) -> dict[str, Any]:
        """The weights that descent starts from, and the optimiser over them."""
        weights = starting_weights(problem, prior)
        optimizer = torch.optim.SGD(
            [weights],
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        return {"weights": weights, "optimizer": optimizer}


@dataclass(frozen=True, kw_only=True)
class MAP(Descent[MAPState]):
    """argmin_w L(w) + (weight_decay / 2) ||w||^2, by SGD with momentum.

    That is the mode under the prior N(0, 1 / (N weight_decay)). A ``prior`` given to ``fit`` only
    says where training starts: at its mean.
    """

    name: ClassVar[str] = "map"

    def init(self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0) -> MAPState:
        """Weights at the prior's mean, or the model's own."""
        return MAPState(**new_state(problem, seed), **self.start_descent(problem, prior))

    def posterior(self, state: MAPState) -> Posterior:
        """The point mass at the weights."""
        return Posterior(state.problem.space, Point(state.weights.clone()), method=self.name)


def starting_weights(problem: Problem, prior: Posterior | None) -> Tensor:
    """A copy of the prior's mean, or of the model's own weights, shape (P,)."""
    own = problem.space.vector()
    return own if prior is None else prior.mean.to(own, copy=True)
