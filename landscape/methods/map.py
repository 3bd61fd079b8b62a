"""Maximum a posteriori: stochastic gradient descent with weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from landscape.methods.loop import Method, Problem, State, descend, new_state
from landscape.objective import Batch
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


@dataclass(frozen=True, kw_only=True)
class MAP(Method[MAPState]):
    """argmin_w L(w) + (weight_decay / 2) ||w||^2, by SGD with momentum.

    That is the mode under the prior N(0, 1 / (N weight_decay)). A ``prior`` given to ``fit`` only
    says where training starts: at its mean.

    Attributes:
        weight_decay: Coefficient of the penalty.
    """

    weight_decay: float = 5e-4

    name: ClassVar[str] = "map"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.weight_decay >= 0, "weight_decay", "at least 0")

    def init(self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0) -> MAPState:
        """Weights at the prior's mean, or the model's own."""
        return MAPState(
            **new_state(problem, seed), **start_descent(self, problem, prior, self.weight_decay)
        )

    def step(self, state: MAPState, batch: Batch) -> MAPState:
        """One step along the gradient."""
        loss, gradient = state.loss_and_gradient(state.weights, batch)
        descend(state.optimizer, [gradient], self.rate(state.steps_done, state.problem.steps))
        state.steps_done += 1
        state.last = {"loss": loss}
        return state

    def posterior(self, state: MAPState) -> Posterior:
        """The point mass at the weights."""
        return Posterior(state.problem.space, Point(state.weights.clone()), method=self.name)


def start_descent(
    method: Method[Any], problem: Problem, prior: Posterior | None, weight_decay: float
) -> dict[str, Any]:
    """The weights that descent starts from, and the optimiser over them."""
    weights = starting_weights(problem, prior)
    optimizer = torch.optim.SGD(
        [weights], lr=method.learning_rate, momentum=method.momentum, weight_decay=weight_decay
    )
    return {"weights": weights, "optimizer": optimizer}


def starting_weights(problem: Problem, prior: Posterior | None) -> Tensor:
    """A copy of the prior's mean, or of the model's own weights, shape (P,)."""
    own = problem.space.vector()
    return own if prior is None else prior.mean.to(own, copy=True)
