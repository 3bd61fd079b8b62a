"""The training loop that all methods share.

A method is a dataclass of its settings with three functions. A user's own loop can also call them,
in this order::

    problem = Problem(space, loss="cross_entropy", examples=len(train), steps=1000)
    state = method.init(problem, prior=prior, seed=0)
    for inputs, targets in train.shuffled(self.batch_size, state.order):
        state = method.step(state, (inputs, targets))
    posterior = method.posterior(state)
"""

from __future__ import annotations

import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from landscape.autograd.settings import differentiable
from landscape.errors import InputError, TrainingError
from landscape.methods.checkpoint import Checkpoint, digest, identity_digest
from landscape.methods.recorder import Recorder
from landscape.methods.rest import DETERMINISTIC, JointSpace
from landscape.methods.state import Problem, State, descend, new_state
from landscape.objective.batches import Batch
from landscape.objective.checks import check_depends, check_division, check_loss, try_network
from landscape.objective.mean_loss import Checked
from landscape.objective.objective import Objective
from landscape.objective.parameters import Choice, ParameterSpace
from landscape.posteriors import Distribution, Posterior
from landscape.runtime import distributed
from landscape.runtime.devices import choose_device
from landscape.runtime.progress import reporter
from landscape.tasks import Data, Task

__all__ = ["Method", "Problem", "Progress", "Record", "State", "descend", "new_state"]

Record = dict[str, float]
Progress = Callable[[int, int, Record], None]


PRECISIONS = ("float32", "bfloat16")
_EARLIER = {"map": "none", "sam": "euclidean", "fsam": "data-fisher", "identity": "euclidean"}

S = TypeVar("S", bound=State)


@dataclass
class _Training:
    """The progress of a training; a checkpoint holds it together with the state."""

    state: Any
    history: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    best: Distribution | None = None
    best_rest: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Method(ABC, Generic[S]):
    """The settings of every method, and ``fit``.

    Attributes:
        epochs: Number of passes over the training set.
        batch_size: Number of examples a step.
        learning_rate: Highest learning rate.
        momentum: Momentum of stochastic gradient descent.
        warmup: Share of the steps in which the learning rate rises linearly; then it falls to zero
            along a cosine.
        patience: Number of epochs without a lower validation loss after which training stops and
            returns the posterior of the best epoch; 0 to train to the end.
        micro_batch: Number of examples in one pass of the network, to save memory; 0 for a whole
            batch.
        precision: ``"float32"``, the weights' own; or ``"bfloat16"`` inside the network.
    """

    epochs: int = 100
    batch_size: int = 50
    learning_rate: float = 0.02
    momentum: float = 0.9
    warmup: float = 0.05
    patience: int = 0
    micro_batch: int = 0
    precision: str = "float32"

    name: ClassVar[str]
    can_stop_early: ClassVar[bool] = True
    trains_rest: ClassVar[bool] = False
    """Whether SGD can train the parameters that are not inferred at the same time."""
    can_record: ClassVar[bool] = True
    """Whether a training is one trajectory."""

    def __post_init__(self) -> None:
        self._require(self.epochs >= 1, "epochs", "at least 1")
        self._require(self.batch_size >= 1, "batch_size", "at least 1")
        self._require(0 < self.learning_rate < math.inf, "learning_rate", "positive and finite")
        self._require(0 <= self.momentum < 1, "momentum", "in [0, 1)")
        self._require(0 <= self.warmup < 1, "warmup", "in [0, 1)")
        allowed = self.patience == 0 or self.can_stop_early
        self._require(allowed, "patience", "0: this method needs its whole trajectory")
        self._require(self.patience >= 0, "patience", "at least 0")
        self._require(self.micro_batch >= 0, "micro_batch", "at least 0")
        self._require(self.precision in PRECISIONS, "precision", f"one of {', '.join(PRECISIONS)}")

    @abstractmethod
    def init(self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0) -> S:
        """The state before the first step."""

    @abstractmethod
    def step(self, state: S, batch: Batch) -> S:
        """One optimiser step on one batch; ``state`` is changed in place and returned."""

    @abstractmethod
    def posterior(self, state: S) -> Posterior:
        """The posterior at the present state."""

    @classmethod
    def upgrade(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that an earlier version stored, under today's names.

        A setting that did not exist then has its default value. The ball was ``base`` of Laplace
        and ensembles, and ``fisher`` and ``direction`` of FP-BMA. FSAM's ``eta`` is
        ``fisher_weight``.
        """
        stored, known = dict(settings), {setting.name: setting.default for setting in fields(cls)}
        if "eta" in stored and "eta" not in known:
            stored["fisher_weight"] = stored.pop("eta")
        metric = stored.pop("base", None) or stored.pop("fisher", None)
        if metric:
            stored["ball"] = _EARLIER.get(metric, f"posterior-{metric}")
            if stored.pop("direction", "steepest") == "random":  # today of the exact metric only
                stored["ball"] = "random" if metric == "exact" else f"random {metric}"
        return known | stored

    @differentiable()
    def fit(
        self,
        model: nn.Module,
        task: Task,
        *,
        prior: Posterior | None = None,
        parameters: Choice = None,
        deterministic: str = "freeze",
        seed: int = 0,
        device: str = "auto",
        checkpoint: str | os.PathLike[str] | None = None,
        recorder: Recorder | None = None,
        progress: bool | Progress | None = None,
    ) -> Posterior:
        """Train on ``task.train``; the given model is not changed.

        Args:
            model: Any network for the task. Training starts at its weights, or at the prior's mean
                if there is a prior.
            task: Training and validation data. The test set is not used.
            prior: A posterior over the same parameters; each method describes its use.
            parameters: Choice of the inferred parameters; see ``ParameterSpace``.
            deterministic: ``"freeze"``, the other parameters keep the model's values; or
                ``"train"``, SGD trains those that require a gradient (see ``advance``). The
                posterior's network then has them as they are at its mean.
            seed: Seed of the order of the data, the method's noise and dropout.
            device: ``"auto"`` (CUDA if there is a GPU), or a device name of torch.
            checkpoint: A file for the state of the training, written after an epoch if that takes
                little of the time. If it exists, training continues from it to the same final
                weights: bit by bit on the CPU.
            recorder: A recorder that keeps the weights along the training: those of the last step
                (MAP, SWAG, chains), or the posterior's mean (variational methods).
            progress: Whether to show progress; by default in a terminal or a notebook only. Or a
                function that gets (epoch, epochs, record of the epoch) after each epoch.

        Returns:
            The posterior, with its per-epoch history.

        Raises:
            InputError: settings, prior, data and model do not fit each other, or the checkpoint
                belongs to another training.
            TrainingError: a loss is not finite; the line names the epoch.
            LandscapeError: the checkpoint could not be written.
        """
        where = choose_device(device)
        if len(task.train) == 0:
            raise InputError(f"task '{task.name}' has no training example")
        space = ParameterSpace(model, parameters, device=where)
        joint = self.joint_space(model, space, deterministic)
        if prior is not None:
            prior.check_same_space(space)
        train, validation = task.train.to(where), task.validation.to(where)
        if self.patience and not len(validation):
            raise InputError(f"{self.name}: patience needs validation data, and there is none")
        per_epoch = math.ceil(len(train) / self.batch_size)
        problem = Problem(
            space,
            task.loss,
            len(train),
            self.epochs * per_epoch,
            per_epoch,
            self.micro_batch,
            self.precision == "bfloat16",
            task.augment,
            joint,
        )
        self._check_data(problem, train, validation)
        training = _Training(self.init(problem, prior=prior, seed=seed))
        identity = self.identity(space, task, prior, seed, joint)
        path = None if checkpoint is None else Path(checkpoint)
        saved = Checkpoint(path, identity, upgrade=self.upgrade)
        saved.restore(training, where)
        record_at = self._recording(training, recorder, identity_digest(identity))
        report = reporter(progress, f"{self.name}: training")
        begun = time.perf_counter() - training.seconds
        while training.epoch < self.epochs and not self._has_stalled(training):
            record = self._advance(training, train, validation, saved, record_at)
            training.seconds = record["seconds"] = time.perf_counter() - begun
            for name, value in record.items():
                training.history.setdefault(name, []).append(value)
            saved.save(training, training.epoch, last=training.epoch == self.epochs)
            if report is not None:
                report(training.epoch, self.epochs, record)
        record_at(training.state, last=True)
        posterior, rest = self.posterior(training.state), training.state.rest
        if training.best is not None:
            posterior = replace(posterior, distribution=training.best)
        if joint is not None:  # also of a method whose posterior is not in ``state.space``
            values = rest.mean if training.best_rest is None else training.best_rest
            posterior = replace(posterior, space=joint.with_rest(values))
        return replace(
            posterior, history=training.history, settings=asdict(self), calibration=train
        )

    def joint_space(
        self, model: nn.Module, space: ParameterSpace, deterministic: str
    ) -> JointSpace | None:
        """What SGD trains: the inferred parameters and the rest, or ``None`` for no rest.

        Args:
            model: The network.
            space: The space of its inferred parameters.
            deterministic: One of ``DETERMINISTIC``.

        Raises:
            InputError: the method trains no rest, or there is none that requires a gradient.
        """
        if deterministic not in DETERMINISTIC:
            raise InputError(
                f"deterministic must be one of {', '.join(DETERMINISTIC)}, not '{deterministic}'"
            )
        if deterministic == "freeze":
            return None
        if not self.trains_rest:
            raise InputError(
                f"{self.name} trains the parameters that it infers and no others: leave "
                "deterministic at 'freeze'"
            )
        if len(space.names) == len(list(space.module.parameters())):
            return None
        return JointSpace(model, space)

    def identity(
        self,
        space: ParameterSpace,
        task: Task,
        prior: Posterior | None,
        seed: int,
        joint: JointSpace | None = None,
    ) -> dict[str, Any]:
        """Everything that the final weights depend on, as plain JSON.

        Args:
            space: The parameters, with their initial values.
            task: The task; see ``fit``.
            prior: The prior; see ``fit``.
            seed: The seed; see ``fit``.
            joint: The inferred parameters and the rest, if SGD trains a rest.
        """
        trained = space if joint is None else joint.space
        names: Any = space.signature
        if joint is not None:
            names = {"deterministic": "train", "inferred": names, "trained": trained.signature}
        held = set(trained.names)
        frozen = [p for name, p in trained.module.named_parameters() if name not in held]
        return {
            "method": self.name,
            **asdict(self),
            "seed": seed,
            "data": task.fingerprint(),
            "augmentation": getattr(task.augment, "__qualname__", repr(task.augment)),
            "parameters": names,
            "initial weights": digest(trained.vector(), *frozen),
            "prior": digest(*prior.distribution.tensors().values()) if prior else None,
        }

    def _recording(
        self, training: _Training, recorder: Recorder | None, identity: str
    ) -> Callable[..., None]:
        """A function of the state that is called after each step, and once more at the end."""
        if recorder is None or distributed.rank() != 0:
            return lambda state, last=False: None
        if not self.can_record:
            raise InputError(
                f"{self.name}: each of its networks has a trajectory of its own: record 'map'"
            )

        def record_at(state: S, last: bool = False) -> None:
            per_epoch = state.problem.steps_per_epoch if recorder.unit == "epochs" else 1
            count, within = divmod(state.steps_done, per_epoch)
            if not within and (last or recorder.is_due(count)):
                space, w = state.present
                with space.at(w, state.buffers):  # tied weights have several names
                    recorder(count, space.module, last=last)

        per_epoch = training.state.problem.steps_per_epoch if recorder.unit == "epochs" else 1
        recorder.begin(training.state.steps_done // per_epoch, identity)
        record_at(training.state)
        return record_at

    def _advance(
        self,
        training: _Training,
        train: Data,
        validation: Data,
        saved: Checkpoint,
        record_at: Callable[..., None],
    ) -> Record:
        """One epoch."""
        state = training.state
        try:
            record = self._epoch(state, train, record_at)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # a matrix is not finite
            record = {"train_loss": math.nan}
        if not (math.isfinite(record["train_loss"]) and bool(state.centre[1].isfinite().all())):
            raise TrainingError(
                f"{self.name}: training diverged in epoch {training.epoch + 1} of {self.epochs}: "
                f"loss or weights are not finite; lower the learning rate ({self.learning_rate})"
                + (f"; epoch {saved.epoch} is in {saved.path}" if saved.epoch else "")
            )
        training.epoch += 1
        record |= self._validate(state, validation) if len(validation) else {}
        if self.patience and record["validation_loss"] < training.best_loss:
            training.best_epoch, training.best_loss = training.epoch, record["validation_loss"]
            training.best = self.posterior(state).distribution
            training.best_rest = None if state.rest is None else state.rest.mean.clone()
        rate = self.rate(state.steps_done - 1, state.problem.steps)
        return record | {"epoch": training.epoch, "learning_rate": rate}

    def _has_stalled(self, training: _Training) -> bool:
        return 0 < self.patience <= training.epoch - training.best_epoch

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step: linear warm-up, then a cosine to zero."""
        warm = math.ceil(self.warmup * steps)
        if step < warm:
            return self.learning_rate * (step + 1) / (warm + 1)
        share = (step - warm) / max(1, steps - warm)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def rest_decay(self, problem: Problem) -> float:
        """Weight decay of the rest: that of the method, or 0 if it has none."""
        return float(getattr(self, "weight_decay", 0.0))

    def advance(self, state: State) -> None:
        """Count a step; if SGD trains the rest, one step of it along the last pass's gradient.

        So the rest moves by SGD with the method's learning rate, momentum and weight decay, along
        the gradient of the pass that the method applies: with a ball, the one at its worst place.
        Both gradients are then those of one objective, the loss in the worst place.
        """
        if state.rest is not None:
            rate = self.rate(state.steps_done, state.problem.steps)
            state.rest.descend(rate, self.momentum, self.rest_decay(state.problem))
        state.steps_done += 1

    def _epoch(
        self, state: S, train: Data, after_step: Callable[[S], None] | None = None
    ) -> Record:
        totals: dict[str, Tensor] = {}
        counted: int | Tensor = 0
        criterion = state.problem.criterion
        augment = state.problem.augment
        for inputs, targets in train.shuffled(self.batch_size, state.order):
            changed = inputs if augment is None else augment(inputs, state.generator)
            self.step(state, (changed, targets))
            if after_step is not None:
                after_step(state)
            weight = criterion.weight(inputs, targets)
            counted = counted + weight
            for name, value in state.last.items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + weight * value
        record = {name: float(total) / float(counted) for name, total in totals.items()}
        return {"train_loss": record.pop("loss"), **record}

    def _validate(self, state: S, validation: Data) -> Record:
        space, w = state.centre
        objective = Objective(space, validation, state.problem.loss, buffers=state.buffers)
        objective.checked = Checked(is_evaluated=True)  # the training data were
        result = objective.evaluate(w)
        return {"validation_loss": result.loss, "validation_accuracy": result.accuracy}

    def _check_data(self, problem: Problem, train: Data, validation: Data) -> None:
        """Check before training that network, loss and data fit each other."""
        space, criterion = problem.space, problem.criterion
        if criterion.is_of_batch:
            raise InputError(
                f"{self.name}: a loss of whole batches (batch_loss=True) has no mean over examples "
                "to train on; the batches of a training are drawn anew in each epoch"
            )
        with torch.no_grad():
            trial = try_network(space, criterion, (train.inputs, train.targets))
            check_depends(space, trial)
            criterion.check_labels(trial.outputs, train.targets)
            check_loss(criterion, space, trial)
            is_one_batch = (
                len(train) <= self.batch_size
                and len(validation) <= validation.batch_size
                and not self.micro_batch
                and distributed.count() == 1
            )
            if is_one_batch:
                return

            def total(batch: Batch) -> Tensor:
                outputs, targets = batch
                return criterion.total(outputs, space.move(targets))[0]

            def total_of_network(batch: Batch) -> Tensor:
                outputs = space.predict(space.vector(), batch[0])
                return criterion(outputs, space.move(batch[1]), batch[0])[0]

            outputs = criterion.read(trial.outputs)
            if isinstance(outputs, list | tuple | Tensor) and not criterion.is_own:
                check_division(total, (outputs, trial.batch[1]))
            else:  # an output that cannot be divided, such as one with a loss
                check_division(total_of_network, trial.batch)

    def _require(self, holds: bool, setting: str, rule: str) -> None:
        if not holds:
            raise InputError(f"{self.name}: {setting} must be {rule}, not {getattr(self, setting)}")
