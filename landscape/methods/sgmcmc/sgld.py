"""SGLD: stochastic gradient Langevin dynamics (Welling & Teh 2011)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from landscape.errors import InputError
from landscape.methods.sgmcmc.langevin import C, ChainState, Langevin, of_one_chain, prior_slope
from landscape.methods.state import Problem
from landscape.objective.batches import Batch
from landscape.posteriors import Posterior


@dataclass(frozen=True, kw_only=True)
class Steady(Langevin[C]):
    """A chain that leaves a sample every ``thin`` epochs after its burn-in.

    The prior p is the Gaussian given to ``fit``, and the chain starts at its mean. Without one p is
    N(0, prior_scale^2), and the chain starts at the model's weights.

    Attributes:
        prior_scale: Standard deviation of the prior if ``fit`` gets none.
        burn_in: Share of the epochs before the first sample.
        thin: Number of epochs between samples.
        decay: Exponent of the falling step size; 0 for a constant one.
        delay: Share of the steps after which the step size begins to fall.
    """

    learning_rate: float = 0.05
    prior_scale: float = 1.0
    burn_in: float = 0.5
    thin: int = 1
    decay: float = 0.0
    delay: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 < self.prior_scale < math.inf, "prior_scale", "positive and finite")
        self._require(0 <= self.burn_in < 1, "burn_in", "in [0, 1)")
        self._require(self.thin >= 1, "thin", "at least 1")
        self._require(0 <= self.decay <= 1, "decay", "in [0, 1]")
        self._require(0 < self.delay < math.inf, "delay", "positive and finite")
        left = self.epochs - math.floor(self.burn_in * self.epochs)
        if left < self.thin:
            raise InputError(
                f"{self.name}: {self.epochs} epochs with burn_in={self.burn_in} leave {left}, too "
                f"few for a sample every {self.thin}: train longer, or lower burn_in or thin"
            )

    def rate(self, step: int, steps: int) -> float:
        """Linear warm-up, then learning_rate (1 + t / (delay steps))^-decay after t more steps."""
        warm = math.ceil(self.warmup * steps)
        if step < warm:
            return self.learning_rate * (step + 1) / (warm + 1)
        return float(self.learning_rate * (1 + (step - warm) / (self.delay * steps)) ** -self.decay)

    def rest_decay(self, problem: Problem) -> float:
        """That of a mode under the prior N(0, prior_scale^2): 1 / (N prior_scale^2)."""
        return 1 / (problem.examples * self.prior_scale**2)

    def keeps(self, state: C) -> bool:
        """Whether an epoch has ended that is a multiple of ``thin`` after the burn-in."""
        problem = state.problem
        burned = math.floor(self.burn_in * (problem.steps // problem.steps_per_epoch))
        after = state.steps_done - burned * problem.steps_per_epoch
        return after > 0 and after % (self.thin * problem.steps_per_epoch) == 0


@dataclass(frozen=True, kw_only=True)
class SGLD(Steady[ChainState]):
    """Samples of exp(-U / T), U(w) = N L(w) - log p(w), from one chain.

    w <- w - (h / 2) grad U_B(w) + sqrt(h T) z, with h = 2 eta / N; see ``Langevin``. The rate eta
    rises linearly in the warm-up; t steps later it is learning_rate (1 + t / (delay steps))^-decay.
    The paper's decay is in (0.5, 1], for which the bias of finite steps vanishes as t grows. All
    samples have the same weight, whatever their rate.

    See ``Steady`` for the prior and the settings.
    """

    name: ClassVar[str] = "sgld"

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> ChainState:
        """The chain at the prior's mean, or the model's weights.

        Raises:
            InputError: the prior is not Gaussian.
        """
        return ChainState(**self.start(problem, prior, self.prior_scale, seed))

    def step(self, state: ChainState, batch: Batch) -> ChainState:
        """One step of the dynamics, and a sample when it is time for one."""
        gradient, state.last = self.gradient_near(state, state.weights, batch, state.prior)
        self.move(state, state.weights, gradient + prior_slope(state))
        return self.finish(state, state.weights)

    def posterior(self, state: ChainState) -> Posterior:
        """The samples so far.

        Raises:
            InputError: there is none yet.
        """
        samples = of_one_chain(self.samples(state))
        return Posterior(state.space, samples, method=self.name)
