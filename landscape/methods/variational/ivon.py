"""IVON: an online Newton method whose Hessian estimate is a posterior (arXiv 2402.17641)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.methods.loop import Method
from landscape.methods.state import Problem, State, new_state, seeded, starting_weights
from landscape.objective.batches import Batch
from landscape.posteriors import Gaussian, Posterior


@dataclass(kw_only=True)
class IVONState(State):
    """The mean, shape (P,), and the optimiser with the Hessian's diagonal."""

    weights: Tensor
    optimizer: torch.optim.Optimizer

    @property
    def mean(self) -> Tensor:
        """The mean."""
        return self.weights


@dataclass(frozen=True, kw_only=True)
class IVON(Method[IVONState]):
    """Variational inference with q = N(m, 1 / (N (h + weight_decay) / temperature)).

    m and the estimate h of the loss's Hessian diagonal follow natural gradients at one sample a
    step. The prior is N(0, temperature / (N weight_decay)); a ``prior`` given to ``fit`` only sets
    the start of m. The steps are those of the package ``ivon-opt`` (``pip install
    ivon-opt``), with noise from the seed.

    Attributes:
        weight_decay: delta; 0 is an improper prior.
        hess_init: h before the first step, positive.
        beta2: Decay of h.
        temperature: 1 is the posterior of Bayes' rule; a lower one is narrower.
    """

    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    hess_init: float = 0.5
    beta2: float = 0.9999
    temperature: float = 1.0

    name: ClassVar[str] = "ivon"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0")
        self._require(0 < self.hess_init < math.inf, "hess_init", "positive and finite")
        self._require(0 <= self.beta2 < 1, "beta2", "in [0, 1)")
        self._require(0 < self.temperature < math.inf, "temperature", "positive and finite")

    def init(self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0) -> IVONState:
        """The mean at the prior's, or at the model's own weights.

        Raises:
            InputError: ``ivon-opt`` is not installed.
        """
        try:
            from ivon import IVON as Optimizer
        except ImportError as error:
            raise InputError("ivon needs 'pip install ivon-opt'") from error
        weights = starting_weights(problem, prior)
        optimizer = Optimizer(
            [weights.requires_grad_()],
            lr=self.learning_rate,
            ess=problem.examples / self.temperature,
            hess_init=self.hess_init,
            beta1=self.momentum,
            beta2=self.beta2,
            weight_decay=self.weight_decay,
        )
        return IVONState(**new_state(problem, seed), weights=weights, optimizer=optimizer)

    def step(self, state: IVONState, batch: Batch) -> IVONState:
        """One natural-gradient step at one sample."""
        optimizer: torch.optim.Optimizer = state.optimizer
        optimizer.current_step = state.steps_done  # type: ignore[attr-defined]  # not in its state
        (group,) = optimizer.param_groups
        group["lr"] = self.rate(state.steps_done, state.problem.steps)
        noise = seeded(state.weights.device, state.seed * 7_919_993 + state.steps_done)
        with noise, optimizer.sampled_params(train=True):  # type: ignore[attr-defined]
            loss, state.weights.grad = state.loss_and_gradient(state.weights, batch)
        optimizer.step()
        state.steps_done += 1
        state.last = {"loss": loss}
        return state

    def posterior(self, state: IVONState) -> Posterior:
        """The present Gaussian."""
        (group,) = state.optimizer.param_groups
        precision = group["ess"] * (group["hess"] + group["weight_decay"])
        mean = state.weights.detach().clone()
        gaussian = Gaussian.diagonal(mean, precision.rsqrt())
        return Posterior(state.problem.space, gaussian, method=self.name)
