"""MOPED: variational inference around pretrained weights (doi 10.1609/aaai.v34i04.5875)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from landscape.methods.loop import Problem
from landscape.methods.variational import VariationalState
from landscape.methods.vi import MeanField, mean_field
from landscape.posteriors import Posterior


@dataclass(frozen=True, kw_only=True)
class MOPED(MeanField):
    """Mean-field variational inference whose prior and start are at pretrained weights w0.

    min_q E_q[L(w)] + beta KL(q || p) / N with p = N(w0, prior_scale^2), from q = N(w0, (delta
    |w0|)^2). The weights w0 are the mean of the ``prior`` given to ``fit``, of any kind, or the
    model's own.

    Attributes:
        delta: Initial sigma over |w0|; the paper's are 0.05 to 0.2.
        min_scale: Least initial sigma. A weight of 0 has none by the rule above, and then no
            gradient by log sigma either: it would never get one.
        prior_scale: Standard deviation of the prior.
    """

    delta: float = 0.1
    min_scale: float = 1e-3
    prior_scale: float = 1.0

    name: ClassVar[str] = "moped"

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("delta", "min_scale", "prior_scale"):
            holds = 0 < getattr(self, setting) < math.inf
            self._require(holds, setting, "positive and finite")

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> VariationalState:
        """Q and the prior at the pretrained weights."""
        weights = problem.space.vector()
        if prior is not None:
            weights = prior.mean.to(weights)
        q = mean_field(weights, (self.delta * weights.abs()).clamp_min(self.min_scale))
        p = mean_field(weights, torch.full_like(weights, self.prior_scale))
        return self._start(problem, q, p.broadened(self._stiffest(problem)), seed)
