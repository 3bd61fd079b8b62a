"""Entropy-MCMC: Langevin dynamics drawn towards flat basins (arXiv 2310.05401)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from landscape.errors import InputError
from landscape.methods.sgmcmc.langevin import ChainState, of_one_chain, prior_slope
from landscape.methods.sgmcmc.sgld import Steady
from landscape.methods.state import Problem
from landscape.objective.batches import Batch
from landscape.posteriors import Posterior


@dataclass(kw_only=True)
class CoupledState(ChainState):
    """Two chains: the weights, and the ``anchor`` (P,) that guides them."""

    anchor: Tensor


@dataclass(frozen=True, kw_only=True)
class EntropyMCMC(Steady[CoupledState]):
    """Samples of exp(-U(w, a) / T), U(w, a) = N L(w) - log p(w) + ||w - a||^2 / (2 eta).

    The anchor a sees the loss only through w: its marginal is the posterior smoothed by a Gaussian
    of variance eta T, in which a sharp mode has little weight. The marginal of w is exp(-U / T), as
    for SGLD. Both move by the Langevin step, on one gradient of the loss (at w, or at the ball's
    worst place near w). The posterior consists of the samples of both. The prior acts only on w; on
    a it would be counted twice.

    See ``Steady`` for the prior and the other settings.

    Attributes:
        eta: Variance of the coupling at temperature 1.
    """

    eta: float = 0.01

    name: ClassVar[str] = "entropy-mcmc"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 < self.eta < math.inf, "eta", "positive and finite")

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> CoupledState:
        """Both chains at the prior's mean, or the model's weights.

        Raises:
            InputError: the prior is not Gaussian, or ``eta`` is too small for the learning rate:
                the two chains diverge if steps are long relative to the coupling.
        """
        least = self.learning_rate / problem.examples
        if self.eta <= least:
            raise InputError(
                f"{self.name}: eta must be above learning_rate / N = {least:.3g}, not {self.eta}"
            )
        chain = self.start(problem, prior, self.prior_scale, seed)
        return CoupledState(**chain, anchor=chain["weights"].clone())

    def step(self, state: CoupledState, batch: Batch) -> CoupledState:
        """One step of both chains, and a sample of each when it is time for one."""
        gradient, state.last = self.gradient_near(state, state.weights, batch, state.prior)
        pull = (state.weights - state.anchor) / (self.eta * state.problem.examples)
        slope = gradient + prior_slope(state) + pull
        self.move(state, state.weights, slope)
        self.move(state, state.anchor, -pull)
        return self.finish(state, state.weights, state.anchor)

    def posterior(self, state: CoupledState) -> Posterior:
        """The samples so far, of both chains in turn.

        Raises:
            InputError: there is none yet.
        """
        samples = of_one_chain(self.samples(state))
        return Posterior(state.space, samples, method=self.name)
