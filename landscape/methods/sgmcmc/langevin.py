"""Langevin dynamics: the chain, its move, and its samples, which all samplers share."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.methods.balls.framework import SCORE_BALLS, Framework
from landscape.methods.state import Problem, State, new_state
from landscape.posteriors import Gaussian, Posterior, Samples


@dataclass(kw_only=True)
class ChainState(State):
    """A Markov chain.

    Attributes:
        weights: Its present place, shape (P,).
        prior: The prior.
        samples: The samples so far, oldest first.
        average: Their mean.
    """

    weights: Tensor
    prior: Gaussian
    samples: list[Tensor] = field(default_factory=list)
    average: Tensor = field(default_factory=lambda: torch.zeros(()))

    @property
    def mean(self) -> Tensor:
        """The samples' mean after the first sample; the chain's place before it."""
        return self.average if self.samples else self.weights

    def keep(self, w: Tensor) -> None:
        """Take in one sample."""
        self.samples.append(w.clone())
        self.average = self.average + (w - self.average) / len(self.samples)


C = TypeVar("C", bound=ChainState)


@dataclass(frozen=True, kw_only=True)
class Langevin(Framework[C]):
    """Stochastic gradient Langevin dynamics (Welling & Teh 2011) at temperature T.

    The potential is U(w) = N L(w) - log p(w), and a step

        w <- w - (h / 2) grad U_B(w) + sqrt(h T) z,   h = 2 eta / N,

    with U_B the potential of a batch and eta the learning rate. So eta is the rate of gradient
    descent on the mean loss, and only N and T scale the noise, sqrt(2 eta T / N) z. For small steps
    the chain's stationary density is exp(-U / T). The prior's diagonal scale is raised to at least
    sqrt(eta / N) for the largest eta, because the chain would diverge in narrower directions.

    With a ball, a first pass finds the ball's worst place near w, without noise. The one step from
    w then has the loss's gradient at that place together with the noise; the prior acts at w. The
    posterior balls take the prior's covariance: with ``"posterior-exact"`` this is FP-BMA (MCMC) of
    arXiv 2406.15664, and at T = 0 under N(0, s^2 I) SAM with the radius s times ``radius``.

    Attributes:
        temperature: T; 1 samples the posterior of Bayes' rule, 0 only descends.
        momentum: Always 0, except for dynamics with a velocity.
    """

    temperature: float = 1.0
    momentum: float = 0.0

    can_stop_early: ClassVar[bool] = False
    trains_rest: ClassVar[bool] = True
    has_momentum: ClassVar[bool] = False
    refused = dict.fromkeys(
        SCORE_BALLS, "it draws no sample of a Gaussian to take a score at; use 'posterior-exact'"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.temperature < math.inf, "temperature", "at least 0")
        allowed = self.momentum == 0 or self.has_momentum
        self._require(allowed, "momentum", "0: these dynamics have none")

    @abstractmethod
    def keeps(self, state: C) -> bool:
        """Whether the place after the last step is a sample."""

    def is_noisy(self, state: C) -> bool:
        """Whether the next step has noise."""
        return True

    def start(
        self, problem: Problem, prior: Posterior | None, prior_scale: float, seed: int
    ) -> dict[str, Any]:
        """The fields of a ``ChainState`` at the prior's mean.

        Without a prior, the chain starts at the model's weights, and the prior is
        N(0, prior_scale^2).
        """
        weights = problem.space.vector()
        if prior is None:
            gaussian = Gaussian.diagonal(torch.zeros_like(weights), prior_scale)
        else:
            gaussian = prior.gaussian.to(weights.device)
            weights = gaussian.mean.clone()
        floor = math.sqrt(self.learning_rate / problem.examples)
        return {
            **new_state(problem, seed),
            "weights": weights,
            "prior": gaussian.broadened(floor),
        }

    def move(self, state: C, w: Tensor, slope: Tensor) -> None:
        """Move w, in place, against ``slope``, the gradient of U / N, with noise."""
        rate = self.rate(state.steps_done, state.problem.steps)
        w.sub_(slope, alpha=rate)
        if self.is_noisy(state):
            noise = torch.randn(w.shape, dtype=w.dtype, device=w.device, generator=state.generator)
            w.add_(noise, alpha=math.sqrt(2 * rate * self.temperature / state.problem.examples))

    def finish(self, state: C, *chains: Tensor) -> C:
        """Count the step, and take a sample of each chain when it is time for one."""
        self.advance(state)
        if self.keeps(state):
            state.keep_rest()
            for chain in chains:
                state.keep(chain)
        return state

    def samples(self, state: C) -> Tensor:
        """The samples so far, shape (S, P).

        Raises:
            InputError: there is none yet.
        """
        if not state.samples:
            raise InputError(f"{self.name}: the chain has left no sample yet: train longer")
        return torch.stack(state.samples)


def of_one_chain(vectors: Tensor) -> Samples:
    """Samples (S, P) that are all of one Markov chain."""
    return Samples(vectors, torch.zeros(len(vectors), dtype=torch.long))


def prior_slope(state: ChainState) -> Tensor:
    """The gradient of -log p(w) / N at the chain's place."""
    prior = state.prior
    return prior.precision_product(state.weights - prior.mean) / state.problem.examples
