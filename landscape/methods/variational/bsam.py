"""bSAM: sharpness-aware minimisation as relaxed variational inference (arXiv 2210.01620)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscape.methods.loop import Method
from landscape.methods.state import Problem, State, new_state, starting_weights
from landscape.objective.batches import Batch
from landscape.posteriors import Gaussian, Posterior


@dataclass(kw_only=True)
class BSAMState(State):
    """The mean m, its momentum, and s, the precision over N; each of shape (P,)."""

    weights: Tensor
    momentum: Tensor
    precision: Tensor

    @property
    def mean(self) -> Tensor:
        """The mean m."""
        return self.weights

    @property
    def gaussian(self) -> Gaussian:
        """N(m, 1 / (N s))."""
        scale = (self.problem.examples * self.precision).rsqrt()
        return Gaussian(self.weights, scale, scale.new_zeros(len(scale), 0))


@dataclass(frozen=True, kw_only=True)
class BSAM(Method[BSAMState]):
    """The Gaussian N(m, 1 / (N s)) whose variance grows with the flatness around m.

    With d = ``weight_decay``, b1 = ``momentum`` and b2 = ``beta2``, a step is

        g = gradient at w ~ N(m, 1 / (N s));   eps = radius g / s;   g_eps = gradient at m + eps
        v <- b1 v + (1 - b1) (g_eps + d m)
        s <- b2 s + (1 - b2) (sqrt(s) |g| + d + gamma)
        m <- m - learning_rate v / s

    in this order, as in the paper: m moves with the new s, as in natural-gradient descent on a
    Gaussian. (In the published code m moves with the old s.) The prior is N(0, 1 / (N d)); a
    ``prior`` given to ``fit`` only sets the start of m. The perturbation is part of the method, so
    it takes no other ball.

    Attributes:
        learning_rate: The published value for CIFAR, with radius 0.01. It is not that of SGD: v is
            an average of gradients, and s is about 1.
        radius: rho, in the units of eps = rho g / s; not a length.
        gamma: Damping of s.
        beta2: Decay of s.
        s0: s before the first step, positive.
        weight_decay: d.
    """

    learning_rate: float = 0.5
    radius: float = 0.05
    gamma: float = 0.1
    beta2: float = 0.999
    s0: float = 1.0
    weight_decay: float = 5e-4

    name: ClassVar[str] = "bsam"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.radius < math.inf, "radius", "at least 0")
        self._require(0 <= self.gamma < math.inf, "gamma", "at least 0")
        self._require(0 <= self.beta2 < 1, "beta2", "in [0, 1)")
        self._require(0 < self.s0 < math.inf, "s0", "positive and finite")
        self._require(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0")
        # Without both, s decays towards 0 where the gradient is 0, and m divides by s.
        self._require(self.gamma + self.weight_decay > 0, "gamma", "positive without weight decay")

    def init(self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0) -> BSAMState:
        """The mean m at the prior's mean, or at the model's own weights."""
        weights = starting_weights(problem, prior)
        return BSAMState(
            **new_state(problem, seed),
            weights=weights,
            momentum=torch.zeros_like(weights),
            precision=torch.full_like(weights, self.s0),
        )

    def step(self, state: BSAMState, batch: Batch) -> BSAMState:
        """One step, of two gradients on the same batch."""
        q = state.gaussian
        w = q.transform(q.noise(state.generator))
        loss, gradient = state.loss_and_gradient(w, batch)
        perturbation = self.radius * gradient / state.precision
        _, worst = state.loss_and_gradient(
            state.weights + perturbation, batch, update_statistics=False
        )
        pull = worst + self.weight_decay * state.weights
        state.momentum = self.momentum * state.momentum + (1 - self.momentum) * pull
        grown = state.precision.sqrt() * gradient.abs() + self.weight_decay + self.gamma
        state.precision = self.beta2 * state.precision + (1 - self.beta2) * grown
        rate = self.rate(state.steps_done, state.problem.steps)
        state.weights = state.weights - rate * state.momentum / state.precision
        state.steps_done += 1
        state.last = {"loss": loss, "perturbation_norm": perturbation.norm()}
        return state

    def posterior(self, state: BSAMState) -> Posterior:
        """The present N(m, 1 / (N s))."""
        return Posterior(state.problem.space, state.gaussian, method=self.name)
