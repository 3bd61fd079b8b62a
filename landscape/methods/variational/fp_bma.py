"""FP-BMA: flat-posterior-aware Bayesian model averaging (arXiv 2406.15664)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.methods.balls.framework import SCORE_BALLS
from landscape.methods.state import Problem
from landscape.methods.variational.descent import (
    INITIAL_SCALE,
    PRIOR_SCALE,
    Variational,
    VariationalState,
)
from landscape.objective.batches import Batch
from landscape.objective.subsets import CHOICES
from landscape.posteriors import Gaussian, Posterior


@dataclass(frozen=True, kw_only=True)
class FPBMA(Variational):
    """min_theta max_delta E_{q_{theta + delta}}[L(w)] + beta KL(q_theta || p) / N.

    The maximum is over KL(q_{theta + delta} || q_theta) <= radius^2 / 2.

    q = N(mu, diag(sigma^2) + U U^T) with theta = (mu, log sigma, U). A step draws w by
    reparameterisation and moves theta to the worst place in the KL ball by the Fisher information,
    to second order; a step that would leave the ball ends at its border. It takes the gradient
    there on the same batch and noise, and applies it at theta together with that of the KL term.
    ``radius=0`` is variational inference. A mean-field q of fixed scale s makes it SAM with radius
    ``radius * s``.

    By default this is FP-BMA (VI): the prior p is N(0, prior_scale^2), and q is mean-field and
    starts at the model's weights with sigma = ``initial_scale``. Of a ``prior`` given to ``fit``
    only the mean is used, in place of the model's weights. With ``prior_scale=0`` a given Gaussian
    is both p and the start of q: FP-BMA (SWAG) with a SWAG posterior, the paper's transfer with
    ``posteriors.moped`` (see ``published``).

    The scale of p is raised to at least sqrt(learning_rate beta / N). In directions of smaller
    variance the KL term is so stiff that gradient descent at this learning rate would diverge. SWAG
    leaves such directions where a weight never moved.

    Attributes:
        ball: ``"posterior-exact"``, by the Fisher information of q itself; or an approximation:
            ``"posterior-diagonal"``, ``"posterior-empirical"`` of the sample drawn (the paper's
            Algorithm 1), or ``"posterior-score"``, the rule of the authors' published code for this
            q (see ``posteriors.fisher.approximate``). ``"euclidean"`` is SAM on theta, and
            ``"random"`` the step of a gradient of pure noise in the same KL ball.
        beta: Temper of the KL term; 1 is the posterior of Bayes' rule. The default is for the
            default prior; SWAG's, the trace of one optimiser, is far narrower than belief and wants
            about 1e-6.
        trained: Name of the trained rows of theta, one of ``landscape.subsets.CHOICES``. The others
            stay those of the given Gaussian. They are sampled with the same z2 as the trained ones,
            which preserves their covariance, as in FP-BMA's transfer scheme. To fix them at their
            mean instead, give ``fit`` the choice as ``parameters``, and ``prior.marginal(...)``.
        prior_scale: Standard deviation of the prior N(0, prior_scale^2); 0 for the Gaussian given
            to ``fit``.
        initial_scale: sigma at the start of q, if ``prior_scale`` is not 0.
    """

    ball: str = "posterior-exact"
    trained: str = "all"
    prior_scale: float = PRIOR_SCALE
    initial_scale: float = INITIAL_SCALE

    name: ClassVar[str] = "fp-bma"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.prior_scale < math.inf, "prior_scale", "at least 0 and finite")
        self._require(0 < self.initial_scale < math.inf, "initial_scale", "positive and finite")
        self._require(self.trained in CHOICES, "trained", f"one of {', '.join(CHOICES)}")
        if self.ball in SCORE_BALLS and self.trained != "all":
            raise InputError(f"ball='{self.ball}' moves all of theta: leave trained at 'all'")

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> VariationalState:
        """The Gaussian q at its start.

        Raises:
            InputError: what is used of the prior is missing: its covariance, or all of it.
        """
        rows, floor = self._rows(problem), self.least_scale(problem)
        if self.prior_scale and rows is None:
            mean = problem.space.vector() if prior is None else prior.mean.to(problem.space.device)
            q = Gaussian.diagonal(mean, self.initial_scale)
        elif prior is None:
            raise InputError(
                f"{self.name} needs a Gaussian prior with prior_scale=0 or trained='"
                f"{self.trained}': a SWAG posterior (prior=SWAG().fit(...), or --prior FILE), or "
                "landscape.posteriors.moped(model)"
            )
        elif rows is None or self.prior_scale == 0:
            q = prior.gaussian.to(problem.space.device).broadened(floor, rows)
        else:
            given = prior.gaussian.to(problem.space.device)
            scale = given.scale.index_fill(0, rows, self.initial_scale)
            q = Gaussian(given.mean, scale, given.factor.index_fill(0, rows, 0.0))
        p = q
        if self.prior_scale:
            p = Gaussian.diagonal(torch.zeros_like(q.mean), self.prior_scale)
        return self.start(problem, q, p.broadened(floor, rows), seed, rows)

    @classmethod
    def published(cls, examples: int, **changes: Any) -> FPBMA:
        """The paper's transfer, FP-BMA (VI) on CIFAR-10 with ten images a class and a ResNet-18.

        Give ``fit`` the prior of ``posteriors.moped(model, delta=0.05, alpha=...)``; the published
        search has alpha from 1e-6 to 1e-3. The settings are gamma 0.7 (our radius), learning rate
        0.01, weight decay 1e-3, 150 epochs of which 10 are warm-up, and beta 1e-8 in the paper's
        units. log sigma does not learn here: at this beta its gradient is noise alone.

        Args:
            examples: N, the number of training examples.
            **changes: Other values of settings, such as ``ball="posterior-score"``.
        """
        settings: dict[str, Any] = {
            "epochs": 150,
            "warmup": 10 / 150,
            "learning_rate": 0.01,
            "weight_decay": 1e-3,
            "radius": 0.7,
            "beta": 1e-8 * examples,
            "prior_scale": 0.0,
            "covariance": False,
        }
        return cls(**{**settings, **changes})

    def step(self, state: VariationalState, batch: Batch) -> VariationalState:
        """One step along the gradient at the worst q of the ball."""
        q = state.gaussian
        gradient, state.last = self.gradient_near_gaussian(
            state, q, self.noises(state), batch, rows=state.rows, covariance=self.covariance
        )
        return self.descend(state, q, gradient)

    def posterior(self, state: VariationalState) -> Posterior:
        """The present q."""
        return Posterior(state.space, state.snapshot(), method=self.name)

    def _rows(self, problem: Problem) -> Tensor | None:
        """Indices of the trained parameters; ``None`` for all."""
        space = problem.space
        names = CHOICES[self.trained](space.module)
        if names is None:
            return None
        parts = dict(zip(space.names, space.slices, strict=True))
        missing = sorted(set(names) - set(parts))
        if missing:
            raise InputError(f"trained='{self.trained}': '{missing[0]}' is not inferred")
        index = torch.arange(space.size, device=space.device)
        return torch.cat([index[parts[name]] for name in names])
