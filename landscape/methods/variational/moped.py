"""MOPED: variational inference around pretrained weights (doi 10.1609/aaai.v34i04.5875)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from landscape.methods.state import Problem, starting_weights
from landscape.methods.variational.descent import PRIOR_SCALE, Variational, VariationalState
from landscape.objective.batches import Batch
from landscape.posteriors import Gaussian, Posterior
from landscape.posteriors.pretrained import moped_scale


@dataclass(frozen=True, kw_only=True)
class MOPED(Variational):
    """Mean-field variational inference whose prior and start are at pretrained weights w0.

    min_q E_q[L(w)] + beta KL(q || p) / N with p = N(w0, prior_scale^2), from q = N(w0, (delta
    |w0|)^2). The weights w0 are the mean of the ``prior`` given to ``fit``, of any kind, or the
    model's own.

    Attributes:
        delta: Initial sigma over |w0|; the paper's values are 0.05 to 0.2.
        min_scale: Least initial sigma. A weight of 0 would have sigma 0 by the rule above, and
            always a gradient of 0 by log sigma.
        prior_scale: Standard deviation of the prior.
    """

    delta: float = 0.1
    min_scale: float = 1e-3
    prior_scale: float = PRIOR_SCALE

    name: ClassVar[str] = "moped"

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("delta", "min_scale", "prior_scale"):
            holds = 0 < getattr(self, setting) < math.inf
            self._require(holds, setting, "positive and finite")

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> VariationalState:
        """The Gaussian q and the prior at the pretrained weights."""
        weights = starting_weights(problem, prior)
        q = Gaussian.diagonal(weights, moped_scale(weights, self.delta, self.min_scale))
        p = Gaussian.diagonal(weights, self.prior_scale).broadened(self.least_scale(problem))
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
