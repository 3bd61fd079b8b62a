"""The problem that a method optimises, and its state: shared by the loop and the methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.autograd.settings import first_derivatives, gradient_of
from landscape.errors import InputError
from landscape.methods.rest import JointSpace, Rest
from landscape.objective.batches import Batch, batch_size, examples_in, take_batch
from landscape.objective.losses import Criterion, Loss
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Posterior
from landscape.runtime import distributed
from landscape.tasks.augment import Augment


@dataclass(frozen=True)
class Problem:
    """A network's mean loss over ``examples`` training examples: the objective of a method.

    Attributes:
        space: The network's inferred parameters.
        loss: The loss; see ``losses.Criterion``.
        examples: N, the size of the training set; it weighs prior against data.
        steps: Number of planned optimiser steps, for the learning-rate schedule.
        steps_per_epoch: Number of steps in one pass over the training set.
        micro_batch: Number of examples in one pass of the network; 0 for a whole batch.
        bfloat16: Whether the network computes in bfloat16 (autocast). Weights, gradients and
            perturbations keep their type.
        augment: Random change of the inputs of every batch; see ``Task``. The loop calls it.
        joint: The inferred parameters together with those that SGD trains beside them; ``None`` if
            the others are frozen.
    """

    space: ParameterSpace
    loss: Loss
    examples: int
    steps: int
    steps_per_epoch: int = 1
    micro_batch: int = 0
    bfloat16: bool = False
    augment: Augment | None = None
    joint: JointSpace | None = None

    @cached_property
    def criterion(self) -> Criterion:
        """The loss as sums over batches."""
        return Criterion(self.loss)

    def __post_init__(self) -> None:
        if min(self.examples, self.steps, self.steps_per_epoch) < 1:
            raise InputError(
                f"a problem needs at least one example and one step, not {self.examples} examples, "
                f"{self.steps} steps, {self.steps_per_epoch} steps an epoch"
            )


@dataclass(kw_only=True)
class State(ABC):
    """The state of a training; ``step`` changes it in place and returns it.

    Attributes:
        problem: The problem being optimised.
        seed: Seed of the method's noise, and of dropout at every step.
        generator: Generator of the method's own noise, on the parameters' device.
        order: Generator of the order of the data, on the CPU.
        buffers: The network's running statistics during training.
        steps_done: Number of optimiser steps taken.
        last: Tensors about the last step: ``loss``, and other reports of the method.
        rest: The parameters that SGD trains beside the inferred ones; ``None`` if they are frozen.
    """

    problem: Problem
    seed: int
    generator: torch.Generator
    order: torch.Generator
    buffers: dict[str, Tensor]
    steps_done: int = 0
    last: dict[str, Tensor] = field(default_factory=dict)
    rest: Rest | None = None

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The centre of the posterior so far, shape (P,)."""

    @property
    def space(self) -> ParameterSpace:
        """The inferred parameters, in a network with the rest that belongs to ``mean``."""
        joint, rest = self.problem.joint, self.rest
        if joint is None or rest is None:
            return self.problem.space
        return joint.with_rest(rest.mean)

    @property
    def centre(self) -> tuple[ParameterSpace, Tensor]:
        """A space of all trained parameters, and the vector of ``mean`` and its rest there."""
        joint, rest = self.problem.joint, self.rest
        if joint is None or rest is None:
            return self.problem.space, self.mean
        return joint.space, joint.join(self.mean, rest.mean)

    @property
    def present(self) -> tuple[ParameterSpace, Tensor]:
        """As ``centre``, at the weights of the last step where a method also has an average."""
        joint, rest, w = self.problem.joint, self.rest, getattr(self, "weights", self.mean)
        if joint is None or rest is None:
            return self.problem.space, w
        return joint.space, joint.join(w, rest.values)

    def keep_rest(self) -> None:
        """Take in the rest that belongs to a snapshot or a sample of the inferred parameters."""
        if self.rest is not None:
            self.rest.keep()

    def loss_and_gradient(
        self, w: Tensor, batch: Batch, *, update_statistics: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Mean loss of a batch at w in training mode, and its gradient by w, shape (P,).

        Two calls in one step see the same dropout. A call updates running statistics only with
        ``update_statistics``; the perturbed pass of a two-pass method must not. Under
        ``torch.distributed`` each process computes its share of the batch, with its own dropout,
        and all get the result of the whole batch.

        The same pass gives the gradient by the rest, if SGD trains it. That of a step's last pass,
        which the method applies, moves the rest.
        """
        problem, space = self.problem, self.problem.space
        joint, rest = problem.joint, self.rest
        if joint is not None and rest is not None:
            space, w = joint.space, joint.join(w, rest.values)
        buffers = self.buffers
        if not update_statistics:
            buffers = {name: buffer.clone() for name, buffer in buffers.items()}
        leaf = w.detach().requires_grad_()
        criterion = problem.criterion
        weight = criterion.weight(*batch)
        if isinstance(weight, Tensor):  # in a batch where no label counts, everything is zero
            weight = torch.where(weight > 0, weight, 1).to(space.device)
        loss, gradient = w.new_zeros(()), torch.zeros_like(w)
        # Dropout draws from the global generator.
        with (
            first_derivatives(),
            seeded(space.device, _mixed(self.seed, self.steps_done, distributed.rank())),
            space.at(leaf, buffers, training=True) as network,
        ):
            for inputs, targets in _parts(batch, problem.micro_batch):
                with torch.autocast(space.device.type, torch.bfloat16, enabled=problem.bfloat16):
                    outputs = network(inputs)
                    share = criterion(outputs, space.move(targets), inputs)[0] / weight
                loss = loss + share.detach()
                gradient = gradient + gradient_of(share, leaf)
        if distributed.count() > 1:
            distributed.all_reduce(gradient)
            distributed.all_reduce(loss)
            if update_statistics:
                _average(buffers)
        if joint is not None and rest is not None:
            gradient, rest.gradient = joint.divide(gradient)
        return loss, gradient

    def loss_and_gradients(
        self, places: Iterable[Tensor], batch: Batch, *, update_statistics: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """The mean over several weights (P,) of a batch's loss, and the gradient at each.

        As ``loss_and_gradient`` at each place. All see the same dropout; only the first pass
        updates running statistics. The rest gets the mean of its gradients.
        """
        losses, gradients, of_rest = [], [], []
        for index, w in enumerate(places):
            loss, gradient = self.loss_and_gradient(
                w, batch, update_statistics=update_statistics and not index
            )
            losses.append(loss)
            gradients.append(gradient)
            if self.rest is not None and self.rest.gradient is not None:
                of_rest.append(self.rest.gradient)
        if self.rest is not None:
            self.rest.gradient = torch.stack(of_rest).mean(0)
        return torch.stack(losses).mean(), gradients


def new_state(problem: Problem, seed: int) -> Mapping[str, Any]:
    """The fields that every ``State`` starts with."""
    return {
        "problem": problem,
        "seed": seed,
        "generator": torch.Generator(problem.space.device).manual_seed(seed),
        "order": torch.Generator().manual_seed(seed),
        "buffers": problem.space.buffers(),
        "rest": None if problem.joint is None else problem.joint.start(),
    }


def starting_weights(problem: Problem, prior: Posterior | None) -> Tensor:
    """A copy of the prior's mean, or of the model's own weights, shape (P,)."""
    own = problem.space.vector()
    return own if prior is None else prior.mean.to(own, copy=True)


def descend(
    weights: Tensor, velocity: Tensor, gradient: Tensor, *, rate: float, momentum: float
) -> None:
    """One step of gradient descent with momentum, in place, as ``torch.optim.SGD`` takes it.

    That class does not serve here: its first use imports torch's compiler, which takes as long as
    all the rest of torch.
    """
    velocity.mul_(momentum).add_(gradient)
    weights.sub_(velocity, alpha=rate)


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed the global generators, which are the user's, and restore them afterwards."""
    is_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if is_cuda else []):
        # torch.manual_seed seeds all kinds of devices, in a third of a small network's step.
        torch.default_generator.manual_seed(seed % (1 << 63))
        if is_cuda:
            torch.cuda.manual_seed(seed % (1 << 63))
        yield


def _mixed(*numbers: int) -> int:
    """A seed from several numbers, practically independent of the seed of other numbers."""
    entropy = [number % (1 << 64) for number in numbers]  # SeedSequence takes no negative numbers
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


def _parts(batch: Batch, micro_batch: int) -> Iterator[Batch]:
    """This process's share of a batch, ``micro_batch`` examples at a time."""
    size = batch_size(*batch)
    if distributed.count() == 1 and not 0 < micro_batch < size:
        yield batch
        return
    if examples_in(batch) is None:
        raise InputError(
            "the inputs are not tensors with one row an example, so they cannot be divided"
        )
    rows = torch.arange(size)[distributed.rank() :: distributed.count()]
    for part in torch.split(rows, micro_batch or max(1, len(rows))):
        if len(part):
            yield take_batch(batch, part, size)


def _average(buffers: dict[str, Tensor]) -> None:
    """Running statistics as the mean over processes."""
    for buffer in buffers.values():
        if buffer.is_floating_point():
            distributed.all_reduce(buffer)
            buffer /= distributed.count()
