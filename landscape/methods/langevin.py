"""What the Langevin samplers share: a chain, its noise, and the samples that it leaves."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.methods.loop import Method, Problem, State, new_state
from landscape.objective.batches import Batch
from landscape.posteriors import Gaussian, Posterior, Samples


@dataclass(kw_only=True)
class ChainState(State):
    """A Markov chain.

    Attributes:
        weights: Where it is, shape (P,).
        prior: The prior.
        samples: The places kept, oldest first.
        average: Their mean.
    """

    weights: Tensor
    prior: Gaussian
    samples: list[Tensor] = field(default_factory=list)
    average: Tensor = field(default_factory=lambda: torch.zeros(()))

    @property
    def mean(self) -> Tensor:
        """The samples' mean once there are some, the chain's place before."""
        return self.average if self.samples else self.weights

    def keep(self, w: Tensor) -> None:
        """Take in one more sample."""
        self.samples.append(w.clone())
        self.average = self.average + (w - self.average) / len(self.samples)


C = TypeVar("C", bound=ChainState)


@dataclass(frozen=True, kw_only=True)
class Langevin(Method[C]):
    """Stochastic gradient Langevin dynamics (Welling & Teh 2011) at temperature T.

    The potential is U(w) = N L(w) - log p(w), and a step

        w <- w - (h / 2) grad U_B(w) + sqrt(h T) z,   h = 2 eta / N,

    with U_B that of a batch and eta the learning rate. So eta is what a step of gradient descent on
    the mean loss takes, and N and T alone scale the noise, sqrt(2 eta T / N) z. For small steps the
    chain's stationary density is exp(-U / T). The prior's diagonal scale is raised to sqrt(eta / N)
    for the largest eta where it is less: the chain would diverge in such a direction.

    Attributes:
        temperature: T; 1 samples the posterior of Bayes' rule, 0 only descends.
        momentum: There is none: 0.
    """

    temperature: float = 1.0
    momentum: float = 0.0

    can_stop_early: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.temperature < math.inf, "temperature", "at least 0")
        self._require(self.momentum == 0, "momentum", "0: these dynamics have none")

    @abstractmethod
    def keeps(self, state: C) -> bool:
        """Whether the place reached by the step just taken is a sample."""

    def is_noisy(self, state: C) -> bool:
        """Whether the next step has noise."""
        return True

    def step(self, state: C, batch: Batch) -> C:
        """One step of the dynamics, and a sample where it is time for one."""
        loss, gradient = state.loss_and_gradient(state.weights, batch)
        self._move(state, state.weights, gradient + prior_slope(state))
        return self._finish(state, loss, state.weights)

    def posterior(self, state: C) -> Posterior:
        """The samples so far.

        Raises:
            InputError: there is none yet.
        """
        if not state.samples:
            raise InputError(f"{self.name}: the chain has left no sample yet: train longer")
        samples = Samples(torch.stack(state.samples), self.chains(len(state.samples)))
        return Posterior(state.problem.space, samples, method=self.name)

    def chains(self, count: int) -> Tensor:
        """Number of the chain of each sample, oldest first; shape (count,)."""
        return torch.zeros(count, dtype=torch.long)

    def _move(self, state: C, w: Tensor, slope: Tensor) -> None:
        """Move w, in place, against ``slope``, the gradient of U / N, with noise."""
        rate = self.rate(state.steps_done, state.problem.steps)
        w.sub_(slope, alpha=rate)
        if self.is_noisy(state):
            noise = torch.randn(w.shape, dtype=w.dtype, device=w.device, generator=state.generator)
            w.add_(noise, alpha=math.sqrt(2 * rate * self.temperature / state.problem.examples))

    def _finish(self, state: C, loss: Tensor, *chains: Tensor) -> C:
        state.steps_done += 1
        state.last = {"loss": loss}
        if self.keeps(state):
            for chain in chains:
                state.keep(chain)
        return state

    def _chain(
        self, problem: Problem, prior: Posterior | None, prior_scale: float, seed: int
    ) -> dict[str, Any]:
        """The fields of a ``ChainState``: at the prior's mean, or the model's weights without one.

        The prior is N(0, prior_scale^2) if none is given.
        """
        start = problem.space.vector()
        if prior is None:
            gaussian = Gaussian.diagonal(torch.zeros_like(start), prior_scale)
        else:
            gaussian = prior.gaussian.to(start.device)
            start = gaussian.mean
        floor = math.sqrt(self.learning_rate / problem.examples)
        return {
            **new_state(problem, seed),
            "weights": start.clone(),
            "prior": gaussian.broadened(floor),
        }


def prior_slope(state: ChainState) -> Tensor:
    """The gradient of -log p(w) / N at the chain's place."""
    prior = state.prior
    return prior.precision_product(state.weights - prior.mean) / state.problem.examples
