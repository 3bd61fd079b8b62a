"""Entropy-MCMC: Langevin dynamics drawn towards flat basins (arXiv 2310.05401)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from landscape.errors import InputError
from landscape.methods.langevin import ChainState, prior_slope
from landscape.methods.loop import Problem
from landscape.methods.sgld import Steady
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
    of variance eta T, in which a sharp mode weighs little. That of w is exp(-U / T), as for SGLD.
    Both move by the Langevin step, on one gradient of the loss at w, and the samples of both are
    the posterior. The prior acts on w alone: on a it would be counted twice.

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
            InputError: a prior that is not Gaussian, or an ``eta`` too small for the learning rate:
                steps that are long against the coupling make the two chains diverge.
        """
        least = self.learning_rate / problem.examples
        if self.eta <= least:
            raise InputError(
                f"{self.name}: eta must be above learning_rate / N = {least:.3g}, not {self.eta}"
            )
        chain = self._chain(problem, prior, self.prior_scale, seed)
        return CoupledState(**chain, anchor=chain["weights"].clone())

    def step(self, state: CoupledState, batch: Batch) -> CoupledState:
        """One step of both chains, and a sample of each where it is time for one."""
        loss, gradient = state.loss_and_gradient(state.weights, batch)
        pull = (state.weights - state.anchor) / (self.eta * state.problem.examples)
        slope = gradient + prior_slope(state) + pull
        self._move(state, state.weights, slope)
        self._move(state, state.anchor, -pull)
        return self._finish(state, loss, state.weights, state.anchor)
