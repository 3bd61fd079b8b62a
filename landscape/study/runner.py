"""The runner of a study: it trains what the study needs, each training only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from landscape import models, tasks, workflow
from landscape.errors import InputError, TrainingError
from landscape.posteriors import Posterior
from landscape.store import Run
from landscape.study import validation
from landscape.study.initialisation import Initialisation, initialise
from landscape.study.measures import (
    is_tempered,
    measure_curvature,
    measure_shifts,
    measure_tempered,
)
from landscape.study.plan import Budget, Training
from landscape.study.published import file_label, published
from landscape.study.run_files import RunFiles
from landscape.study.validation import TUNING
from landscape.tasks import Task

ProgressCallback = Callable[[int, int], Any]

PROBLEMS = ("digits", "mnist", "cifar10-jpeg", "cifar10-few-shot")
"""Names of the target tasks. Each of them has a source task."""

NETWORKS = {"convnet": "none", "resnet20": "group", "resnet18": "batch"}
"""Names of the networks, with their default normalisation."""

_FINE_TUNING_RATE = 0.002
"""SWAG's learning rate from published weights. The default rate would destroy these weights."""


@dataclass(frozen=True)
class Finished:
    """A finished training and its run file."""

    training: Training
    run: Run


@dataclass
class Runner:
    """Trains posteriors of one transfer task and keeps their run files in one folder.

    A training that is finished with the same settings is not repeated. A run file with other
    settings is replaced.

    Attributes:
        folder: Folder of the study.
        budget: Number of seeds, trials, epochs and samples.
        progress: Function that takes a label and returns a progress callback.
        problem: Name of the target task, one of ``PROBLEMS``. A folder holds one task.
        network: Name of the network, one of ``NETWORKS``. A folder holds one network.
        weights: File with the initial weights of the source network; ``None`` for random weights.
        device: Device for training and measuring.
    """

    folder: Path
    budget: Budget
    progress: Callable[[str], ProgressCallback]
    problem: str = PROBLEMS[0]
    network: str = "convnet"
    weights: Path | None = None
    device: str = "cpu"
    _sources: dict[str, Posterior] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.problem not in PROBLEMS:
            raise InputError(f"unknown task '{self.problem}'; known: {', '.join(PROBLEMS)}")
        if self.network not in NETWORKS:
            raise InputError(f"unknown model '{self.network}'; known: {', '.join(NETWORKS)}")
        requested = f"{self.problem} with {self.network}"
        if self.weights is not None:
            requested += f" from {file_label(self.weights)}"
        self.files = RunFiles(self.folder, requested, self.budget.samples, self.device)

    def task(self, seed: int) -> Task:
        """The target task for a seed, with its corrupted test sets."""
        settings = {} if self.budget.shots is None else {"shots": self.budget.shots}
        task = tasks.load(self.problem, seed=seed, **settings)
        return tasks.shift(task, severities=self.budget.severities)

    def source(self, seed: int, settings: dict[str, Any]) -> Posterior:
        """SWAG's posterior of the source task.

        Args:
            seed: Seed of the network and of training.
            settings: Values of ``rank`` and ``normalisation`` that differ from the defaults.
        """
        rank = settings.get("rank", 5)
        swag = {"epochs": self.budget.source_epochs, "rank": rank}
        if self.weights is not None:
            swag |= {"learning_rate": _FINE_TUNING_RATE, "swag_rate": _FINE_TUNING_RATE}
        normalisation = settings.get("normalisation", NETWORKS[self.network])
        name = f"source-{normalisation}-rank{rank}"
        training = Training(name, "swag", swag, seed, folder="sources")
        key = f"{training.name}-{seed}"
        if key not in self._sources:
            if self.files.finished(training) is None:
                task = self._source_task
                if self.weights is None:
                    model = models.build(self.network, task, seed=seed, normalisation=normalisation)
                else:
                    model = published(self.network, task, self.weights, normalisation=normalisation)
                self.files.train(training, task, model)
            self._sources[key] = workflow.load(
                self.files.path(training), device=self.device
            ).posterior
        return self._sources[key]

    @cached_property
    def _source_task(self) -> Task:
        source = tasks.load(self.problem).source
        assert source is not None
        return source

    def train(self, training: Training, *, for_tuning: bool = False) -> Finished | None:
        """Train, or find the run file of the same training. ``None`` if training diverges.

        Args:
            training: Training to run.
            for_tuning: Whether to predict on half of the validation set. The task then does not
                contain the other half or the test set.
        """
        run = self.files.finished(training)
        if run is not None and str(run.attributes.get("task")).endswith(TUNING) == for_tuning:
            return Finished(training, run)
        task = self.task(training.seed)
        if for_tuning:
            task = validation.for_tuning(task)
        initial = vars(self.initial(training, task))
        try:
            return Finished(training, self.files.train(training, task, **initial))
        except TrainingError:
            return None

    def initial(self, training: Training, task: Task) -> Initialisation:
        """The initial network and prior of a training; see ``initialise``.

        A training whose ``start`` is ``"fresh"`` has a network with random weights, and no source.
        """
        seed, settings = training.seed, training.source
        if training.start == "fresh":
            normalisation = settings.get("normalisation", NETWORKS[self.network])
            model = models.build(self.network, task, seed=seed, normalisation=normalisation)
            return Initialisation(model)
        source = self.source(seed, settings)
        return initialise(training.start, source, task, seed, settings.get("scale", 0.0))

    def train_all(
        self,
        label: str,
        trainings: Sequence[Training],
        *,
        for_tuning: bool = False,
        shifts: bool = False,
        curvature: int = 0,
    ) -> list[Finished]:
        """Train and measure. The result leaves out trainings that diverged.

        Args:
            label: Label of the progress.
            trainings: Trainings to run.
            for_tuning: Whether to predict on half of the validation set, as in ``train``.
            shifts: Whether to predict on the corrupted test sets.
            curvature: Number of posterior samples at which to measure the curvature.
        """
        report, finished = self.progress(label), []
        for index, training in enumerate(trainings):
            result = self.train(training, for_tuning=for_tuning)
            if result is not None:
                finished.append(result)
                if not for_tuning:
                    self._measure(result, shifts=shifts, curvature=curvature)
            report(index + 1, len(trainings))
        return finished

    def _measure(self, finished: Finished, *, shifts: bool, curvature: int) -> None:
        if is_tempered(finished.run) and not (shifts or curvature):
            return
        trained = workflow.load(finished.run.path, device=self.device)
        measure_tempered(trained, self.budget.samples)
        if shifts:
            measure_shifts(trained, self.task(finished.training.seed), self.budget.samples)
        if curvature:
            measure_curvature(trained, curvature)
