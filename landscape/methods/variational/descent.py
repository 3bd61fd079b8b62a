"""Gradient descent on E_q[L(w)] + beta KL(q || p) / N: the part that variational methods share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.methods.balls.framework import SCORE_BALLS, Framework
from landscape.methods.state import Problem, State, descend, new_state
from landscape.posteriors import Gaussian, GaussianGradient, Noise
from landscape.posteriors.fisher.natural import natural_gradient, shorten

RELATIVE_RADIUS = 0.05
RADIUS = 0.2
PRIOR_SCALE = 0.166
INITIAL_SCALE = 0.02


@dataclass(kw_only=True)
class VariationalState(State):
    """theta = (location, log_scale, factor), the prior, and the velocity of the location.

    ``rows`` are the indices of the trained parameters; ``None`` for all. ``squares`` is of
    ``natural.shorten``.
    """

    location: Tensor
    log_scale: Tensor
    factor: Tensor
    prior: Gaussian
    velocity: Tensor
    squares: Tensor
    rows: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """The Gaussian's mean."""
        return self.location

    @property
    def gaussian(self) -> Gaussian:
        """The Gaussian q at theta; it shares memory with the state."""
        return Gaussian(self.location, self.log_scale.exp(), self.factor)

    def snapshot(self) -> Gaussian:
        """A copy of q."""
        return Gaussian(self.location.clone(), self.log_scale.exp(), self.factor.clone())


@dataclass(frozen=True, kw_only=True)
class Variational(Framework[VariationalState]):
    """Descent on theta = (mu, log sigma, U) of q = N(mu, diag(sigma^2) + U U^T).

    The mean is learnt by SGD. log sigma and U follow their natural gradient, which has no units
    (see ``posteriors.fisher.natural``): at a ``covariance_rate`` of 0.1 they reach their optimum in
    a few hundred steps, from a sigma that may be ten times too small.

    Attributes:
        radius: rho, the size of the ball: sqrt(2 KL), in standard deviations of q, for the balls
            ``"posterior-exact"``, ``"posterior-diagonal"``, ``"posterior-empirical"`` and
            ``"random"``. For the others it is a length: of theta (``"euclidean"``), of each block
            of theta (``"posterior-score"``), or of the mean. ``None`` is a ``relative_radius`` of
            0.05 for the balls that take one, and a radius of 0.2 for the others.
        beta: Temper of the KL term; 1 is the posterior of Bayes' rule. The beta of arXiv 2406.15664
            is this one over N.
        covariance: Whether log sigma and U are trained; otherwise only the mean is.
        covariance_rate: Size of a step of log sigma and U along the natural gradient, at most 1; it
            follows the learning rate's schedule.
        weight_decay: Coefficient of |mu|^2 / 2 in the objective, beside the KL term.
        noise_samples: Number of samples w ~ q over which a step averages the gradient.
    """

    learning_rate: float = 0.00721
    radius: float | None = None
    beta: float = 0.01
    covariance: bool = True
    covariance_rate: float = 0.1
    weight_decay: float = 0.0
    noise_samples: int = 1

    trains_rest: ClassVar[bool] = True
    in_deviations = ("posterior-exact", "posterior-diagonal", "random")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.beta < math.inf, "beta", "at least 0")
        self._require(0 < self.covariance_rate <= 1, "covariance_rate", "in (0, 1]")
        self._require(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0")
        self._require(self.noise_samples >= 1, "noise_samples", "at least 1")
        if self.ball in SCORE_BALLS and self.noise_samples > 1:
            raise InputError(
                f"{self.name}: ball '{self.ball}' takes its step from one noise sample: leave "
                "noise_samples at 1"
            )

    def rho(self, moved: int) -> float:
        """The radius of the ball of ``moved`` parameters."""
        if self.radius is not None or self.relative_radius is not None:
            return super().rho(moved)
        return RELATIVE_RADIUS * math.sqrt(moved) if self.ball in self.in_deviations else RADIUS

    def start(
        self,
        problem: Problem,
        q: Gaussian,
        prior: Gaussian,
        seed: int,
        rows: Tensor | None = None,
    ) -> VariationalState:
        """The state at q."""
        location, log_scale, factor = q.mean.clone(), q.scale.log(), q.factor.clone()
        return VariationalState(
            **new_state(problem, seed),
            location=location,
            log_scale=log_scale,
            factor=factor,
            prior=prior,
            velocity=torch.zeros_like(location),
            squares=torch.zeros_like(log_scale),
            rows=rows,
        )

    def noises(self, state: VariationalState) -> list[Noise]:
        """The noise of a step's samples."""
        return [state.gaussian.noise(state.generator) for _ in range(self.noise_samples)]

    def descend(
        self, state: VariationalState, q: Gaussian, gradient: GaussianGradient
    ) -> VariationalState:
        """One step from q along ``gradient``, of the expected loss, plus that of the KL term."""
        weight = self.beta / state.problem.examples
        rate = self.rate(state.steps_done, state.problem.steps)
        pull = q.kl_gradient(state.prior)
        if self.covariance:
            step = natural_gradient(q, gradient, pull, weight, state.rows)
            step = shorten(q, step, state.squares, state.steps_done)
            share = self.covariance_rate * rate / self.learning_rate
            state.log_scale.sub_(step.log_scale, alpha=share)
            state.factor.sub_(step.factor, alpha=share)
        mean = pull.mean.mul_(weight).add_(gradient.mean).add_(q.mean, alpha=self.weight_decay)
        if state.rows is not None:
            mean = torch.zeros_like(mean).index_copy_(0, state.rows, mean[state.rows])
        descend(state.location, state.velocity, mean, rate=rate, momentum=self.momentum)
        self.advance(state)
        return state

    def least_scale(self, problem: Problem) -> float:
        """The least scale of a prior, sqrt(learning_rate beta / N).

        In directions of smaller variance the KL term is stiffer, and gradient descent at this
        learning rate would diverge.
        """
        return math.sqrt(self.learning_rate * self.beta / problem.examples)
