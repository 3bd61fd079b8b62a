"""Deep ensembles: networks trained alike from different starts (arXiv 1612.01474)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from torch import Tensor

from landscape.methods.balls.framework import Framework
from landscape.methods.fresh_weights import fresh_weights
from landscape.methods.loop import Record
from landscape.methods.point.map import MAP, MAPState
from landscape.methods.state import Problem, State, new_state
from landscape.objective.batches import Batch
from landscape.posteriors import Point, Posterior, Samples
from landscape.tasks import Data


@dataclass(kw_only=True)
class EnsembleState(State):
    """The members' own states, each with its seed, order of the data and running statistics."""

    members: list[MAPState]

    @property
    def mean(self) -> Tensor:
        """The mean of the members' weights; it is finite while all members are."""
        return torch.stack([member.mean for member in self.members]).mean(0)


@dataclass(frozen=True, kw_only=True)
class Ensemble(Framework[EnsembleState]):
    """M points of MAP, each with its own initial weights, order of the data and noise.

    The posterior is their empirical distribution. Without a prior each member starts at new random
    initial weights, not at those of the given model (see ``fresh_weights``). With a ``prior`` given
    to ``fit`` each member starts at its own sample of the prior, in transfer so with its own fresh
    head. The posterior balls also take its covariance. Losses and accuracies in the history are
    means over the members.

    Attributes:
        weight_decay: Coefficient of the penalty (weight_decay / 2) ||w||^2.
        members: M.
    """

    weight_decay: float = 5e-4
    members: int = 5

    name: ClassVar[str] = "ensemble"
    can_record: ClassVar[bool] = False
    refused = MAP.refused

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0")
        self._require(self.members >= 1, "members", "at least 1")

    @property
    def member(self) -> MAP:
        """The method of each member."""
        return MAP(**{field.name: getattr(self, field.name) for field in fields(MAP)})

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> EnsembleState:
        """Members at new initial weights, or at samples of the prior.

        Raises:
            InputError: a posterior ball has no Gaussian prior.
        """
        space, members, gaussian = problem.space, [], self.metric(problem, prior)
        for own in range(seed * self.members, (seed + 1) * self.members):
            start = fresh_weights(space, own) if prior is None else prior.sample(1, own)[0]
            start = start.to(space.vector())
            around = Point(start) if gaussian is None else replace(gaussian, mean=start)
            start_at = Posterior(space, around)
            members.append(self.member.init(problem, prior=start_at, seed=own))
        return EnsembleState(**new_state(problem, seed), members=members)

    def step(self, state: EnsembleState, batch: Batch) -> EnsembleState:
        """One step of every member on this batch; in ``fit`` each member has its own batches."""
        for member in state.members:
            self.member.step(member, batch)
        state.steps_done += 1
        state.last = {"loss": torch.stack([m.last["loss"] for m in state.members]).mean()}
        return state

    def posterior(self, state: EnsembleState) -> Posterior:
        """The members' weights."""
        weights = torch.stack([member.mean for member in state.members])
        return Posterior(state.problem.space, Samples(weights), method=self.name)

    def _epoch(
        self,
        state: EnsembleState,
        train: Data,
        after_step: Callable[[EnsembleState], None] | None = None,
    ) -> Record:
        state.steps_done += state.problem.steps_per_epoch
        return _mean([self.member._epoch(member, train) for member in state.members])

    def _validate(self, state: EnsembleState, validation: Data) -> Record:
        return _mean([self.member._validate(member, validation) for member in state.members])


def _mean(records: list[Record]) -> Record:
    return {name: sum(record[name] for record in records) / len(records) for name in records[0]}
