"""Transfer of a pretrained network with ten labelled images a class: Tables 2 and 5 of the paper.

The paper is arXiv 2406.15664. Only normalisation layers and the head are inferred. All methods
start at the same weights, those of the pretrained network with a head of zeros, and share one
learning rate, which is chosen on validation data.

The first blocks of the network are frozen whole, so all images pass through them once and not in
every step: on a CPU they take most of the time and hold few of the normalisation layers' numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landscape import methods, models, posteriors, tasks
from landscape.errors import InputError
from landscape.models.pretrained import divide
from landscape.objective.parameters import ParameterSpace
from landscape.objective.subsets import head, normalisation_and_head
from landscape.running_stats.normalisation import reestimate
from landscape.study.plan import Budget
from landscape.study.rows import OWN_RATE, Published, Row, RowStudy
from landscape.tasks import Task

_DECAY = 5e-4
_DELTA, _ALPHA = 0.05, 1e-4
_BETA = 1e-8
_MOPED: Mapping[str, Any] = {"weight_decay": _DECAY, "prior_scale": 0.0, "covariance": False}
"""FP-BMA from MOPED's Gaussian, as in ``FPBMA.published``: log sigma does not learn."""
_SCALE = 100.0
_NOISE = 50_000
"""Number of examples for which the published code scales the noise of its samplers."""
_WARMUP = 0.1
_MEMBERS = 3
_PART = 50
"""Number of images that pass through the frozen layers at a time."""


@dataclass(frozen=True)
class Problem:
    """A target task with the network that is transferred to it.

    Attributes:
        task: Name of the task.
        model: Name of the network.
        settings: Settings of the network.
        frozen: Number of blocks that are frozen whole; the images pass through them once.
        task_settings: Settings of the task.
    """

    task: str
    model: str
    settings: Mapping[str, Any]
    frozen: int = 0
    task_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Task and network as one line."""
        whole = f"{self.task} with {self.model}"
        return f"{whole}, {self.frozen} blocks frozen" if self.frozen else whole


PROBLEMS = {
    "cifar10-10-shot": Problem(
        "cifar10-10-shot",
        "efficientnet-lite0",
        {"weights": "imagenet", "size": 96},
        frozen=13,
        task_settings={"augment": False},
    ),
    "digits": Problem("digits", "convnet", {"normalisation": "batch"}),
}
"""Problems by the name of the task. The digits have no pretrained network: they try the study."""


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
        Row(exact, "fp-bma", shared, twins=(without, control), **more),
        Row(control, "fp-bma", {**shared, "ball": "random"}, twins=(without,), **start),
    )


def _rows() -> list[Row]:
    decay = {"weight_decay": _DECAY}
    rows = [
        Row("sgd", "map", decay, published=Published(55.5, 0.062, 1.302, 560, 2.59)),
        Row(
            "sam",
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
            "fp-bma",
            {**_MOPED, "radius": 0.0},
            start="moped",
            twins=("sgd",),
            published=Published(57.3, 0.093, 1.297, 687, 2.41),
        ),
        *_ball_rows("moped", 0.1, _MOPED, start="moped", published=of_paper),
        Row("vi-radius-0", "fp-bma", {"radius": 0.0}, twins=("sgd",)),
        *_ball_rows("vi", 0.05, {}),
    ]
    # A chain's step without momentum moves as far as one with momentum 0.9 at ten times the rate.
    chain, slow = {"prior_scale": "decay", "temperature": "code"}, 10.0
    mixture = {**decay, "members": _MEMBERS}
    cyclical = {"cycles": 2, "samples_per_cycle": 3, "exploration": 0.5}
    rows += [
        Row("swag", "swag", decay, published=Published(56.3, 0.094, 1.315, 602, 2.13)),
        Row(
            "fp-bma-swag-0.1",
            "swag",
            {**decay, "ball": "posterior-exact", "relative_radius": 0.1},
            start="moped",
            twins=("swag",),
            published=Published(61.8, 0.026, 1.214),
        ),
        Row("sgld", "sgld", chain, pace=slow, published=Published(56.3, 0.083, 1.305)),
        Row(
            "fp-bma-sgld",
            "sgld",
            {**chain, "ball": "euclidean", "radius": 0.008},
            pace=slow,
            twins=("sgld",),
            published=Published(57.5, 0.039, 1.248),
        ),
        Row("laplace", "laplace", {**decay, "structure": "diagonal"}, twins=("sgd",)),
        Row("mola", "mola", mixture, start="moped", published=Published(65.8, 0.045, 1.058)),
        Row(
            "fp-bma-mola-0.1",
            "mola",
            {**mixture, "ball": "posterior-exact", "relative_radius": 0.1},
            start="moped",
            twins=("mola",),
            published=Published(66.8, 0.063, 0.998),
        ),
    ]
    for radius in (0.05, 0.2):
        rows += _ball_rows("moped", radius, _MOPED, start="moped", published=of_paper)
    for reading in ("empirical", "score"):
        rows.append(
            Row(
                f"fp-bma-moped-{reading}-gamma-0.7",
                "fp-bma",
                {**_MOPED, "ball": f"posterior-{reading}", "radius": 0.7},
                start="moped",
                twins=("moped-radius-0",),
                published=of_paper,
            )
        )
    rows += [
        Row("sghmc", "sghmc", chain, published=Published(55.4, 0.112, 1.371)),
        Row(
            "fp-bma-sghmc",
            "sghmc",
            {**chain, "ball": "euclidean", "radius": 0.008},
            twins=("sghmc",),
            published=Published(56.4, 0.055, 1.276),
        ),
        Row(
            "fsam",
            "fsam",
            {**decay, "radius": 0.1},
            twins=("sgd",),
            published=Published(54.0, 0.139, 1.432, 561, 2.24),
        ),
        Row("bsam", "bsam", decay, published=Published(56.6, 0.083, 1.280, 533, 2.09)),
        Row(
            "f-swag",
            "f-swag",
            {**decay, "radius": 0.05},
            twins=("swag",),
            published=Published(57.7, 0.075, 1.249, 362, 2.44),
        ),
        Row(
            "entropy-mcmc",
            "entropy-mcmc",
            chain,
            pace=slow,
            published=Published(56.7, 0.142, 1.266, 541, 1.98),
        ),
        Row(
            "ptl",
            "ptl",
            {**cyclical, "temperature": "code", "scale": _SCALE},
            start="moped",
            pace=slow,
            published=Published(57.3, 0.116, 1.345, 559, 2.23),
        ),
    ]
    if find_spec("ivon"):  # an optional dependency
        rows.append(Row("ivon", "ivon", decay, published=Published(56.2, 0.023, 1.262)))
    return rows


ROWS: dict[str, Row] = {row.name: row for row in _rows()}
"""The rows by name, in the order in which they are trained."""


@dataclass
class Study(RowStudy):
    """The study of one problem.

    The ``start`` of a row is ``"weights"``, the network's own weights with the method's own prior;
    or ``"moped"``, the prior by MOPED's rule around them. In the settings of a row ``"decay"``
    stands for the prior's scale that belongs to the weight decay, and ``"code"`` for the
    temperature of the published code. Both depend on the number of examples.

    Attributes:
        problem: Task and network. A folder holds one.
    """

    problem: Problem = PROBLEMS["cifar10-10-shot"]

    name = "transfer"
    rows = ROWS
    rates = (0.01, 0.02, 0.05)
    sources = (
        "The paper's numbers are of another network, ResNet-18; its lambda_1 has lambda_1 / "
        "lambda_5 in brackets."
    )

    @property
    def label(self) -> str:
        """Task and network as one line."""
        return self.problem.label

    @property
    def options(self) -> str:
        """The option that names the task."""
        return f"--task {self.problem.task}"

    @property
    def is_of_paper(self) -> bool:
        """Whether the paper has results on this task."""
        return self.problem.task == "cifar10-10-shot"

    def load(self, seed: int) -> tuple[Task, nn.Module]:
        """The task of a seed, as the network expects it, and the network with a head of zeros."""
        problem = self.problem
        task = tasks.load(problem.task, seed=seed, **problem.task_settings)
        model = models.build(problem.model, task, seed=seed, **problem.settings)
        with torch.no_grad():
            for name in head(model):
                model.get_parameter(name).zero_()
        transform = models.transform_of(model)
        if transform is not None:
            task = task.transformed(transform)
        if not problem.frozen:
            return task, model
        frozen, rest = divide(model, problem.frozen)
        # In a file of their own, so that the run files can be measured without this study.
        path = self.folder / f"features-seed{seed}.npz"
        tasks.write_npz(path, features(task, frozen))
        return tasks.load("arrays", path=str(path), standardise=False), rest

    def arguments(self, start: str, task: Task, model: nn.Module) -> dict[str, Any]:
        """The inferred parameters, and MOPED's prior."""
        names = normalisation_and_head(model)
        if start == "weights":
            return {"parameters": names}
        prior = posteriors.moped(
            model, delta=_DELTA, alpha=_ALPHA, parameters=names, calibration=task.train
        )
        return {"parameters": names, "prior": prior}

    def settings(self, row: Row, rate: float) -> dict[str, Any]:
        """All settings of the row's method at the learning rate that all rows share."""
        examples, _ = self.sizes
        of_size = {"decay": (_DECAY * examples) ** -0.5, "code": examples / _NOISE}
        settings = {name: of_size.get(value, value) for name, value in row.settings.items()}
        settings["epochs"] = self.budget.epochs
        if row.method not in OWN_RATE:
            settings["learning_rate"] = row.pace * rate
        if row.method != "ptl":  # its cycles have none
            settings["warmup"] = _WARMUP
        if row.method in ("swag", "f-swag"):
            settings["swag_rate"] = rate / 2
        if row.method == "fp-bma" and row.start == "moped":
            settings["beta"] = examples * _BETA
        if methods.METHODS[row.method].can_stop_early:
            settings["patience"] = self.budget.epochs
        return settings

    def description(self, choice: str) -> list[str]:
        """Paragraphs of the page above its tables."""
        examples, size = self.sizes
        frozen = ""
        if self.problem.frozen:
            frozen = (
                f" The first {self.problem.frozen} blocks of the network are frozen whole, so the "
                "images pass through them once. There is no augmentation, for the same reason. "
                "Their running statistics are those of the labelled images."
            )
        return [
            f"{self.problem.label}: {examples} labelled images, {size:,} inferred parameters "
            "(normalisation layers and head). All methods start at the pretrained weights and a "
            f"head of zeros.{frozen}",
            f"{self.budget.epochs} epochs in batches of 50, cosine with {_WARMUP:.0%} of warm-up. "
            "Methods that do not need their whole trajectory return the epoch of the lowest "
            f"validation loss. {choice} SGLD, Entropy-MCMC and PTL, which have no momentum, take "
            "ten times it; bSAM and IVON keep their defaults, which are in other units. Laplace "
            "and MoLA choose their prior precision, one of six, on the validation set. Nothing "
            "else is tuned.",
            f"Weight decay {_DECAY}. Rows named moped: MOPED's prior and start, delta {_DELTA} and "
            f"alpha {_ALPHA}, beta {_BETA} in the paper's units; log sigma does not learn. Rows "
            "named vi: this package's default prior N(0, 0.166^2) with beta 0.01; log sigma "
            f"learns. MoLA has {_MEMBERS} members, which start at samples of MOPED's prior.",
            "The number in a name is the relative radius, the radius over the square root of the "
            f"number of parameters (0.1 is {0.1 * size**0.5:.3g}); gamma is the published length. "
            "The row with `score` is the code's rule. FP-BMA (SWAG) and FP-BMA (MoLA) have the "
            "ball of MOPED's Gaussian, because there is no SWAG posterior of ImageNet; PTL's prior "
            f"is that Gaussian with {_SCALE:.0f} times its covariance. Samplers: temperature N / "
            f"{_NOISE:,}, the noise of the published code.",
            f"Averages of {self.budget.samples} samples (1 of a point), ECE with 15 bins, NLL in "
            "nats. Curvature of the training loss, without augmentation and over the inferred "
            f"parameters, at so many samples: {self.budget.measured}.",
        ]


def features(task: Task, frozen: nn.Module) -> Task:
    """The task whose inputs are the outputs of frozen layers.

    Their running statistics are those of the training images.
    """
    space = ParameterSpace(frozen)
    buffers = reestimate(space, space.vector(), task.train).buffers

    def outputs(inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            parts = [space.predict(space.vector(), x, buffers) for x in torch.split(inputs, _PART)]
        return torch.cat(parts)

    return replace(
        task,
        train=task.train.with_inputs(outputs),
        validation=task.validation.with_inputs(outputs),
        test=task.test.with_inputs(outputs),
    )


def study(folder: Path, budget: Budget, task: str | None, device: str = "cpu") -> Study:
    """The study in a folder.

    Args:
        folder: Folder of run files and of the page.
        budget: Number of seeds, epochs, samples and measured samples.
        task: Name of the target task, one of ``PROBLEMS``; the first if ``None``.
        device: Device for training and measuring.

    Raises:
        InputError: The task is unknown, or the folder holds another problem.
    """
    task = task or next(iter(PROBLEMS))
    if task not in PROBLEMS:
        raise InputError(f"transfer is on the tasks {', '.join(PROBLEMS)}, not '{task}'")
    return Study(folder, budget, device, problem=PROBLEMS[task])
