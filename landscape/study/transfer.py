"""Transfer of a pretrained network with ten labelled images a class: Tables 2 and 5 of the paper.

The paper is arXiv 2406.15664. Only the normalisation layers and the head are inferred. All methods
start at the same weights, those of the pretrained network with a head of zeros, and share one
learning rate, which is chosen on validation data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from landscape import methods, models, posteriors, tasks, workflow
from landscape.errors import InputError, LandscapeError, TrainingError
from landscape.objective.subsets import head, normalisation_and_head
from landscape.posteriors import Posterior
from landscape.results import SampleMean
from landscape.runtime.files import atomic_write
from landscape.runtime.progress import Progress
from landscape.store import Run, ensure_writable
from landscape.study import metrics
from landscape.study.plan import FIRST_TUNING_SEED, Budget, Training
from landscape.study.tables import Table, mean_and_interval, number
from landscape.study.validation import TUNING
from landscape.tasks import Task

RATES = (0.01, 0.02, 0.05)
"""Learning rates to choose from, by the validation NLL of SGD."""

_DECAY = 5e-4
_DELTA, _ALPHA = 0.05, 1e-4
_BETA = 1e-8
_MOPED: Mapping[str, Any] = {"weight_decay": _DECAY, "prior_scale": 0.0, "covariance": False}
"""FP-BMA from MOPED's Gaussian, as in ``FPBMA.published``: log sigma does not learn."""
_SCALE = 100.0
_NOISE = 50_000
"""Number of examples for which the published code scales the noise of its samplers."""
_WARMUP = 0.1
_EIGENVALUES: dict[str, Any] = {"tolerance": 1e-2, "max_matvecs": 40, "trace_matvecs": 10}
_GROUPS = (
    "points",
    "FP-BMA (VI) over its radius",
    "other readings of its step",
    "SWAG",
    "MCMC",
    "other methods",
)


@dataclass(frozen=True)
class Problem:
    """A target task with the network that is transferred to it.

    Attributes:
        task: Name of the task.
        model: Name of the network.
        settings: Settings of the network.
    """

    task: str
    model: str
    settings: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Task and network as one line."""
        return f"{self.task} with {self.model}"

    @property
    def is_of_paper(self) -> bool:
        """Whether the paper has results on this task."""
        return self.task == "cifar10-10-shot"


PROBLEMS = {
    "cifar10-10-shot": Problem(
        "cifar10-10-shot", "efficientnet-lite0", {"weights": "imagenet", "size": 96}
    ),
    "digits": Problem("digits", "convnet", {"normalisation": "batch"}),
}
"""Problems by the name of the task. The digits have no pretrained network: they try the study."""


@dataclass(frozen=True)
class Published:
    """Results of the paper on CIFAR-10, 10-shot, with ResNet-18.

    Attributes:
        accuracy: Accuracy in percent.
        ece: Expected calibration error.
        nll: Negative log-likelihood in nats.
        lambda_1: Largest eigenvalue; ``None`` if it is not published.
        ratio: lambda_1 / lambda_5.
    """

    accuracy: float
    ece: float
    nll: float
    lambda_1: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: Name in the table and of the run files.
        group: Number of the group. All seeds of a group come before the next group.
        method: Name of the method.
        settings: Settings besides those that all methods share. ``"decay"`` stands for the prior's
            scale that belongs to the weight decay, ``"code"`` for the temperature of the published
            code; both depend on the number of examples.
        start: ``"weights"``, the network's own weights with the method's own prior; or ``"moped"``,
            the prior by MOPED's rule around them.
        pace: Learning rate over the one that is shared.
        twins: Names of the rows to compare with, seed by seed.
        published: Results of the paper.
    """

    name: str
    group: int
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    start: str = "weights"
    pace: float = 1.0
    twins: tuple[str, ...] = ()
    published: Published | None = None


def _ball_rows(
    name: str, radius: float, settings: Mapping[str, Any], **more: Any
) -> tuple[Row, Row]:
    """FP-BMA (VI) with one prior and relative radius, and its twin along a random direction."""
    shared = {**settings, "relative_radius": radius}
    exact, control, without = (
        f"fp-bma-{name}-{radius}",
        f"random-{name}-{radius}",
        f"{name}-radius-0",
    )
    start = {"start": more.get("start", "weights")}
    return (
        Row(exact, 1, "fp-bma", shared, twins=(without, control), **more),
        Row(control, 1, "fp-bma", {**shared, "ball": "random"}, twins=(without,), **start),
    )


def _rows() -> list[Row]:
    decay = {"weight_decay": _DECAY}
    rows = [
        Row("sgd", 0, "map", decay, published=Published(55.5, 0.062, 1.302, 560, 2.59)),
        Row(
            "sam",
            0,
            "sam",
            {**decay, "radius": 0.1},
            twins=("sgd",),
            published=Published(56.5, 0.129, 1.354, 382, 2.23),
        ),
    ]
    of_paper = Published(65.0, 0.016, 0.997, 275, 1.69)
    rows += [
        Row(
            "moped-radius-0",
            1,
            "fp-bma",
            {**_MOPED, "radius": 0.0},
            start="moped",
            twins=("sgd",),
            published=Published(57.3, 0.093, 1.297, 687, 2.41),
        ),
        *_ball_rows("moped", 0.1, _MOPED, start="moped", published=of_paper),
        Row("vi-radius-0", 1, "fp-bma", {"radius": 0.0}, twins=("sgd",)),
        *_ball_rows("vi", 0.05, {}),
    ]
    for radius in (0.05, 0.2):
        rows += _ball_rows("moped", radius, _MOPED, start="moped", published=of_paper)
    for reading in ("empirical", "score"):
        rows.append(
            Row(
                f"fp-bma-moped-{reading}-gamma-0.7",
                2,
                "fp-bma",
                {**_MOPED, "ball": f"posterior-{reading}", "radius": 0.7},
                start="moped",
                twins=("moped-radius-0",),
                published=of_paper,
            )
        )
    # A chain's step without momentum moves as far as one with momentum 0.9 at ten times the rate.
    chain, slow = {"prior_scale": "decay", "temperature": "code"}, 10.0
    cyclical = {"cycles": 2, "samples_per_cycle": 3, "exploration": 0.5}
    rows += [
        Row("swag", 3, "swag", decay, published=Published(56.3, 0.094, 1.315, 602, 2.13)),
        Row(
            "fp-bma-swag-0.1",
            3,
            "swag",
            {**decay, "ball": "posterior-exact", "relative_radius": 0.1},
            start="moped",
            twins=("swag",),
            published=Published(61.8, 0.026, 1.214),
        ),
        Row("sgld", 4, "sgld", chain, pace=slow, published=Published(56.3, 0.083, 1.305)),
        Row("sghmc", 4, "sghmc", chain, published=Published(55.4, 0.112, 1.371)),
        Row(
            "fp-bma-sgld",
            4,
            "sgld",
            {**chain, "ball": "euclidean", "radius": 0.008},
            pace=slow,
            twins=("sgld",),
            published=Published(57.5, 0.039, 1.248),
        ),
        Row(
            "fp-bma-sghmc",
            4,
            "sghmc",
            {**chain, "ball": "euclidean", "radius": 0.008},
            twins=("sghmc",),
            published=Published(56.4, 0.055, 1.276),
        ),
        Row(
            "fsam",
            5,
            "fsam",
            {**decay, "radius": 0.1},
            twins=("sgd",),
            published=Published(54.0, 0.139, 1.432, 561, 2.24),
        ),
        Row("bsam", 5, "bsam", decay, published=Published(56.6, 0.083, 1.280, 533, 2.09)),
        Row(
            "f-swag",
            5,
            "f-swag",
            {**decay, "radius": 0.05},
            twins=("swag",),
            published=Published(57.7, 0.075, 1.249, 362, 2.44),
        ),
        Row(
            "entropy-mcmc",
            5,
            "entropy-mcmc",
            chain,
            pace=slow,
            published=Published(56.7, 0.142, 1.266, 541, 1.98),
        ),
        Row(
            "ptl",
            5,
            "ptl",
            {**cyclical, "temperature": "code", "scale": _SCALE},
            start="moped",
            pace=slow,
            published=Published(57.3, 0.116, 1.345, 559, 2.23),
        ),
        Row("laplace", 5, "laplace", {**decay, "structure": "diagonal"}, twins=("sgd",)),
    ]
    if find_spec("ivon"):  # an optional dependency
        rows.append(Row("ivon", 5, "ivon", decay, published=Published(56.2, 0.023, 1.262)))
    return rows


ROWS: dict[str, Row] = {row.name: row for row in _rows()}
"""The rows by name, in the order in which they are trained."""

# Methods whose learning rate is in other units than that of SGD: they keep their defaults.
_OWN_RATE = ("bsam", "ivon")


@dataclass
class Study:
    """The trainings of the table, one run file each, in one folder.

    Attributes:
        folder: Folder of the study.
        budget: Number of seeds, epochs and samples. Trials are the learning rates ``RATES``.
        problem: Task and network. A folder holds one.
        device: Device for training and measuring.
    """

    folder: Path
    budget: Budget
    problem: Problem
    device: str = "cpu"

    def __post_init__(self) -> None:
        ensure_writable(self.folder)
        note = self.folder / "task"
        if not note.exists():
            note.write_text(self.problem.label + "\n")
        stored = note.read_text().strip()
        if stored != self.problem.label:
            raise InputError(
                f"{self.folder} holds a study of {stored}: choose another folder for "
                f"{self.problem.label}"
            )

    @property
    def command(self) -> str:
        """The command that continues the study, for the folder in which it began."""
        numbers = ("seeds", "epochs", "samples", "measured", "tuning_seeds")
        options = [f"--{name.replace('_', '-')} {getattr(self.budget, name)}" for name in numbers]
        return " ".join(
            ["landscape study transfer --out FOLDER --task", self.problem.task, *options]
        )

    def start(self, seed: int) -> tuple[Task, nn.Module]:
        """The task of a seed, as the network expects it, and the network with a head of zeros."""
        task = tasks.load(self.problem.task, seed=seed)
        model = models.build(self.problem.model, task, seed=seed, **self.problem.settings)
        transform = models.transform_of(model)
        with torch.no_grad():
            for name in head(model):
                model.get_parameter(name).zero_()
        return (task if transform is None else task.transformed(transform)), model

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """Number of training examples, and of inferred parameters."""
        task, model = self.start(0)
        names = normalisation_and_head(model)
        return len(task.train), sum(model.get_parameter(name).numel() for name in names)

    def training(self, row: Row, rate: float, seed: int, folder: str = "runs") -> Training:
        """The training of a row.

        Args:
            row: The row.
            rate: The learning rate that all rows share.
            seed: Seed of the labelled images, of training and of sampling.
            folder: Folder of the run file.
        """
        examples, _ = self.sizes
        of_size = {"decay": (_DECAY * examples) ** -0.5, "code": examples / _NOISE}
        settings = {name: of_size.get(value, value) for name, value in row.settings.items()}
        method = methods.METHODS[row.method]
        settings["epochs"] = self.budget.epochs
        if row.method not in _OWN_RATE:
            settings["learning_rate"] = row.pace * rate
        if row.method != "ptl":  # its cycles have none
            settings["warmup"] = _WARMUP
        if row.method in ("swag", "f-swag"):
            settings["swag_rate"] = rate / 2
        if row.method == "fp-bma" and row.start == "moped":
            settings["beta"] = examples * _BETA
        if method.can_stop_early:
            settings["patience"] = self.budget.epochs
        return Training(row.name, row.method, settings, seed, row.start, folder=folder)

    def path(self, training: Training) -> Path:
        """Path of the training's run file."""
        return self.folder / training.folder / f"{training.name}-seed{training.seed}.h5"

    def finished(self, training: Training) -> Run | None:
        """The run file of this very training with its predictions, if it is there.

        All settings of the method are compared, so that a default that has changed since is found.
        """
        path = self.path(training)
        if not path.exists():
            return None
        run = Run.open(path)
        method = methods.create(training.method, **training.settings)
        expected = {
            "study": training.record,
            "method": {"name": method.name, **asdict(method)},
            "prediction": {"samples": self.budget.samples},
        }
        same = all(run.config.get(name) == value for name, value in expected.items())
        return run if same and "predictions" in run else None

    def train(self, training: Training, *, for_tuning: bool = False) -> Run | None:
        """Train, unless this was done before. ``None`` if training diverges.

        Args:
            training: The training.
            for_tuning: Whether the validation set takes the place of the test set.
        """
        run = self.finished(training)
        if run is not None:
            return run
        task, model = self.start(training.seed)
        names = normalisation_and_head(model)
        if for_tuning:
            task = replace(task, name=f"{task.name} {TUNING}", test=task.validation)
        prior: Posterior | None = None
        if training.start == "moped":
            prior = posteriors.moped(
                model, delta=_DELTA, alpha=_ALPHA, parameters=names, calibration=task.train
            )
        try:
            return workflow.train(
                self.path(training),
                task,
                methods.create(training.method, **training.settings),
                model,
                prior=prior,
                parameters=names,
                samples=self.budget.samples,
                seed=training.seed,
                device=self.device,
                overwrite=True,
                progress=False,
                config={"study": training.record},
            ).run
        except TrainingError:
            self.path(training).unlink(missing_ok=True)  # of other settings
            return None

    def measure(self, run: Run) -> None:
        """Write the curvature at the first ``budget.measured`` samples, unless it is there."""
        seed = int(run.attributes["seed"])
        settings = {"samples": self.budget.measured, "seed": seed, **_EIGENVALUES}
        if is_measured(run) and run.config.get("measurement") == settings:
            return
        trained = workflow.load(run.path, device=self.device)
        with workflow.in_progress(trained.run, measurement=settings):
            workflow.measure_curvature(trained, progress=False, **settings)

    def choose_rate(self, report: Callable[[int, int], Any]) -> tuple[float, dict[float, float]]:
        """The learning rate at which SGD has the least NLL on the validation set.

        Args:
            report: Progress callback.

        Returns:
            The rate, and the validation NLL of each rate, mean over the tuning seeds.

        Raises:
            LandscapeError: SGD diverges at every rate.
        """
        nlls: dict[float, float] = {}
        seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + self.budget.tuning_seeds)
        for index, rate in enumerate(RATES):
            row = replace(ROWS["sgd"], name=f"sgd-rate{rate}")
            runs = [
                self.train(self.training(row, rate, seed, "tuning"), for_tuning=True)
                for seed in seeds
            ]
            values = [metrics.test_metric("nll")(run) for run in runs if run is not None]
            if len(values) == len(runs):
                nlls[rate] = sum(values) / len(values)
            report(index + 1, len(RATES))
        if not nlls:
            raise LandscapeError("sgd: every learning rate diverged")
        return min(nlls, key=nlls.__getitem__), nlls


def transfer(
    folder: Path,
    budget: Budget,
    *,
    task: str = "cifar10-10-shot",
    device: str = "cpu",
    only: Sequence[str] | None = None,
    progress: Callable[[str], Callable[[int, int], Any]] = Progress,
) -> list[Table]:
    """Run the study, or continue it.

    The file ``transfer.md`` in the folder has the table of all that is finished. It is written
    again after each training.

    Args:
        folder: Folder of run files and of the summary.
        budget: Number of seeds, epochs, samples and measured samples.
        task: Name of the target task, one of ``PROBLEMS``.
        device: Device for training and measuring.
        only: Names of rows; all if ``None``.
        progress: Function that takes a label and returns a progress callback.

    Raises:
        InputError: The task or a row is unknown, or the folder holds another problem.
        LandscapeError: SGD diverges at every learning rate.
    """
    if task not in PROBLEMS:
        raise InputError(f"transfer is on the tasks {', '.join(PROBLEMS)}, not '{task}'")
    for name in only or ():
        if name not in ROWS:
            raise InputError(f"unknown row '{name}'; known: {', '.join(ROWS)}")
    rows = [row for row in ROWS.values() if only is None or row.name in only]
    study = Study(folder, budget, PROBLEMS[task], device)
    for row in rows:  # settings that do not fit the number of epochs are refused first
        methods.create(row.method, **study.training(row, RATES[0], 0).settings)
    rate, nlls = study.choose_rate(progress("learning rate"))
    trainings = [
        study.training(row, rate, seed)
        for group in range(len(_GROUPS))
        for seed in range(budget.seeds)
        for row in rows
        if row.group == group
    ]
    report = progress("transfer")
    tables = write_page(study, rate, nlls)
    for index, training in enumerate(trainings):
        run = study.train(training)
        if run is not None:
            study.measure(run)
        tables = write_page(study, rate, nlls)
        report(index + 1, len(trainings))
    return tables


def write_page(study: Study, rate: float, nlls: Mapping[float, float]) -> list[Table]:
    """Write ``transfer.md`` from the run files that are there, and return its tables."""
    runs: dict[str, dict[int, Run]] = {}
    for row in ROWS.values():
        for seed in range(study.budget.seeds):
            run = study.finished(study.training(row, rate, seed))
            if run is not None and is_measured(run):
                runs.setdefault(row.name, {})[seed] = run
    tables = [results_table(runs, study.problem.is_of_paper), differences_table(runs)]
    with atomic_write(study.folder / "transfer.md") as temporary:
        temporary.write_text(_page(study, rate, nlls, sum(map(len, runs.values())), tables))
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


def results_table(runs: Mapping[str, Mapping[int, Run]], beside_the_paper: bool = True) -> Table:
    """Mean and standard deviation over seeds of each row.

    Args:
        runs: Run files by row and seed.
        beside_the_paper: Whether to show the paper's numbers, too.
    """
    lines = []
    for name, by_seed in runs.items():
        cells = [
            _mean_and_deviation([read(run) for run in by_seed.values()])
            for read in (*_COLUMNS.values(), seconds_an_epoch)
        ]
        published = _published(ROWS[name].published) if beside_the_paper else ()
        lines.append((name, str(len(by_seed)), *cells, *published))
    columns = ("method", "n", *_COLUMNS, "s / epoch")
    note = (
        "Mean +- standard deviation over n seeds; no deviation at n = 1. s / epoch is the fastest "
        "epoch of a run, as other work may disturb the rest."
    )
    if beside_the_paper:
        columns += ("paper: acc / ECE / NLL", "paper: lambda_1")
        note += (
            " The paper's numbers are of another network, ResNet-18; its lambda_1 has "
            "lambda_1 / lambda_5 in brackets."
        )
    return Table("Results", columns, tuple(lines), note)


def differences_table(runs: Mapping[str, Mapping[int, Run]]) -> Table:
    """Differences of the rows from their twins on common seeds, with Student's intervals."""
    lines = []
    for name, by_seed in runs.items():
        for twin in ROWS[name].twins:
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


def _published(values: Published | None) -> tuple[str, str]:
    if values is None:
        return "-", "-"
    flat = "-"
    if values.lambda_1 is not None:
        flat = f"{values.lambda_1:.0f} ({values.ratio})"
    return f"{values.accuracy} / {values.ece} / {values.nll}", flat


def _page(
    study: Study, rate: float, nlls: Mapping[float, float], done: int, tables: Sequence[Table]
) -> str:
    budget = study.budget
    examples, size = study.sizes
    tried = ", ".join(f"{key} ({number(value)})" for key, value in nlls.items())
    lines = [
        "# transfer",
        f"```bash\n{study.command}\n```",
        f"The command continues the study. Of {len(ROWS) * budget.seeds} trainings ({len(ROWS)} "
        f"rows, {budget.seeds} seeds) {done} are finished and measured.",
        f"{study.problem.label}: {examples} labelled images, {size:,} inferred parameters "
        "(normalisation layers and head). All methods start at the pretrained weights and a head "
        "of zeros.",
        f"{budget.epochs} epochs in batches of 50, cosine with {_WARMUP:.0%} of warm-up. Methods "
        "that do not need their whole trajectory return the epoch of the lowest validation loss. "
        f"One learning rate for all, {rate}, of {len(RATES)} by SGD's validation NLL: {tried}; "
        f"number of tuning seeds: {budget.tuning_seeds}. SGLD, Entropy-MCMC and PTL, which have no "
        "momentum, take ten times it; bSAM and IVON keep their defaults, which are in other units. "
        "Nothing else is tuned.",
        f"Weight decay {_DECAY}. Rows named moped: MOPED's prior and start, delta {_DELTA} and "
        f"alpha {_ALPHA}, beta {_BETA} in the paper's units; log sigma does not learn. Rows named "
        "vi: this package's default prior N(0, 0.166^2) with beta 0.01; log sigma learns.",
        "The number in a name is the relative radius, the radius over the square root of the "
        f"number of parameters (0.1 is {0.1 * size**0.5:.3g}); gamma is the published length. "
        "The row with `score` is the code's rule. FP-BMA (SWAG) has the ball of MOPED's "
        "Gaussian, because there is no SWAG posterior of ImageNet; PTL's prior is that Gaussian "
        f"with {_SCALE:.0f} times its covariance. Samplers: temperature N / {_NOISE:,}, the noise "
        "of the published code.",
        f"Averages of {budget.samples} samples (1 of a point), ECE with 15 bins, NLL in nats. "
        "Curvature of the training loss, without augmentation and over the inferred parameters, "
        f"at so many samples: {budget.measured}.",
        *(table.markdown() for table in tables),
    ]
    return "\n\n".join(lines) + "\n"
