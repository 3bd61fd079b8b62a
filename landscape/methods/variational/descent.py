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


@dataclass(kw_only=True)
class VariationalState(State):
    """theta = (location, log_scale, factor), the prior, and the optimiser.

    ``rows`` are the indices of the trained parameters; ``None`` for all.
    """

    location: Tensor
    log_scale: Tensor
    factor: Tensor
    prior: Gaussian
    optimizer: torch.optim.Optimizer
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
    """Gradient descent on theta = (mu, log sigma, U) of q = N(mu, diag(sigma^2) + U U^T).

    Attributes:
        radius: rho, the size of the ball: sqrt(2 KL), in standard deviations of q, for the balls
            ``"posterior-exact"``, ``"posterior-diagonal"``, ``"posterior-empirical"`` and
            ``"random"``. For the others it is a length: of theta (``"euclidean"``), of each block
            of theta (``"posterior-score"``), or of the mean.
        beta: Temper of the KL term; 1 is the posterior of Bayes' rule.
        covariance: Whether log sigma and U are trained; otherwise only the mean is.
        covariance_rate: Learning rate of log sigma and U, relative to that of the mean.
        noise_samples: Number of samples w ~ q over which a step averages the gradient.
    """

    radius: float = 0.2
    beta: float = 1.0
    covariance: bool = True
    covariance_rate: float = 1.0
    noise_samples: int = 1

    trains_rest: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.beta < math.inf, "beta", "at least 0")
        self._require(0 < self.covariance_rate < math.inf, "covariance_rate", "positive and finite")
        self._require(self.noise_samples >= 1, "noise_samples", "at least 1")
        if self.ball in SCORE_BALLS and self.noise_samples > 1:
            raise InputError(
                f"{self.name}: ball '{self.ball}' takes its step from one noise sample: leave "
                "noise_samples at 1"
            )

    def start(
        self,
        problem: Problem,
        q: Gaussian,
        prior: Gaussian,
        seed: int,
        rows: Tensor | None = None,
    ) -> VariationalState:
        """The state at q."""
        theta = q.mean.clone(), q.scale.log(), q.factor.clone()
        trained = theta if self.covariance else theta[:1]
        optimizer = torch.optim.SGD(trained, lr=self.learning_rate, momentum=self.momentum)
        location, log_scale, factor = theta
        return VariationalState(
            **new_state(problem, seed),
            location=location,
            log_scale=log_scale,
            factor=factor,
            prior=prior,
            optimizer=optimizer,
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
        pull, slow = q.kl_gradient(state.prior), self.covariance_rate
        trained = [pull.mean.mul_(weight).add_(gradient.mean)]
        if self.covariance:
            trained += [
                pull.log_scale.mul_(slow * weight).add_(gradient.log_scale, alpha=slow),
                # In place, because for a large network this is the largest array.
                pull.factor.T.addmm_(
                    gradient.right.T, gradient.left, beta=slow * weight, alpha=slow
                ).T,
            ]
        if state.rows is not None:
            fixed = torch.ones_like(q.mean, dtype=torch.bool).index_fill_(0, state.rows, False)
            for part in trained:
                part[fixed] = 0.0
        descend(state.optimizer, trained, self.rate(state.steps_done, state.problem.steps))
        self.advance(state)
        return state

    def least_scale(self, problem: Problem) -> float:
        """The least scale of a prior, sqrt(learning_rate beta / N).

        In directions of smaller variance the KL term is stiffer, and gradient descent at this
        learning rate would diverge.
        """
        return math.sqrt(self.learning_rate * self.beta / problem.examples)
