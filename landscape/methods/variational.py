"""What variational methods share: a Gaussian q that descends E_q[L(w)] + beta KL(q || p) / N."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.methods.loop import Method, Problem, State, descend, new_state
from landscape.objective.batches import Batch
from landscape.posteriors import Gaussian, GaussianGradient, Noise, Posterior


@dataclass(kw_only=True)
class VariationalState(State):
    """theta = (location, log_scale, factor), the prior, and the base optimiser.

    ``rows`` are the indices of the parameters that are trained; ``None`` for all.
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
        """Q at theta."""
        return Gaussian(self.location, self.log_scale.exp(), self.factor)


@dataclass(frozen=True, kw_only=True)
class Variational(Method[VariationalState]):
    """Gradient descent on theta = (mu, log sigma, U) of q = N(mu, diag(sigma^2) + U U^T).

    Attributes:
        beta: Temper of the KL term; 1 is the posterior of Bayes' rule.
        covariance: Whether log sigma and U are trained; the mean alone otherwise.
        covariance_rate: Learning rate of log sigma and U over that of the mean.
        noise_samples: How many w ~ q a step averages the gradient over.
    """

    beta: float = 1.0
    covariance: bool = True
    covariance_rate: float = 1.0
    noise_samples: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.beta < math.inf, "beta", "at least 0")
        self._require(0 < self.covariance_rate < math.inf, "covariance_rate", "positive and finite")
        self._require(self.noise_samples >= 1, "noise_samples", "at least 1")

    def posterior(self, state: VariationalState) -> Posterior:
        """Q as it stands."""
        q = state.gaussian
        copy = Gaussian(q.mean.clone(), q.scale, q.factor.clone())
        return Posterior(state.problem.space, copy, method=self.name)

    def _start(
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

    def _expected_gradient(
        self,
        state: VariationalState,
        q: Gaussian,
        noises: Sequence[Noise],
        batch: Batch,
        *,
        update_statistics: bool = True,
    ) -> tuple[Tensor, GaussianGradient]:
        """The batch's mean loss over w ~ q, from the samples that ``noises`` make of q.

        All samples see the same dropout; running statistics follow the first.
        """
        found = [
            state.loss_and_gradient(
                q.transform(noise), batch, update_statistics=update_statistics and not index
            )
            for index, noise in enumerate(noises)
        ]
        loss = torch.stack([loss for loss, _ in found]).mean()
        return loss, q.chain([gradient for _, gradient in found], noises)

    def _noises(self, state: VariationalState) -> list[Noise]:
        """What a step draws."""
        return [state.gaussian.noise(state.generator) for _ in range(self.noise_samples)]

    def _descend(
        self,
        state: VariationalState,
        q: Gaussian,
        gradient: GaussianGradient,
        last: dict[str, Tensor],
    ) -> VariationalState:
        """One step from q along ``gradient``, of the expected loss, plus that of the KL term."""
        weight = self.beta / state.problem.examples
        pull, slow = q.kl_gradient(state.prior), self.covariance_rate
        trained = [pull.mean.mul_(weight).add_(gradient.mean)]
        if self.covariance:
            trained += [
                pull.log_scale.mul_(slow * weight).add_(gradient.log_scale, alpha=slow),
                # In place: for a large network this is the largest array of all.
                pull.factor.T.addmm_(
                    gradient.right.T, gradient.left, beta=slow * weight, alpha=slow
                ).T,
            ]
        if state.rows is not None:
            held = torch.ones_like(q.mean, dtype=torch.bool).index_fill_(0, state.rows, False)
            for part in trained:
                part[held] = 0.0
        descend(state.optimizer, trained, self.rate(state.steps_done, state.problem.steps))
        state.steps_done += 1
        state.last = last
        return state

    def _stiffest(self, problem: Problem) -> float:
        """The least scale of a prior, sqrt(learning_rate beta / N).

        The KL term is stiffer than that in directions of smaller variance, and gradient descent at
        this learning rate would diverge in them.
        """
        return math.sqrt(self.learning_rate * self.beta / problem.examples)
