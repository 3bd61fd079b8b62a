"""VI: mean-field variational inference by reparameterisation (arXiv 1505.05424)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from landscape.methods.state import Problem
from landscape.methods.variational.descent import (
    INITIAL_SCALE,
    PRIOR_SCALE,
    Variational,
    VariationalState,
)
from landscape.objective.batches import Batch
from landscape.posteriors import Gaussian, Posterior


@dataclass(frozen=True, kw_only=True)
class VI(Variational):
    """min_q E_q[L(w)] + beta KL(q || p) / N over mean-field Gaussians q = N(mu, diag(sigma^2)).

    A step draws one w = mu + sigma z for its batch. The KL term is in closed form, summed over
    parameters and divided by the N training examples, whatever the batch. VI is FP-BMA with
    ``ball="none"`` and no low-rank part.

    The prior p is N(m, diag(Sigma)) for a Gaussian N(m, Sigma) given to ``fit``, with a scale of at
    least sqrt(learning_rate beta / N) (see ``FPBMA``). Without one it is N(0, prior_scale^2).
    q starts at the mean of the given prior, or at the model's weights. A SWAG posterior is a narrow
    prior: q stays there unless ``beta`` is small.

    Attributes:
        prior_scale: Standard deviation of the prior if ``fit`` gets none.
        initial_scale: sigma at the start, or the prior's scale if that is less.
    """

    prior_scale: float = PRIOR_SCALE
    initial_scale: float = INITIAL_SCALE

    name: ClassVar[str] = "vi"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 < self.prior_scale < math.inf, "prior_scale", "positive and finite")
        self._require(0 < self.initial_scale < math.inf, "initial_scale", "positive and finite")

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> VariationalState:
        """The Gaussian q at the prior's mean or the model's weights, with ``initial_scale``.

        Raises:
            InputError: the prior is not Gaussian.
        """
        mean = problem.space.vector()
        if prior is None:
            p = Gaussian.diagonal(torch.zeros_like(mean), self.prior_scale)
        else:
            p = marginals(prior.gaussian.to(mean.device))
            mean = p.mean
        p = p.broadened(self.least_scale(problem))
        q = Gaussian.diagonal(mean, p.scale.clamp(max=self.initial_scale))
        return self.start(problem, q, p, seed)

    def step(self, state: VariationalState, batch: Batch) -> VariationalState:
        """One step along the gradient at the ball's worst q, at samples by reparameterisation."""
        q = state.gaussian
        gradient, state.last = self.gradient_near_gaussian(
            state, q, self.noises(state), batch, covariance=self.covariance
        )
        return self.descend(state, q, gradient)

    def posterior(self, state: VariationalState) -> Posterior:
        """The present q."""
        return Posterior(state.space, state.snapshot(), method=self.name)


def marginals(gaussian: Gaussian) -> Gaussian:
    """The mean-field Gaussian of the same mean and variances."""
    variance = gaussian.scale**2 + (gaussian.factor**2).sum(1)
    return Gaussian.diagonal(gaussian.mean, variance.sqrt())
