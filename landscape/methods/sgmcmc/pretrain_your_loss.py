"""PTL, pre-train your loss: a rescaled source posterior as the prior (arXiv 2205.10279)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from landscape.errors import InputError
from landscape.methods.sgmcmc.cyclical_sgld import Cyclical
from landscape.methods.sgmcmc.langevin import ChainState
from landscape.methods.state import Problem
from landscape.posteriors import Gaussian, Posterior


@dataclass(frozen=True, kw_only=True)
class PretrainYourLoss(Cyclical):
    """Samples of exp(-U / T), U(w) = N L(w) - log p(w), with p = N(mu, scale Sigma).

    N(mu, Sigma) is the Gaussian posterior of a source task (SWAG's in the paper), given to ``fit``
    as ``prior``. The chain starts at mu. The scale multiplies the whole covariance, because the
    posterior of the source task is too narrow a belief about another task. The chain is cyclical
    (see ``Cyclical`` for ``step`` and ``posterior``); ``cycles=1`` with ``exploration=0`` is SGLD
    along one cosine.

    Attributes:
        scale: Factor on the covariance. The default is for the narrow Gaussian of SWAG on a solved
            task; choose it on validation data.
    """

    learning_rate: float = 0.1
    scale: float = 1e6

    name: ClassVar[str] = "ptl"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 < self.scale < math.inf, "scale", "positive and finite")

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> ChainState:
        """The chain at the source posterior's mean.

        Raises:
            InputError: there is no prior, or it is not Gaussian.
        """
        if prior is None:
            raise InputError(
                f"{self.name} needs the Gaussian posterior of a source task as its prior: "
                "prior=SWAG().fit(model, task.source), or --prior FILE"
            )
        q, root = prior.gaussian, math.sqrt(self.scale)
        rescaled = replace(prior, distribution=Gaussian(q.mean, root * q.scale, root * q.factor))
        return ChainState(**self.start(problem, rescaled, 1.0, seed))
