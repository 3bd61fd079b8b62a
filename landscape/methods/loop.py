"""The one training loop that every method shares, and the pieces it drives.

A method is a dataclass of its settings with three steps that a user's own loop can call as well, in
this order::

    problem = Problem(space, loss="cross_entropy", examples=len(train), steps=1000)
    state = method.init(problem, prior=prior, seed=0)
    for inputs, targets in batches:
        state = method.step(state, (inputs, targets))
    posterior = method.posterior(state)
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from landscape.devices import choose_device
from landscape.errors import InputError, TrainingError
from landscape.objective import Batch, Loss, Objective, batch_size, summed_loss
from landscape.parameters import Choice, ParameterSpace
from landscape.posteriors import Posterior
from landscape.tasks import Data, Task

Record = dict[str, float]
Progress = Callable[[int, int, Record], None]


@dataclass(frozen=True)
class Problem:
    """What a method optimises: a network's mean loss over ``examples`` training examples.

    Attributes:
        space: The network's random parameters.
        loss: See ``objective.summed_loss``.
        examples: N, the size of the training set: it weighs prior against data.
        steps: Number of optimiser steps planned, for the learning-rate schedule.
        steps_per_epoch: Steps in one pass over the training set.
    """

    space: ParameterSpace
    loss: Loss
    examples: int
    steps: int
    steps_per_epoch: int = 1

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
        buffers: The network's running statistics as training goes on.
        steps_done: Optimiser steps taken.
        last: Tensors about the last step: ``loss``, and what else the method reports.
    """

    problem: Problem
    seed: int
    generator: torch.Generator
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
        says so: the perturbed pass of a two-pass method must not touch them.
        """
        space = self.problem.space
        buffers = (
            self.buffers
            if update_statistics
            else {name: buffer.clone() for name, buffer in self.buffers.items()}
        )
        leaf = w.detach().requires_grad_()
        inputs, targets = batch
        # Dropout draws from the global generator, which is the user's: it is left as it was.
        devices = [space.device] if space.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed((self.seed * 1_000_003 + self.steps_done) % (1 << 63))
            outputs = space.call(leaf, inputs, buffers, training=True)
        loss = summed_loss(self.problem.loss)(outputs, space.move(targets)) / batch_size(targets)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), gradient


S = TypeVar("S", bound=State)


@dataclass(frozen=True, kw_only=True)
class Method(ABC, Generic[S]):
    """Settings that every method has, and ``fit``.

    Attributes:
        epochs: Passes over the training set.
        batch_size: Examples a step.
        learning_rate: At its highest.
        momentum: Of stochastic gradient descent.
        warmup: Share of the steps over which the learning rate rises linearly; then it falls to
            zero along a cosine.
    """

    epochs: int = 100
    batch_size: int = 50
    learning_rate: float = 0.02
    momentum: float = 0.9
    warmup: float = 0.05

    name: ClassVar[str]

    def __post_init__(self) -> None:
        self._require(self.epochs >= 1, "epochs", "at least 1")
        self._require(self.batch_size >= 1, "batch_size", "at least 1")
        self._require(0 < self.learning_rate < math.inf, "learning_rate", "positive and finite")
        self._require(0 <= self.momentum < 1, "momentum", "in [0, 1)")
        self._require(0 <= self.warmup < 1, "warmup", "in [0, 1)")

    @abstractmethod
    def init(self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0) -> S:
        """The state before the first step."""

    @abstractmethod
    def step(self, state: S, batch: Batch) -> S:
        """One optimiser step on one batch; ``state`` is changed in place and returned."""

    @abstractmethod
    def posterior(self, state: S) -> Posterior:
        """The posterior as it stands."""

    def fit(
        self,
        model: nn.Module,
        task: Task,
        *,
        prior: Posterior | None = None,
        random: Choice = None,
        seed: int = 0,
        device: str = "auto",
        progress: Progress | None = None,
    ) -> Posterior:
        """Train on ``task.train``; the model given is not changed.

        Args:
            model: Any network for the task; training starts from its weights, or from the prior's
                mean if there is a prior.
            task: Training and validation data. The test set is not touched.
            prior: A posterior over the same parameters; each method says what it makes of it.
            random: Which parameters are trained; see ``ParameterSpace``.
            seed: Governs the order of the data, the method's noise and dropout.
            device: ``"auto"`` (CUDA where there is one), or a name that torch knows.
            progress: Called after each epoch with (epoch, epochs, record of the epoch).

        Returns:
            The posterior, with its per-epoch history.

        Raises:
            InputError: settings, prior, data and model do not fit each other.
            TrainingError: a loss is not finite; the line names the epoch.
        """
        where = choose_device(device)
        if len(task.train) == 0:
            raise InputError(f"task '{task.name}' has no training example")
        space = ParameterSpace(model, random, device=where)
        if prior is not None:
            prior.check_same_space(space)
        train, validation = task.train.to(where), task.validation.to(where)
        _check_labels(space, train, task)
        per_epoch = math.ceil(len(train) / self.batch_size)
        problem = Problem(space, task.loss, len(train), self.epochs * per_epoch, per_epoch)
        state = self.init(problem, prior=prior, seed=seed)
        order = torch.Generator().manual_seed(seed)
        history: dict[str, list[float]] = {}
        begun = time.perf_counter()
        for epoch in range(1, self.epochs + 1):
            try:
                record = self._epoch(state, train.shuffled(self.batch_size, order))
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # of what is not finite
                record = {"train_loss": math.nan}
            if not math.isfinite(record["train_loss"]):
                raise TrainingError(
                    f"{self.name}: training diverged in epoch {epoch} of {self.epochs}: loss or "
                    f"weights are not finite; lower the learning rate ({self.learning_rate})"
                )
            record |= self._validate(state, validation) if len(validation) else {}
            record |= {
                "epoch": epoch,
                "learning_rate": self.rate(state.steps_done - 1, problem.steps),
                "seconds": time.perf_counter() - begun,
            }
            for name, value in record.items():
                history.setdefault(name, []).append(value)
            if progress is not None:
                progress(epoch, self.epochs, record)
        return replace(
            self.posterior(state), history=history, settings=asdict(self), calibration=train
        )

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step: linear warm-up, then a cosine to zero."""
        warm = math.ceil(self.warmup * steps)
        if step < warm:
            return self.learning_rate * (step + 1) / (warm + 1)
        share = (step - warm) / max(1, steps - warm)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def _epoch(self, state: S, batches: Any) -> Record:
        totals: dict[str, Tensor] = {}
        examples = 0
        for batch in batches:
            self.step(state, batch)
            size = batch_size(batch[1])
            examples += size
            for name, value in state.last.items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + size * value
        record = {name: float(total) / examples for name, total in totals.items()}
        return {"train_loss": record.pop("loss"), **record}

    def _validate(self, state: S, validation: Data) -> Record:
        problem = state.problem
        objective = Objective(problem.space, validation, problem.loss, buffers=state.buffers)
        found = objective.evaluate(state.mean)
        return {"validation_loss": found.loss, "validation_accuracy": found.accuracy}

    def _require(self, holds: bool, setting: str, rule: str) -> None:
        if not holds:
            raise InputError(f"{self.name}: {setting} must be {rule}, not {getattr(self, setting)}")


def new_state(problem: Problem, seed: int) -> Mapping[str, Any]:
    """The fields that every ``State`` starts with."""
    return {
        "problem": problem,
        "seed": seed,
        "generator": torch.Generator(problem.space.device).manual_seed(seed),
        "buffers": problem.space.buffers(),
    }


def descend(optimizer: torch.optim.Optimizer, gradients: list[Tensor], rate: float) -> None:
    """One step of ``optimizer`` along ``gradients``, one for each of its parameters."""
    (group,) = optimizer.param_groups
    group["lr"] = rate
    for parameter, gradient in zip(group["params"], gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()


def _check_labels(space: ParameterSpace, train: Data, task: Task) -> None:
    """Find a network that does not fit the data before any training."""
    if task.loss != "cross_entropy":
        return
    inputs, targets = train.inputs[:2], train.targets
    try:
        with torch.no_grad():
            outputs = space.call(space.vector(), inputs)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the model does not take inputs of shape {tuple(inputs.shape[1:])}: {reason}"
        ) from error
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        raise InputError("cross-entropy needs a model that returns logits (B, C)")
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= outputs.shape[1]:
        raise InputError(
            f"labels run from {low} to {high}, but the model has {outputs.shape[1]} outputs"
        )
