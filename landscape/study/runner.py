"""A transfer task as a bench: trains what a study asks for, each training once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from landscape import methods, models, tasks, workflow
from landscape.errors import InputError, TrainingError
from landscape.posteriors import Posterior
from landscape.store import Run, ensure_writable
from landscape.study import validation
from landscape.study.initialisation import start
from landscape.study.measures import (
    is_tempered,
    measure_curvature,
    measure_shifts,
    measure_tempered,
)
from landscape.study.plan import Budget, Training
from landscape.study.published import named, published
from landscape.study.validation import TUNING
from landscape.tasks import Task

Report = Callable[[int, int], Any]


PROBLEMS = ("digits", "mnist", "cifar10-jpeg", "cifar10-few-shot")
"""Target tasks that have a source task."""

NETWORKS = {"convnet": "none", "resnet20": "group", "resnet18": "batch"}
"""Networks, with their normalisation where a study does not ask for another."""

_GENTLE = 0.002
"""SWAG's learning rate from published weights: its default would undo what they have learnt."""


@dataclass(frozen=True)
class Finished:
    """A training and its run file."""

    training: Training
    run: Run


@dataclass
class Bench:
    """Where a study's run files are, and how they are made.

    What is finished with the same settings is not done again; a file with others is replaced.

    Attributes:
        folder: The study's.
        budget: See ``Budget``.
        progress: Makes a progress callback from a label.
        problem: One of ``PROBLEMS``. A folder is of one.
        network: One of ``NETWORKS``. A folder is of one.
        weights: A file of weights at which the source network begins; fresh ones if ``None``.
        device: Where to train and measure.
    """

    folder: Path
    budget: Budget
    progress: Callable[[str], Report]
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
        ensure_writable(self.folder)
        asked = f"{self.problem} with {self.network}"
        if self.weights is not None:
            asked += f" from {named(self.weights)}"
        note = self.folder / "task"
        if not note.exists():
            note.write_text(asked + "\n")
        found = note.read_text().strip()
        if found != asked:
            raise InputError(
                f"{self.folder} holds a study of {found}: name another folder for {asked}"
            )

    def task(self, seed: int) -> Task:
        """The target task of a seed, with its corrupted test sets."""
        task = tasks.load(self.problem, seed=seed)
        return tasks.shift(task, severities=self.budget.severities)

    def source(self, seed: int, settings: dict[str, Any]) -> Posterior:
        """SWAG's posterior of the source task.

        Args:
            seed: Of the network and of training.
            settings: Its ``rank`` and ``normalisation``, where they are not the defaults.
        """
        rank = settings.get("rank", 5)
        rate = {} if self.weights is None else {"learning_rate": _GENTLE, "swag_rate": _GENTLE}
        normalisation = settings.get("normalisation", NETWORKS[self.network])
        training = Training(
            f"source-{normalisation}-rank{rank}",
            "swag",
            {"epochs": self.budget.source_epochs, "rank": rank, **rate},
            seed,
            folder="sources",
        )
        key = f"{training.name}-{seed}"
        if key not in self._sources:
            if self._known(training) is None:
                task = self._source_task
                if self.weights is None:
                    model = models.build(self.network, task, seed=seed, normalisation=normalisation)
                else:
                    model = published(self.network, task, self.weights, normalisation=normalisation)
                self._train(training, task, {"model": model})
            self._sources[key] = workflow.load(self.path(training), device=self.device).posterior
        return self._sources[key]

    @cached_property
    def _source_task(self) -> Task:
        source = tasks.load(self.problem).source
        assert source is not None
        return source

    def train(self, training: Training, *, for_tuning: bool = False) -> Finished | None:
        """The training's run file; ``None`` where it diverges.

        Args:
            training: What to train.
            for_tuning: Predict on half of the validation set: the other half and the test set are
                then not even there.
        """
        known = self._known(training)
        if known is not None and str(known.attributes.get("task")).endswith(TUNING) == for_tuning:
            return Finished(training, known)
        task = self.task(training.seed)
        if for_tuning:
            task = validation.for_tuning(task)
        source = self.source(training.seed, training.source)
        scale = training.source.get("scale", 0.0)
        begin = start(training.start, source, task, training.seed, scale)
        try:
            return Finished(training, self._train(training, task, vars(begin)))
        except TrainingError:
            self.path(training).unlink(missing_ok=True)  # of other settings
            return None

    def train_all(
        self,
        label: str,
        trainings: Sequence[Training],
        *,
        for_tuning: bool = False,
        shifts: bool = False,
        curvature: int = 0,
    ) -> list[Finished]:
        """Train and measure; diverged trainings are missing in the answer.

        Args:
            label: Of the progress.
            trainings: What to train.
            for_tuning: See ``train``.
            shifts: Whether to predict on the corrupted test sets.
            curvature: Posterior samples at which to measure curvature.
        """
        report, finished = self.progress(label), []
        for index, training in enumerate(trainings):
            found = self.train(training, for_tuning=for_tuning)
            if found is not None:
                finished.append(found)
                if not for_tuning:
                    self._measure(found, shifts=shifts, curvature=curvature)
            report(index + 1, len(trainings))
        return finished

    def path(self, training: Training) -> Path:
        """Of its run file."""
        return self.folder / training.folder / f"{training.name}-seed{training.seed}.h5"

    def _known(self, training: Training) -> Run | None:
        path = self.path(training)
        if path.exists():
            run = Run.open(path)
            same = run.config.get("study") == training.record
            whole = "predictions" in run  # else it was killed while the file was being filled
            if same and whole and run.config["prediction"]["samples"] == self.budget.samples:
                return run
        return None

    def _train(self, training: Training, task: Task, begin: dict[str, Any]) -> Run:
        return workflow.train(
            self.path(training),
            task,
            methods.create(training.method, **training.settings),
            samples=self.budget.samples,
            seed=training.seed,
            device=self.device,
            overwrite=True,
            progress=False,
            config={"study": training.record},
            **begin,
        ).run

    def _measure(self, found: Finished, *, shifts: bool, curvature: int) -> None:
        if is_tempered(found.run) and not (shifts or curvature):
            return
        trained = workflow.load(found.run.path, device=self.device)
        measure_tempered(trained, self.budget.samples)
        if shifts:
            measure_shifts(trained, self.task(found.training.seed), self.budget.samples)
        if curvature:
            measure_curvature(trained, curvature)
