"""MoLA: a mixture of Laplace approximations around several points (arXiv 2111.03577)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import nn

from landscape.errors import InputError
from landscape.methods.ensemble import Ensemble, EnsembleState
from landscape.methods.laplace.laplace import Laplace
from landscape.methods.state import Problem
from landscape.objective.batches import Batch
from landscape.objective.losses import Loss
from landscape.posteriors import Mixture, Point, Posterior, Samples
from landscape.tasks import Task

STRUCTURES = ("diagonal", "full", "kronecker")


@dataclass(frozen=True, kw_only=True)
class MoLA(Ensemble):
    """The mixture of the Gaussians of ``Laplace`` around the M points of ``Ensemble``.

    All have the weight 1 / M, as published. With weights by evidence one Gaussian would be the
    posterior, because the log-evidences differ by tens of nats. Starts, orders of the data, prior
    and ``ball`` are those of an ensemble. With ``"posterior-exact"`` and a Gaussian prior this is
    FP-BMA over MoLA (arXiv 2406.15664).

    Attributes:
        structure: ``"diagonal"``, ``"full"`` or ``"kronecker"``, as for ``Laplace``, over all
            inferred parameters. It is never a part of them, because the members differ in all. For
            the last layer infer it alone (``parameters=``) and use ``"full"``.
        prior_precision: Precision of every member's prior; 0 to choose each one's own on
            validation data, as ``Laplace`` does.
    """

    structure: str = "diagonal"
    prior_precision: float = 0.0

    name: ClassVar[str] = "mola"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.structure in STRUCTURES, "structure", f"one of {', '.join(STRUCTURES)}")
        self._require(0 <= self.prior_precision < math.inf, "prior_precision", "at least 0")

    @property
    def laplace(self) -> Laplace:
        """The method of the Gaussian around each point."""
        return Laplace(structure=self.structure, prior_precision=self.prior_precision)

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> EnsembleState:
        """The starts of the points.

        Raises:
            InputError: a posterior ball has no Gaussian prior, the covariance would be too large,
                or the network or the loss has no Kronecker factors.
        """
        self.laplace.check(problem)
        return super().init(problem, prior=prior, seed=seed)

    def step(self, state: EnsembleState, batch: Batch) -> EnsembleState:
        """One step of every point."""
        return super().step(state, batch)

    def posterior(self, state: EnsembleState) -> Posterior:
        """The present points; ``around`` puts the Gaussians there."""
        return super().posterior(state)

    def fit(self, model: nn.Module, task: Task, **more: Any) -> Posterior:
        """Train the points, and put the Gaussians ``around`` them; see ``Method.fit``."""
        points = super().fit(model, task, **more)
        return self.around(
            points,
            task.train.to(points.device),
            loss=task.loss,
            validation=task.validation.to(points.device) if len(task.validation) else None,
        )

    def around(
        self,
        points: Posterior,
        batches: Iterable[Batch],
        *,
        loss: Loss = "cross_entropy",
        validation: Iterable[Batch] | None = None,
    ) -> Posterior:
        """The mixture around given points, for example those of an ensemble.

        Args:
            points: A posterior of samples; running statistics, if any, are re-estimated at each.
            batches: The training examples.
            loss: The negative log-likelihood; see ``losses.Criterion``.
            validation: Examples for choosing prior precisions, as for ``Laplace.around``.

        Returns:
            The mixture, with the M prior precisions in its settings.

        Raises:
            InputError: ``points`` are no samples, or see ``Laplace.around``.
        """
        if not isinstance(points.distribution, Samples):
            raise InputError(f"mola needs a posterior of samples, not a {points.distribution.kind}")
        members = [
            self.laplace.gaussian(replace(points, distribution=Point(w)), batches, loss, validation)
            for w in points.distribution.vectors
        ]
        precisions = [precision for _, _, precision in members]
        return replace(
            points,
            distribution=Mixture.uniform([gaussian for _, gaussian, _ in members]),
            method=self.name,
            settings={**points.settings, "prior_precision": precisions},
        )
