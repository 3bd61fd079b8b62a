"""VI: mean-field variational inference by reparameterisation (arXiv 1505.05424)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscape.methods.loop import Problem
from landscape.methods.variational import Variational, VariationalState
from landscape.objective.batches import Batch
from landscape.posteriors import Gaussian, Posterior


@dataclass(frozen=True, kw_only=True)
class MeanField(Variational):
    """Descent on E_q[L(w)] + beta KL(q || p) / N for q = N(mu, diag(sigma^2))."""

    def step(self, state: VariationalState, batch: Batch) -> VariationalState:
        """One step along the gradient at samples w ~ q, drawn by reparameterisation."""
        q = state.gaussian
        loss, gradient = self._expected_gradient(state, q, self._noises(state), batch)
        return self._descend(state, q, gradient, {"loss": loss})


@dataclass(frozen=True, kw_only=True)
class VI(MeanField):
    """min_q E_q[L(w)] + beta KL(q || p) / N over mean-field Gaussians q = N(mu, diag(sigma^2)).

    A step draws one w = mu + sigma z for its batch. The KL term is in closed form, summed over
    parameters and divided by the N training examples, whatever the batch. It is FP-BMA with
    ``radius=0`` and no low-rank part.

    The prior p is N(m, diag(Sigma)) for a Gaussian N(m, Sigma) given to ``fit``, its scale raised
    to sqrt(learning_rate beta / N) where it is less (see ``FPBMA``); and N(0, prior_scale^2) if
    none is given. q starts at the given prior's mean, or at the model's weights. A SWAG posterior
    is so narrow a prior that q stays there unless ``beta`` is small.

    Attributes:
        prior_scale: Standard deviation of the prior if ``fit`` gets none.
        initial_scale: sigma at the start, or the prior's scale where that is less.
    """

    prior_scale: float = 1.0
    initial_scale: float = 0.02

    name: ClassVar[str] = "vi"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 < self.prior_scale < math.inf, "prior_scale", "positive and finite")
        self._require(0 < self.initial_scale < math.inf, "initial_scale", "positive and finite")

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> VariationalState:
        """Q at the prior's mean or the model's weights, with ``initial_scale``.

        Raises:
            InputError: a prior that is not Gaussian.
        """
        start = problem.space.vector()
        if prior is None:
            p = Gaussian.diagonal(torch.zeros_like(start), self.prior_scale)
        else:
            p = marginals(prior.gaussian.to(start.device))
            start = p.mean
        p = p.broadened(self._stiffest(problem))
        q = mean_field(start, p.scale.clamp(max=self.initial_scale))
        return self._start(problem, q, p, seed)


def marginals(gaussian: Gaussian) -> Gaussian:
    """The mean-field Gaussian of the same mean and variances."""
    variance = gaussian.scale**2 + (gaussian.factor**2).sum(1)
    return mean_field(gaussian.mean, variance.sqrt())


def mean_field(mean: Tensor, scale: Tensor) -> Gaussian:
    """N(mean, diag(scale^2))."""
    return Gaussian(mean, scale, mean.new_zeros(len(mean), 0))
