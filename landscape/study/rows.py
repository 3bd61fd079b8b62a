"""A study as one table: each row is a method, trained on the same seeds as all other rows.

All rows share the network, its initial weights, the number of epochs and one learning rate, which
is chosen for plain SGD on validation data. A row is compared with its twins, seed by seed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from landscape import methods, posteriors, workflow
from landscape.errors import InputError, LandscapeError, TrainingError
from landscape.objective.subsets import normalisation_and_head
from landscape.results import SampleMean
from landscape.runtime.files import atomic_write
from landscape.store import Run
from landscape.study import metrics
from landscape.study.plan import FIRST_TUNING_SEED, Budget, Training
from landscape.study.run_files import RunFiles
from landscape.study.tables import Table, mean_and_interval, number
from landscape.study.validation import TUNING
from landscape.tasks import Task
from landscape.workflow import Trained

ProgressCallback = Callable[[int, int], Any]
OWN_RATE = ("bsam", "ivon")
"""Methods whose learning rate is in other units than that of SGD: they keep their defaults."""

_EIGENVALUES: dict[str, Any] = {"tolerance": 1e-2, "max_matvecs": 30, "trace_matvecs": 8}
_NUMBERS = ("seeds", "epochs", "samples", "measured", "tuning_seeds")


@dataclass(frozen=True)
class Published:
    """Results of the paper, arXiv 2406.15664, on CIFAR-10 with ResNet-18.

    Attributes:
        accuracy: Accuracy in percent.
        ece: Expected calibration error; ``None`` if it is not published.
        nll: Negative log-likelihood in nats; ``None`` if it is not published.
        lambda_1: Largest eigenvalue; ``None`` if it is not published.
        ratio: lambda_1 / lambda_5.
    """

    accuracy: float
    ece: float | None = None
    nll: float | None = None
    lambda_1: float | None = None
    ratio: float | None = None

    @property
    def cells(self) -> tuple[str, str]:
        """Accuracy, ECE and NLL as one text; and lambda_1 with its ratio."""
        values = [value for value in (self.accuracy, self.ece, self.nll) if value is not None]
        flat = "-" if self.lambda_1 is None else f"{self.lambda_1:.0f} ({self.ratio})"
        return " / ".join(map(str, values)), flat


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: Name in the table and of the run files.
        method: Name of the method.
        settings: Settings besides those that all rows share.
        start: What training starts from; the study says what there is.
        pace: Learning rate over the one that is shared.
        twins: Names of the rows to compare with, seed by seed.
        published: Results of the paper.
    """

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    start: str = "weights"
    pace: float = 1.0
    twins: tuple[str, ...] = ()
    published: Published | None = None


@dataclass
class RowStudy(ABC):
    """The trainings of a table, one run file each, in one folder.

    Attributes:
        folder: Folder of the study.
        budget: Number of seeds, epochs, samples and measured samples. Trials are the learning
            rates ``rates``.
        device: Device for training and measuring.
    """

    folder: Path
    budget: Budget
    device: str = "cpu"
    _starts: dict[int, tuple[Task, nn.Module]] = field(default_factory=dict, repr=False)

    name: ClassVar[str]
    rows: ClassVar[Mapping[str, Row]]
    """The rows by name, in the order in which they are trained. ``"sgd"`` is plain SGD."""
    rates: ClassVar[tuple[float, ...]]
    """Learning rates to choose from, by the validation NLL of SGD."""
    measured_examples: ClassVar[int] = 1_000_000
    """Largest number of training examples on which the curvature is measured."""
    sources: ClassVar[str]
    """Description of the networks of the paper's numbers."""

    def __post_init__(self) -> None:
        self.files = RunFiles(self.folder, self.label, self.budget.samples, self.device)

    @property
    @abstractmethod
    def label(self) -> str:
        """The problem in one line."""

    @property
    @abstractmethod
    def options(self) -> str:
        """The options of the command that name the problem."""

    @property
    @abstractmethod
    def is_of_paper(self) -> bool:
        """Whether the paper has results on this task."""

    @abstractmethod
    def load(self, seed: int) -> tuple[Task, nn.Module]:
        """The task of a seed, and the network at its initial weights."""

    @abstractmethod
    def arguments(self, start: str, task: Task, model: nn.Module) -> dict[str, Any]:
        """Arguments of ``workflow.train`` for a row with this ``start``, such as its prior."""

    @abstractmethod
    def settings(self, row: Row, rate: float) -> dict[str, Any]:
        """All settings of the row's method at the learning rate that all rows share."""

    @abstractmethod
    def description(self, choice: str) -> list[str]:
        """Paragraphs of the page above its tables.

        Args:
            choice: Sentence on the choice of the learning rate.
        """

    @property
    def command(self) -> str:
        """The command that continues the study, for the folder in which it began."""
        numbers = [f"--{key.replace('_', '-')} {getattr(self.budget, key)}" for key in _NUMBERS]
        return " ".join([f"landscape study {self.name} --out FOLDER", self.options, *numbers])

    def start(self, seed: int) -> tuple[Task, nn.Module]:
        """``load``, once for all rows of a seed. Training does not change the network."""
        if seed not in self._starts:
            self._starts = {seed: self.load(seed)}
        return self._starts[seed]

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """Number of training examples, and of parameters of normalisation layers and the head."""
        task, model = self.start(0)
        names = normalisation_and_head(model)
        return len(task.train), sum(model.get_parameter(name).numel() for name in names)

    def training(self, row: Row, rate: float, seed: int, folder: str = "runs") -> Training:
        """The training of a row.

        Args:
            row: The row.
            rate: The learning rate that all rows share.
            seed: Seed of the training images, of training and of sampling.
            folder: Folder of the run file.
        """
        settings = self.settings(row, rate)
        return Training(row.name, row.method, settings, seed, row.start, folder=folder)

    def train(self, training: Training, *, for_tuning: bool = False) -> Run | None:
        """Train, unless this was done before. ``None`` if training diverges.

        Args:
            training: The training.
            for_tuning: Whether the validation set takes the place of the test set.
        """
        run = self.files.finished(training)
        if run is not None:
            return run
        task, model = self.start(training.seed)
        if for_tuning:
            task = replace(task, name=f"{task.name} {TUNING}", test=task.validation)
        arguments = self.arguments(training.start, task, model)
        try:
            return self.files.train(training, task, model, **arguments)
        except TrainingError:
            return None

    def measure(self, run: Run) -> None:
        """Write the curvature at the first ``budget.measured`` samples, unless it is there.

        It is that of the training loss over the parameters of normalisation layers and the head,
        whatever was inferred.
        """
        seed = int(run.attributes["seed"])
        settings = {"samples": self.budget.measured, "seed": seed, **_EIGENVALUES}
        if is_measured(run) and run.config.get("measurement") == settings:
            return
        task, model = self.start(seed)
        weights = run.path.with_suffix(".safetensors")
        posterior = posteriors.load(weights, model, device=self.device, calibration=task.train)
        names = normalisation_and_head(model)
        if set(names) < set(posterior.space.names):
            posterior = posterior.marginal(names)
        step = -(-len(task.train) // self.measured_examples)  # examples may be sorted by class
        task = replace(task, train=task.train.subset(torch.arange(0, len(task.train), step)))
        with workflow.in_progress(run, measurement=settings):
            workflow.measure_curvature(Trained(run, posterior, task), progress=False, **settings)

    def choose_rate(self, report: ProgressCallback) -> tuple[float, str]:
        """The learning rate at which SGD has the least NLL on the validation set.

        Args:
            report: Progress callback.

        Returns:
            The rate, and a sentence on its choice.

        Raises:
            LandscapeError: SGD diverges at every rate.
        """
        nlls: dict[float, float] = {}
        seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + self.budget.tuning_seeds)
        for index, rate in enumerate(self.rates):
            row = replace(self.rows["sgd"], name=f"sgd-rate{rate}")
            runs = [
                self.train(self.training(row, rate, seed, "tuning"), for_tuning=True)
                for seed in seeds
            ]
            values = [metrics.test_metric("nll")(run) for run in runs if run is not None]
            if len(values) == len(runs):
                nlls[rate] = sum(values) / len(values)
            report(index + 1, len(self.rates))
        if not nlls:
            raise LandscapeError("sgd: every learning rate diverged")
        best = min(nlls, key=nlls.__getitem__)
        tried = ", ".join(f"{key} ({number(value)})" for key, value in nlls.items())
        return best, (
            f"One learning rate for all, {best}, of {len(self.rates)} by SGD's validation NLL: "
            f"{tried}; number of tuning seeds: {self.budget.tuning_seeds}."
        )

    def run(
        self, only: Sequence[str] | None, progress: Callable[[str], ProgressCallback]
    ) -> list[Table]:
        """Run the study, or continue it: all rows on the first seed, then on the next one.

        The page with the table of all that is finished is written again after each training.

        Args:
            only: Names of rows; all if ``None``.
            progress: Function that takes a label and returns a progress callback.

        Raises:
            InputError: A row is unknown, or its settings do not fit the number of epochs.
            LandscapeError: SGD diverges at every learning rate.
        """
        for name in only or ():
            if name not in self.rows:
                raise InputError(f"unknown row '{name}'; known: {', '.join(self.rows)}")
        rows = [row for row in self.rows.values() if only is None or row.name in only]
        for row in rows:
            methods.create(row.method, **self.settings(row, self.rates[0]))
        rate, choice = self.choose_rate(progress("learning rate"))
        trainings = [
            self.training(row, rate, seed) for seed in range(self.budget.seeds) for row in rows
        ]
        report = progress(self.name)
        tables = self.write_page(rate, choice)
        for index, training in enumerate(trainings):
            run = self.train(training)
            if run is not None:
                self.measure(run)
            tables = self.write_page(rate, choice)
            report(index + 1, len(trainings))
        return tables

    def write_page(self, rate: float, choice: str) -> list[Table]:
        """Write the page from the run files that are there, and return its tables."""
        runs: dict[str, dict[int, Run]] = {}
        for row in self.rows.values():
            for seed in range(self.budget.seeds):
                run = self.files.finished(self.training(row, rate, seed))
                if run is not None and is_measured(run):
                    runs.setdefault(row.name, {})[seed] = run
        tables = [
            results_table(self.rows, runs, self.sources if self.is_of_paper else ""),
            differences_table(self.rows, runs),
        ]
        count, done = len(self.rows), sum(map(len, runs.values()))
        sections = [
            f"# {self.name}",
            f"```bash\n{self.command}\n```",
            f"The command continues the study. Of {count * self.budget.seeds} trainings ({count} "
            f"rows, {self.budget.seeds} seeds) {done} are finished and measured.",
            *self.description(choice),
            *(table.markdown() for table in tables),
        ]
        with atomic_write(self.folder / f"{self.name}.md") as temporary:
            temporary.write_text("\n\n".join(sections) + "\n")
        return tables


_COLUMNS: dict[str, Callable[[Run], float]] = {
    "accuracy, %": lambda run: 100 * metrics.test_metric("accuracy")(run),
    "ECE": metrics.test_metric("ece"),
    "NLL": metrics.test_metric("nll"),
    "training loss": metrics.train_loss,
    "lambda_1": metrics.lambda_1,
    "lambda_1 / lambda_5": metrics.lambda_ratio,
    "trace": metrics.trace,
}


def is_measured(run: Run) -> bool:
    """Whether a run file holds a finished measurement of curvature."""
    return "samples" in run and run.attributes["status"] == "complete"


def results_table(
    rows: Mapping[str, Row], runs: Mapping[str, Mapping[int, Run]], sources: str = ""
) -> Table:
    """Mean and standard deviation over seeds of each row.

    Args:
        rows: The rows by name.
        runs: Run files by row and seed.
        sources: Description of the networks of the paper's numbers, which are shown, too; if
            empty, they are not.
    """
    lines = []
    for name, by_seed in runs.items():
        cells = [
            _mean_and_deviation([read(run) for run in by_seed.values()])
            for read in (*_COLUMNS.values(), seconds_an_epoch)
        ]
        published = rows[name].published
        of_paper = ("-", "-") if published is None else published.cells
        lines.append((name, str(len(by_seed)), *cells, *(of_paper if sources else ())))
    columns = ("method", "n", *_COLUMNS, "s / epoch")
    note = (
        "Mean +- standard deviation over n seeds; no deviation at n = 1. s / epoch is the fastest "
        "epoch of a run, as other work may disturb the rest."
    )
    if sources:
        columns += ("paper: acc / ECE / NLL", "paper: lambda_1")
        note += f" {sources}"
    return Table("Results", columns, tuple(lines), note)


def differences_table(rows: Mapping[str, Row], runs: Mapping[str, Mapping[int, Run]]) -> Table:
    """Differences of the rows from their twins on common seeds, with Student's intervals."""
    lines = []
    for name, by_seed in runs.items():
        for twin in rows[name].twins:
            common = sorted(set(by_seed) & set(runs.get(twin, {})))
            if not common:
                continue
            cells = [
                mean_and_interval(
                    SampleMean.of(
                        np.array([read(by_seed[s]) - read(runs[twin][s]) for s in common])
                    ),
                    2,
                    sign=True,
                )
                for read in _COLUMNS.values()
            ]
            lines.append((f"{name} minus {twin}", str(len(common)), *cells))
    note = "Mean over n seeds, paired; Student's 95 % interval in brackets from n = 2 on."
    return Table("Differences on the same seeds", ("rows", "n", *_COLUMNS), tuple(lines), note)


def seconds_an_epoch(run: Run) -> float:
    """The fastest epoch in seconds, its validation included."""
    seconds = np.asarray(run.read("training", "seconds")["seconds"])
    return float(np.diff(seconds, prepend=0.0).min())


def _mean_and_deviation(values: Sequence[float]) -> str:
    spread = SampleMean.of(np.array(values, dtype=float))
    if not spread.count:
        return "-"
    deviation = "" if spread.count < 2 else f" +- {number(spread.deviation, 2)}"
    return number(spread.mean) + deviation
