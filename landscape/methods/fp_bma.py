"""FP-BMA: flat-posterior-aware Bayesian model averaging (arXiv 2406.15664)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.methods.fisher import steepest_step
from landscape.methods.loop import Method, Problem, State, descend, new_state
from landscape.objective import Batch
from landscape.posteriors import Gaussian, Posterior

FISHERS = ("exact",)


@dataclass(kw_only=True)
class FPBMAState(State):
    """theta = (location, log_scale, factor), the prior, and the base optimiser."""

    location: Tensor
    log_scale: Tensor
    factor: Tensor
    prior: Gaussian
    optimizer: torch.optim.Optimizer

    @property
    def mean(self) -> Tensor:
        """The Gaussian's mean."""
        return self.location

    @property
    def gaussian(self) -> Gaussian:
        """Q at theta."""
        return Gaussian(self.location, self.log_scale.exp(), self.factor)


@dataclass(frozen=True, kw_only=True)
class FPBMA(Method[FPBMAState]):
    """min_theta max_delta E_{q_{theta + delta}}[L(w)] + beta KL(q_theta || p) / N.

    The maximum is over KL(q_{theta + delta} || q_theta) <= radius^2 / 2.

    q = N(mu, diag(sigma^2) + U U^T) with theta = (mu, log sigma, U). A step draws one w by
    reparameterisation, moves theta to the worst place within the KL ball by the Fisher information,
    takes the gradient there on the same batch and noise, and applies it at theta together with the
    gradient of the KL term. ``radius=0`` is variational inference; a mean-field q of fixed scale s
    makes it SAM with radius ``radius * s``.

    ``fit`` needs a Gaussian ``prior``, where q also starts. The prior's diagonal scale is raised to
    sqrt(learning_rate beta / N) where it is less: the KL term is stiffer than that in directions
    of smaller variance, and gradient descent at this learning rate would diverge in them. SWAG
    leaves such directions wherever a weight never moved.

    Attributes:
        radius: rho, how far the worst case is: sqrt(2 KL), in standard deviations of q.
        beta: Temper of the KL term; 1 is the posterior of Bayes' rule. The default is for a prior
            like SWAG's, which is the trace of one optimiser and far narrower than belief.
        fisher: ``"exact"``, the Fisher information of q itself.
        covariance: Whether log sigma and U are trained; the mean alone otherwise.
        covariance_rate: Learning rate of log sigma and U over that of the mean. One noise sample
            leaves their gradients so noisy that at the mean's own rate U random-walks away.
    """

    radius: float = 0.2
    beta: float = 1e-6
    fisher: str = "exact"
    covariance: bool = True
    covariance_rate: float = 0.1

    name: ClassVar[str] = "fp-bma"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.radius < math.inf, "radius", "at least 0")
        self._require(0 <= self.beta < math.inf, "beta", "at least 0")
        self._require(0 < self.covariance_rate < math.inf, "covariance_rate", "positive and finite")
        self._require(self.fisher in FISHERS, "fisher", f"one of {', '.join(FISHERS)}")

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> FPBMAState:
        """The variational posterior at the prior.

        Raises:
            InputError: no prior, or one that is not Gaussian.
        """
        if prior is None:
            raise InputError(
                f"{self.name} needs a Gaussian prior: a SWAG posterior (prior=SWAG().fit(...), "
                "or --prior FILE), or landscape.posteriors.isotropic(model, scale)"
            )
        floor = math.sqrt(self.learning_rate * self.beta / problem.examples)
        gaussian = prior.gaussian.to(problem.space.device).broadened(floor)
        theta = gaussian.mean.clone(), gaussian.scale.log(), gaussian.factor.clone()
        trained = theta if self.covariance else theta[:1]
        optimizer = torch.optim.SGD(trained, lr=self.learning_rate, momentum=self.momentum)
        location, log_scale, factor = theta
        return FPBMAState(
            **new_state(problem, seed),
            location=location,
            log_scale=log_scale,
            factor=factor,
            prior=gaussian,
            optimizer=optimizer,
        )

    def step(self, state: FPBMAState, batch: Batch) -> FPBMAState:
        """One step along the gradient at the worst q within the KL ball."""
        q = state.gaussian
        noise = q.noise(state.generator)
        loss, gradient = state.loss_and_gradient(q.transform(noise), batch)
        ascent = q.chain(gradient, noise)
        length = torch.zeros_like(loss)
        if self.radius > 0:
            delta = steepest_step(q, ascent, self.radius, covariance=self.covariance)
            length = delta.norm()
            worst = q.moved(delta)
            _, gradient = state.loss_and_gradient(
                worst.transform(noise), batch, update_statistics=False
            )
            ascent = worst.chain(gradient, noise)
        weight = self.beta / state.problem.examples
        pull = q.kl_gradient(state.prior)
        slow = self.covariance_rate
        gradients = [
            ascent.mean + weight * pull.mean,
            slow * (ascent.log_scale + weight * pull.log_scale),
            slow * (ascent.factor + weight * pull.factor),
        ]
        trained = gradients if self.covariance else gradients[:1]
        descend(state.optimizer, trained, self.rate(state.steps_done, state.problem.steps))
        state.steps_done += 1
        state.last = {"loss": loss, "perturbation_norm": length}
        return state

    def posterior(self, state: FPBMAState) -> Posterior:
        """Q as it stands."""
        q = state.gaussian
        copy = Gaussian(q.mean.clone(), q.scale, q.factor.clone())
        return Posterior(state.problem.space, copy, method=self.name)
