"""Deep ensembles: networks trained alike from different starts (arXiv 1612.01474)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscape.methods.fresh_weights import fresh_weights
from landscape.methods.loop import Problem, Record, State, new_state
from landscape.methods.map import MAPState
from landscape.methods.point_estimate import FromPointEstimate
from landscape.objective.batches import Batch
from landscape.posteriors import Point, Posterior, Samples
from landscape.tasks import Data


@dataclass(kw_only=True)
class EnsembleState(State):
    """The members' own states, each with its seed, order of the data and running statistics."""

    members: list[MAPState]

    @property
    def mean(self) -> Tensor:
        """The mean of the members' weights: no good network, but finite while all of them are."""
        return torch.stack([member.mean for member in self.members]).mean(0)


@dataclass(frozen=True, kw_only=True)
class Ensemble(FromPointEstimate[EnsembleState]):
    """M point estimates, each from weights, an order of the data and noise of its own.

    The posterior is their empirical distribution. Without a prior each member starts at initial
    weights drawn anew: those of the model given are not used (see ``fresh_weights``). A ``prior``
    given to ``fit`` only says where members start: each at a draw of its own from it. Losses and
    accuracies in the history are means over members, of each by itself.

    Attributes:
        members: M.
    """

    members: int = 5

    name: ClassVar[str] = "ensemble"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.members >= 1, "members", "at least 1")

    def init(
        self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0
    ) -> EnsembleState:
        """Members at fresh weights, or at draws from the prior."""
        space, members = problem.space, []
        for own in range(seed * self.members, (seed + 1) * self.members):
            start = fresh_weights(space, own) if prior is None else prior.sample(1, own)[0]
            here = Posterior(space, Point(start.to(space.vector())))
            members.append(self.estimator.init(problem, prior=here, seed=own))
        return EnsembleState(**new_state(problem, seed), members=members)

    def step(self, state: EnsembleState, batch: Batch) -> EnsembleState:
        """One step of every member on this batch; ``fit`` gives each its own batches instead."""
        for member in state.members:
            self.estimator.step(member, batch)
        state.steps_done += 1
        state.last = {"loss": torch.stack([m.last["loss"] for m in state.members]).mean()}
        return state

    def posterior(self, state: EnsembleState) -> Posterior:
        """The members' weights."""
        weights = torch.stack([member.mean for member in state.members])
        return Posterior(state.problem.space, Samples(weights), method=self.name)

    def _epoch(self, state: EnsembleState, train: Data) -> Record:
        state.steps_done += state.problem.steps_per_epoch
        return _mean([self.estimator._epoch(member, train) for member in state.members])

    def _validate(self, state: EnsembleState, validation: Data) -> Record:
        return _mean([self.estimator._validate(member, validation) for member in state.members])


def _mean(records: list[Record]) -> Record:
    return {name: sum(each[name] for each in records) / len(records) for name in records[0]}
