"""SGHMC: stochastic gradient Hamiltonian Monte Carlo (arXiv 1402.4102)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscape.methods.sgmcmc.langevin import ChainState, of_one_chain, prior_slope
from landscape.methods.sgmcmc.sgld import Steady
from landscape.methods.state import Problem
from landscape.objective.batches import Batch
from landscape.posteriors import Posterior


@dataclass(kw_only=True)
class HamiltonianState(ChainState):
    """A chain with the ``velocity`` v, shape (P,), of its weights."""

    velocity: Tensor


@dataclass(frozen=True, kw_only=True)
class SGHMC(Steady[HamiltonianState]):
    """Samples of exp(-U / T), U(w) = N L(w) - log p(w), from one chain with friction.

    The dynamics dw = v dt, dv = -grad U dt - gamma v dt + sqrt(2 gamma T) dB leave the density
    exp(-(U + |v|^2 / 2) / T) unchanged. A step of length h is, with c = exp(-gamma h),

        v <- v - h grad U_B(w)
        w <- w + (h / 2) v
        v <- c v + sqrt((1 - c^2) T) z
        w <- w + (h / 2) v,            h^2 = 2 eta / ((1 + c) N).

    c is the setting ``momentum`` and eta the learning rate: at T = 0 and a constant rate this is
    gradient descent on the mean loss with momentum c and rate eta. Friction and its noise are
    solved exactly. The splitting is that of BAOAB (arXiv 1203.5428), with the two kicks at one
    place joined, because its weights have no step-size error where U is quadratic; the paper's
    step, with noise 2 C eps and B = 0, multiplies a variance T / lambda by
    1 / (1 - eta lambda / (2 (1 + c) N)). Like B = 0 it takes the gradient as exact: the noise of
    the batches adds to the temperature, by a factor of about 1 / (1 - c) more than in SGLD.

    See ``Steady`` for the prior and the settings, and ``Langevin`` for the balls.

    Attributes:
        momentum: c, the share of the velocity that a step leaves; 1 - c is the paper's friction.
        learning_rate: eta. The weights move at the rate eta / (1 - c) in the long run; the default
            makes this the rate of SGLD.
    """

    learning_rate: float = 0.005
    momentum: float = 0.9

    name: ClassVar[str] = "sghmc"
    has_momentum: ClassVar[bool] = True

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> HamiltonianState:
        """The chain at rest at the prior's mean, or the model's weights.

        Raises:
            InputError: the prior is not Gaussian.
        """
        chain = self.start(problem, prior, self.prior_scale, seed)
        return HamiltonianState(**chain, velocity=torch.zeros_like(chain["weights"]))

    def step(self, state: HamiltonianState, batch: Batch) -> HamiltonianState:
        """One step of the dynamics, and a sample when it is time for one."""
        w, v, examples = state.weights, state.velocity, state.problem.examples
        gradient, state.last = self.gradient_near(state, w, batch, state.prior)
        rate, c = self.rate(state.steps_done, state.problem.steps), self.momentum
        h = math.sqrt(2 * rate / ((1 + c) * examples))
        v.sub_(gradient + prior_slope(state), alpha=h * examples)
        w.add_(v, alpha=h / 2)
        noise = torch.randn(v.shape, dtype=v.dtype, device=v.device, generator=state.generator)
        v.mul_(c).add_(noise, alpha=math.sqrt((1 - c**2) * self.temperature))
        w.add_(v, alpha=h / 2)
        return self.finish(state, w)

    def posterior(self, state: HamiltonianState) -> Posterior:
        """The samples so far.

        Raises:
            InputError: there is none yet.
        """
        samples = of_one_chain(self.samples(state))
        return Posterior(state.space, samples, method=self.name)
