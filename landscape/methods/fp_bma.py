"""FP-BMA: flat-posterior-aware Bayesian model averaging (arXiv 2406.15664)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.methods.fisher import steepest_step
from landscape.methods.loop import Problem
from landscape.methods.perturbations import (
    diagonal_step,
    empirical_step,
    euclidean_step,
    score_step,
)
from landscape.methods.restricted_fisher import restricted_step
from landscape.methods.variational import Variational, VariationalState
from landscape.objective.batches import Batch
from landscape.objective.subsets import CHOICES
from landscape.posteriors import Gaussian, GaussianGradient, GaussianTangent, Noise, Posterior

FROM_GRADIENT = {"exact": steepest_step, "diagonal": diagonal_step, "identity": euclidean_step}
FROM_SCORE = {"empirical": empirical_step, "score": score_step}
FISHERS = (*FROM_GRADIENT, *FROM_SCORE)
DIRECTIONS = ("steepest", "random")


@dataclass(frozen=True, kw_only=True)
class FPBMA(Variational):
    """min_theta max_delta E_{q_{theta + delta}}[L(w)] + beta KL(q_theta || p) / N.

    The maximum is over KL(q_{theta + delta} || q_theta) <= radius^2 / 2.

    q = N(mu, diag(sigma^2) + U U^T) with theta = (mu, log sigma, U). A step draws w by
    reparameterisation, moves theta to the worst place within the KL ball by the Fisher information
    (to second order; a step that would leave the ball ends at its border), takes the gradient there
    on the same batch and noise, and applies it at theta together with the gradient of the KL term.
    ``radius=0`` is variational inference; a mean-field q of fixed scale s makes it SAM with radius
    ``radius * s``.

    ``fit`` needs a Gaussian ``prior``, where q also starts. The prior's diagonal scale is raised to
    sqrt(learning_rate beta / N) where it is less: the KL term is stiffer than that in directions
    of smaller variance, and gradient descent at this learning rate would diverge in them. SWAG
    leaves such directions wherever a weight never moved.

    Attributes:
        radius: rho, how far the worst case is: sqrt(2 KL), in standard deviations of q. A length,
            without any ball, where ``fisher`` is ``"identity"`` (in theta) or ``"score"`` (of each
            of its blocks).
        beta: Temper of the KL term; 1 is the posterior of Bayes' rule. The default is for a prior
            like SWAG's, which is the trace of one optimiser and far narrower than belief.
        fisher: What stands for the Fisher information of q: itself (``"exact"``), its
            ``"diagonal"``, the ``"identity"`` (which is SAM on theta, a control), the
            ``"empirical"`` one of the sample drawn (the paper's Algorithm 1), or the ``"score"``,
            the rule of the authors' published code for this q. See ``perturbations``.
        direction: ``"steepest"``; or ``"random"``, a control: the step of a gradient of pure noise
            in the same ball.
        covariance: Whether log sigma and U are trained; the mean alone otherwise.
        trained: Which rows of theta are trained, one of ``landscape.subsets.CHOICES``. The others
            stay the prior's and are sampled with the same z2 as the trained ones, which keeps
            their covariance: the frozen rest of FP-BMA's transfer scheme. To hold it at its mean
            instead, give ``fit`` the choice as ``random``, and ``prior.marginal(...)``.
        prior_scale: Standard deviation of a prior N(0, prior_scale^2) in place of the one given to
            ``fit``, which then only says where q starts; 0 for the one given.
        covariance_rate: Learning rate of log sigma and U over that of the mean. One noise sample
            leaves their gradients so noisy that at the mean's own rate U random-walks away.
    """

    radius: float = 0.2
    beta: float = 1e-6
    fisher: str = "exact"
    direction: str = "steepest"
    trained: str = "all"
    covariance: bool = True
    covariance_rate: float = 0.1
    prior_scale: float = 0.0

    name: ClassVar[str] = "fp-bma"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.radius < math.inf, "radius", "at least 0")
        self._require(0 <= self.prior_scale < math.inf, "prior_scale", "at least 0 and finite")
        self._require(self.fisher in FISHERS, "fisher", f"one of {', '.join(FISHERS)}")
        self._require(self.direction in DIRECTIONS, "direction", f"one of {', '.join(DIRECTIONS)}")
        self._require(self.trained in CHOICES, "trained", f"one of {', '.join(CHOICES)}")
        if self.fisher in FROM_SCORE and self.trained != "all":
            raise InputError(f"fisher='{self.fisher}' moves all of theta: leave trained at 'all'")
        if self.fisher in FROM_SCORE and (self.noise_samples > 1 or self.direction == "random"):
            raise InputError(
                f"fisher='{self.fisher}' takes its step from one noise sample: leave noise_samples "
                "at 1 and direction at 'steepest'"
            )

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> VariationalState:
        """The variational posterior at the prior.

        Raises:
            InputError: no prior, or one that is not Gaussian.
        """
        if prior is None:
            raise InputError(
                f"{self.name} needs a Gaussian prior: a SWAG posterior (prior=SWAG().fit(...), "
                "or --prior FILE), or landscape.posteriors.isotropic(model, scale)"
            )
        rows = self._rows(problem)
        floor = self._stiffest(problem)
        q = given = prior.gaussian.to(problem.space.device).broadened(floor, rows)
        if self.prior_scale:
            given = Gaussian.diagonal(torch.zeros_like(q.mean), self.prior_scale)
        return self._start(problem, q, given.broadened(floor, rows), seed, rows)

    def step(self, state: VariationalState, batch: Batch) -> VariationalState:
        """One step along the gradient at the worst q within the KL ball."""
        q, noises = state.gaussian, self._noises(state)
        loss, gradient = self._expected_gradient(state, q, noises, batch)
        length = torch.zeros_like(loss)
        if self.radius > 0:
            delta = self._perturbation(state, q, gradient, noises)
            length = delta.norm()
            _, gradient = self._expected_gradient(
                state, q.moved(delta), noises, batch, update_statistics=False
            )
        return self._descend(state, q, gradient, {"loss": loss, "perturbation_norm": length})

    def _perturbation(
        self,
        state: VariationalState,
        q: Gaussian,
        gradient: GaussianGradient,
        noises: Sequence[Noise],
    ) -> GaussianTangent:
        if self.direction == "random":
            gradient = q.chain([q.noise(state.generator).diagonal for _ in noises], noises)
        settings: dict[str, Any] = {"covariance": self.covariance}
        if self.fisher in FROM_SCORE:
            return FROM_SCORE[self.fisher](q, gradient, self.radius, noises[0], **settings)
        if state.rows is not None and self.fisher == "exact":
            return restricted_step(q, gradient, self.radius, state.rows, **settings)
        if state.rows is not None:
            gradient = gradient.restricted(state.rows)
        return FROM_GRADIENT[self.fisher](q, gradient, self.radius, **settings)

    def _rows(self, problem: Problem) -> Tensor | None:
        """Indices of the trained parameters; ``None`` for all."""
        space = problem.space
        names = CHOICES[self.trained](space.module)
        if names is None:
            return None
        parts = dict(zip(space.names, space.slices, strict=True))
        missing = sorted(set(names) - set(parts))
        if missing:
            raise InputError(f"trained='{self.trained}': '{missing[0]}' is not random")
        index = torch.arange(space.size, device=space.device)
        return torch.cat([index[parts[name]] for name in names])
