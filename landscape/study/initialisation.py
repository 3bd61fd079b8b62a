"""Initial network and prior of a training on the target task, made from the source posterior."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from landscape import models
from landscape.errors import InputError
from landscape.objective import subsets
from landscape.objective.parameters import Choice
from landscape.posteriors import Gaussian, Posterior, isotropic, transfer
from landscape.tasks import Task

INITIALISATIONS = (
    "source",
    "weights",
    "scaled",
    "isotropic",
    "fresh-head",
    "fresh-head-fixed-rest",
)


@dataclass(frozen=True)
class Initialisation:
    """Arguments of ``fit``.

    Attributes:
        model: Network with its initial weights.
        prior: Prior over its weights; ``None`` for the method's own.
        parameters: Parameters that are inferred; ``None`` for all.
    """

    model: nn.Module
    prior: Posterior | None = None
    parameters: Choice = None


def initialise(
    kind: str, source: Posterior, task: Task, seed: int, scale: float = 0.0
) -> Initialisation:
    """Initial network and prior of a training.

    - ``"source"``: the source posterior is the prior.
    - ``"weights"``: training starts at the mean of the source posterior, with the method's own
      prior.
    - ``"scaled"``: the prior is the source posterior with ``scale`` times its covariance.
    - ``"isotropic"``: the prior is N(source mean, scale^2 I).
    - ``"fresh-head"``: the prior is the source posterior with a new head. All weights are sampled.
    - ``"fresh-head-fixed-rest"``: the same, but only the normalisation layers and the head are
      sampled. The other weights stay at their mean.

    The head is new in every kind if the target task has another number of classes.

    Args:
        kind: One of ``INITIALISATIONS``.
        source: Posterior of the source task.
        task: Target task.
        seed: Seed of the new head.
        scale: Scale of the prior, for ``"scaled"`` and ``"isotropic"``.

    Raises:
        InputError: The kind is unknown.
    """
    if kind not in INITIALISATIONS:
        raise InputError(f"unknown initialisation '{kind}'; known: {', '.join(INITIALISATIONS)}")
    if kind.startswith("fresh-head") or _has_other_classes(task):
        source = _with_fresh_head(source, task, seed)
    network = source.network()
    if kind in ("source", "fresh-head"):
        return Initialisation(network, source)
    if kind == "weights":
        return Initialisation(network)
    if kind == "scaled":
        q, root = source.gaussian, math.sqrt(scale)
        wider = Gaussian(q.mean, root * q.scale, root * q.factor)
        return Initialisation(network, replace(source, distribution=wider))
    if kind == "isotropic":
        return Initialisation(network, isotropic(network, scale, mean=source.mean))
    marginal = source.marginal(subsets.normalisation_and_head(network))
    return Initialisation(marginal.network(), marginal, marginal.space.names)


def _has_other_classes(task: Task) -> bool:
    return task.source is not None and len(task.source.classes) != len(task.classes)


def _with_fresh_head(source: Posterior, task: Task, seed: int) -> Posterior:
    settings: dict[str, Any] = dict(source.network().architecture)  # type: ignore[arg-type]
    fresh = models.build(settings.pop("name"), task, seed=seed, **settings)
    return transfer.adapt(source, fresh)
