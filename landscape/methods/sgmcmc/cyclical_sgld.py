"""Cyclical SGLD: Langevin dynamics whose step size restarts (arXiv 1902.03932)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from landscape.errors import InputError
from landscape.methods.sgmcmc.langevin import ChainState, Langevin, prior_slope
from landscape.methods.state import Problem
from landscape.objective.batches import Batch
from landscape.posteriors import Posterior, Samples


@dataclass(frozen=True, kw_only=True)
class Cyclical(Langevin[ChainState]):
    """A chain in M cycles: first without noise to a mode, then with noise around it.

    In step k of a cycle of C steps the rate is eta_k = (learning_rate / 2) (cos(pi k / C) + 1). The
    paper's update w <- w - alpha_k grad U + sqrt(2 alpha_k) z has alpha_k = eta_k / N. The
    published step size, 0.5, is the first eta_k.

    Attributes:
        cycles: M.
        samples_per_cycle: Number of samples of each cycle, at the ends of its last epochs.
        exploration: Share of a cycle without noise.
        warmup: Always 0: every cycle starts at the full rate.
    """

    learning_rate: float = 0.5
    warmup: float = 0.0
    cycles: int = 4
    samples_per_cycle: int = 3
    exploration: float = 0.8

    trains_rest: ClassVar[bool] = False  # each cycle's mode would need a rest of its own

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.warmup == 0, "warmup", "0: a cycle starts at the full rate")
        self._require(self.cycles >= 1, "cycles", "at least 1")
        self._require(self.samples_per_cycle >= 1, "samples_per_cycle", "at least 1")
        self._require(0 <= self.exploration < 1, "exploration", "in [0, 1)")
        divides = self.epochs % self.cycles == 0
        self._require(divides, "epochs", f"a multiple of the {self.cycles} cycles")
        noisy = math.floor((1 - self.exploration) * (self.epochs // self.cycles) + 1e-9)
        if noisy < self.samples_per_cycle:
            raise InputError(
                f"{self.name}: {self.epochs} epochs in {self.cycles} cycles with exploration="
                f"{self.exploration} leave {noisy} epochs of a cycle to sample in, too few for "
                f"{self.samples_per_cycle} samples: train longer, in fewer cycles, or explore less"
            )

    def step(self, state: ChainState, batch: Batch) -> ChainState:
        """One step of the dynamics, and a sample when it is time for one."""
        gradient, state.last = self.gradient_near(state, state.weights, batch, state.prior)
        self.move(state, state.weights, gradient + prior_slope(state))
        return self.finish(state, state.weights)

    def posterior(self, state: ChainState) -> Posterior:
        """The samples so far; each cycle is a chain, because it begins with large steps.

        Raises:
            InputError: there is none yet.
        """
        vectors = self.samples(state)
        samples = Samples(vectors, torch.arange(len(vectors)) // self.samples_per_cycle)
        return Posterior(state.space, samples, method=self.name)

    def rate(self, step: int, steps: int) -> float:
        """A cosine from ``learning_rate`` towards zero in every cycle."""
        length = self._length(steps)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step % length) / length))

    def is_noisy(self, state: ChainState) -> bool:
        """Whether the cycle's exploration is over."""
        length = self._length(state.problem.steps)
        return state.steps_done % length >= (self.exploration - 1e-9) * length

    def keeps(self, state: ChainState) -> bool:
        """Whether one of the last epochs of a cycle has ended."""
        per_epoch = state.problem.steps_per_epoch
        left = -state.steps_done % self._length(state.problem.steps)
        return left % per_epoch == 0 and left < self.samples_per_cycle * per_epoch

    def _length(self, steps: int) -> int:
        return math.ceil(steps / self.cycles)


@dataclass(frozen=True, kw_only=True)
class CyclicalSGLD(Cyclical):
    """Samples around several modes of exp(-U / T), U(w) = N L(w) - log p(w), from one chain.

    The prior p is the Gaussian given to ``fit``, and the chain starts at its mean. Without one p is
    N(0, prior_scale^2), and the chain starts at the model's weights. See ``Cyclical`` for the
    schedule and ``Langevin`` for the step.

    Attributes:
        prior_scale: Standard deviation of the prior if ``fit`` gets none.
    """

    prior_scale: float = 1.0

    name: ClassVar[str] = "cyclical-sgld"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 < self.prior_scale < math.inf, "prior_scale", "positive and finite")

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> ChainState:
        """The chain at the prior's mean, or the model's weights.

        Raises:
            InputError: the prior is not Gaussian.
        """
        return ChainState(**self.start(problem, prior, self.prior_scale, seed))
