"""What a method optimises, and where it is: the pieces that the loop and the methods share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.autograd.settings import first_derivatives, gradient_of
from landscape.errors import InputError
from landscape.objective.batches import Batch, batch_size, examples_in, take_batch
from landscape.objective.losses import Criterion, Loss
from landscape.objective.parameters import ParameterSpace
from landscape.runtime import distributed
from landscape.tasks.augment import Augment


@dataclass(frozen=True)
class Problem:
    """What a method optimises: a network's mean loss over ``examples`` training examples.

    Attributes:
        space: The network's inferred parameters.
        loss: See ``losses.Criterion``.
        examples: N, the size of the training set: it weighs prior against data.
        steps: Number of optimiser steps planned, for the learning-rate schedule.
        steps_per_epoch: Steps in one pass over the training set.
        micro_batch: Examples that go through the network at a time; 0 for a whole batch.
        bfloat16: Whether the network computes in bfloat16 (autocast); weights, gradients and
            perturbations stay as they are.
        augment: Changes the inputs of every batch at random; see ``Task``. The loop calls it.
    """

    space: ParameterSpace
    loss: Loss
    examples: int
    steps: int
    steps_per_epoch: int = 1
    micro_batch: int = 0
    bfloat16: bool = False
    augment: Augment | None = None

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
    """Where training is; ``step`` changes it in place and returns it.

    Attributes:
        problem: What is being optimised.
        seed: Governs the noise of the method, and dropout step by step.
        generator: On the parameters' device; the method's own noise.
        order: On the CPU; the order of the data.
        buffers: The network's running statistics as training goes on.
        steps_done: Optimiser steps taken.
        last: Tensors about the last step: ``loss``, and what else the method reports.
    """

    problem: Problem
    seed: int
    generator: torch.Generator
    order: torch.Generator
    buffers: dict[str, Tensor]
    steps_done: int = 0
    last: dict[str, Tensor] = field(default_factory=dict)

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The centre of the posterior so far, shape (P,)."""

    def loss_and_gradient(
        self, w: Tensor, batch: Batch, *, update_statistics: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Mean loss of a batch at w in training mode, and its gradient by w, shape (P,).

        Two calls in one step see the same dropout. Running statistics follow only the call that
        says so: the perturbed pass of a two-pass method must not touch them. Under
        ``torch.distributed`` each process takes its share of the batch, with dropout of its own,
        and all get the result for the whole.
        """
        problem, space = self.problem, self.problem.space
        buffers = self.buffers
        if not update_statistics:
            buffers = {name: buffer.clone() for name, buffer in buffers.items()}
        leaf = w.detach().requires_grad_()
        criterion = problem.criterion
        weight = criterion.weight(*batch)
        if isinstance(weight, Tensor):  # of a batch without a label that counts, all is zero
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
        return loss, gradient


def new_state(problem: Problem, seed: int) -> Mapping[str, Any]:
    """The fields that every ``State`` starts with."""
    return {
        "problem": problem,
        "seed": seed,
        "generator": torch.Generator(problem.space.device).manual_seed(seed),
        "order": torch.Generator().manual_seed(seed),
        "buffers": problem.space.buffers(),
    }


def descend(optimizer: torch.optim.Optimizer, gradients: list[Tensor], rate: float) -> None:
    """One step of ``optimizer`` along ``gradients``, one for each of its parameters."""
    (group,) = optimizer.param_groups
    group["lr"] = rate
    for parameter, gradient in zip(group["params"], gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed the global generators, which are the user's, and leave them as they were."""
    is_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if is_cuda else []):
        # torch.manual_seed seeds all devices there could be, at a third of a small network's step.
        torch.default_generator.manual_seed(seed % (1 << 63))
        if is_cuda:
            torch.cuda.manual_seed(seed % (1 << 63))
        yield


def _mixed(*numbers: int) -> int:
    """A seed made of several numbers, as good as independent of that of any others."""
    entropy = [number % (1 << 64) for number in numbers]  # it takes no negative ones
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


def _parts(batch: Batch, micro_batch: int) -> Iterator[Batch]:
    """This process's share of a batch, ``micro_batch`` examples at a time."""
    size = batch_size(*batch)
    if distributed.count() == 1 and not 0 < micro_batch < size:
        yield batch
        return
    if examples_in(batch) is None:
        raise InputError(
            "the inputs are no tensors with one row an example: they cannot be divided"
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
