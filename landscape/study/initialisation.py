"""What a training on the target task starts from: the source task's posterior, in several roles."""

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

STARTS = ("source", "weights", "scaled", "isotropic", "fresh-head", "fresh-head-fixed-rest")


@dataclass(frozen=True)
class Start:
    """What ``fit`` is given."""

    model: nn.Module
    prior: Posterior | None = None
    parameters: Choice = None


def start(kind: str, source: Posterior, task: Task, seed: int, scale: float = 0.0) -> Start:
    """Where a training begins.

    Args:
        kind: One of ``STARTS``. With ``"source"`` the source posterior is the prior; with
            ``"weights"`` only its mean is taken over, and the method has its own prior; with
            ``"scaled"`` the prior is the source posterior with ``scale`` times its covariance, with
            ``"isotropic"`` N(source mean, scale^2 I); with ``"fresh-head"`` the source posterior
            with a fresh head, all of it sampled, and with ``"fresh-head-fixed-rest"`` its
            normalisation layers and head alone, the rest at its mean.
        source: The source task's posterior. Where the target task has other classes its head is a
            fresh one in every kind.
        task: The target task.
        seed: Of the fresh network.
        scale: Of the prior, where the kind has one.

    Raises:
        InputError: an unknown kind.
    """
    if kind not in STARTS:
        raise InputError(f"unknown start '{kind}'; known: {', '.join(STARTS)}")
    if kind.startswith("fresh-head") or _has_other_classes(task):
        source = _with_fresh_head(source, task, seed)
    network = source.network()
    if kind in ("source", "fresh-head"):
        return Start(network, source)
    if kind == "weights":
        return Start(network)
    if kind == "scaled":
        q, root = source.gaussian, math.sqrt(scale)
        wider = Gaussian(q.mean, root * q.scale, root * q.factor)
        return Start(network, replace(source, distribution=wider))
    if kind == "isotropic":
        return Start(network, isotropic(network, scale, mean=source.mean))
    part = source.marginal(subsets.normalisation_and_head(network))
    return Start(part.network(), part, part.space.names)


def _has_other_classes(task: Task) -> bool:
    return task.source is not None and len(task.source.classes) != len(task.classes)


def _with_fresh_head(source: Posterior, task: Task, seed: int) -> Posterior:
    settings: dict[str, Any] = dict(source.network().architecture)  # type: ignore[arg-type]
    fresh = models.build(settings.pop("name"), task, seed=seed, **settings)
    return transfer.adapt(source, fresh)
