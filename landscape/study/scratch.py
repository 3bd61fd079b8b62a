"""Training from scratch with a variational part: Table 1 of the paper.

The paper is arXiv 2406.15664. Normalisation layers and the head are inferred, all other weights are
trained by SGD in the same step. The networks and the data are small, for a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from landscape import methods, models, tasks
from landscape.errors import InputError
from landscape.objective.subsets import normalisation_and_head
from landscape.study.plan import Budget
from landscape.study.rows import Published, Row, RowStudy
from landscape.tasks import Task

PROBLEMS: dict[str, dict[str, Any]] = {
    "cifar10": {"name": "cifar10-10-shot", "shots": 100, "validation": 500},
    "cifar10-few-shot": {"name": "cifar10-few-shot", "shots": 850},
    "digits": {"name": "digits"},
}
"""Settings of ``tasks.load`` by the name of the problem. The digits try the study.

``cifar10`` has 1,000 training images without loss, ``cifar10-few-shot`` 8,500 after JPEG.
"""

NETWORKS: dict[str, dict[str, Any]] = {
    "vit": {"width": 32, "depth": 3},
    "resnet20": {"width": 8, "normalisation": "group"},
}
"""Settings of the networks by name. Neither has batch normalisation."""

_DECAY = 5e-4
_WARMUP = 0.1


def _rows() -> list[Row]:
    decay = {"weight_decay": _DECAY}
    swag_ball = {"ball": "posterior-exact", "relative_radius": 0.1}
    rows = [
        Row("sgd", "map", decay, published=Published(83.3)),
        Row("sam", "sam", decay, start="all", twins=("sgd",), published=Published(87.6)),
        Row("vi", "fp-bma", {**decay, "radius": 0.0}, twins=("sgd",), published=Published(82.6)),
        *_ball_rows(0.05),
        Row("swag", "swag", decay, twins=("sgd",), published=Published(89.0)),
        Row("f-swag", "f-swag", decay, twins=("swag",), published=Published(89.4)),
        Row(
            "fp-bma-swag-0.1",
            "swag",
            {**decay, **swag_ball},
            twins=("swag",),
            published=Published(89.8),
        ),
        Row("sam-part", "sam", decay, twins=("sgd",)),
        *_ball_rows(0.2),
    ]
    return rows


def _ball_rows(radius: float) -> tuple[Row, Row]:
    """FP-BMA (VI) with a relative radius, and its twin along a random direction."""
    exact, control = f"fp-bma-vi-{radius}", f"random-vi-{radius}"
    ball = {"weight_decay": _DECAY, "relative_radius": radius}
    return (
        Row(exact, "fp-bma", ball, twins=("vi", control), published=Published(85.3)),
        Row(control, "fp-bma", {**ball, "ball": "random"}, twins=("vi",)),
    )


ROWS: dict[str, Row] = {row.name: row for row in _rows()}
"""The rows by name, in the order in which they are trained."""


@dataclass
class Study(RowStudy):
    """The study of one task and network.

    The ``start`` of a row is ``"weights"``, where normalisation layers and the head are inferred
    and SGD trains the rest; or ``"all"``, where all parameters are inferred.

    Attributes:
        task: Name of the task, one of ``PROBLEMS``.
        network: Name of the network, one of ``NETWORKS``.
    """

    task: str = "cifar10"
    network: str = "vit"

    name = "scratch"
    rows = ROWS
    rates = (0.01, 0.03, 0.1)
    measured_examples = 200
    sources = "The paper's accuracies are of ResNet-18 on all of CIFAR-10, 300 epochs."

    @property
    def label(self) -> str:
        """Task and network as one line."""
        return f"{self.task} with {self.network} from scratch"

    @property
    def options(self) -> str:
        """The options that name task and network."""
        return f"--task {self.task} --model {self.network}"

    @property
    def is_of_paper(self) -> bool:
        """Whether the paper has results on this task."""
        return self.task != "digits"

    def load(self, seed: int) -> tuple[Task, nn.Module]:
        """The task of a seed, and a network with the random weights of this seed."""
        task = tasks.load(seed=seed, **PROBLEMS[self.task])
        return task, models.build(self.network, task, seed=seed, **NETWORKS[self.network])

    def arguments(self, start: str, task: Task, model: nn.Module) -> dict[str, Any]:
        """The inferred parameters, and what happens to the others."""
        if start == "all":
            return {}
        return {"parameters": normalisation_and_head(model), "deterministic": "train"}

    def settings(self, row: Row, rate: float) -> dict[str, Any]:
        """All settings of the row's method at the learning rate that all rows share."""
        settings: dict[str, Any] = {**row.settings, "epochs": self.budget.epochs}
        settings |= {"learning_rate": rate, "warmup": _WARMUP}
        if row.method in ("swag", "f-swag"):
            settings["swag_rate"] = rate / 2
        if methods.METHODS[row.method].can_stop_early:
            settings["patience"] = self.budget.epochs
        return settings

    def description(self, choice: str) -> list[str]:
        """Paragraphs of the page above its tables."""
        examples, inferred = self.sizes
        _, model = self.start(0)
        size = sum(parameter.numel() for parameter in model.parameters())
        return [
            f"{self.label}: {examples:,} training images, {size:,} parameters, {inferred:,} of "
            "them in normalisation layers and the head. These are inferred; SGD trains the others "
            f"in the same step{_settings(NETWORKS[self.network])}. All rows of a seed start at the "
            "same random weights. sam perturbs all parameters, sam-part those of normalisation "
            "layers and the head.",
            f"{self.budget.epochs} epochs in batches of 50, cosine with {_WARMUP:.0%} of warm-up, "
            "crops and flips on CIFAR-10. Methods that do not need their whole trajectory return "
            f"the epoch of the lowest validation loss. {choice} Nothing else is tuned.",
            f"Weight decay {_DECAY}; SAM and F-SWAG with radius 0.05. vi and FP-BMA (VI): prior "
            "N(0, 0.166^2) with beta 0.01, beside the weight decay. The number in a name is the "
            "relative radius, the radius over the square root of the number of inferred parameters "
            f"(0.1 is {0.1 * inferred**0.5:.3g}). random: a step of the same length along a random "
            "direction. FP-BMA (SWAG) has the ball of its own snapshots.",
            f"Averages of {self.budget.samples} samples (1 of a point), ECE with 15 bins, NLL in "
            "nats. Training loss and curvature are on "
            f"{min(examples, self.measured_examples)} of the training images, without "
            "augmentation, and over normalisation layers and the head, at so many samples: "
            f"{self.budget.measured}.",
        ]


def _settings(settings: Mapping[str, Any]) -> str:
    """Settings of a network as a bracket, empty if there are none."""
    text = ", ".join(f"{name} {value}" for name, value in settings.items())
    return f" ({text})" if text else ""


def study(
    folder: Path, budget: Budget, task: str | None, network: str | None, device: str = "cpu"
) -> Study:
    """The study in a folder.

    Args:
        folder: Folder of run files and of the page.
        budget: Number of seeds, epochs, samples and measured samples.
        task: Name of the task, one of ``PROBLEMS``; the first if ``None``.
        network: Name of the network, one of ``NETWORKS``; the first if ``None``.
        device: Device for training and measuring.

    Raises:
        InputError: The task or the network is unknown, or the folder holds another problem.
    """
    task, network = task or next(iter(PROBLEMS)), network or next(iter(NETWORKS))
    if task not in PROBLEMS:
        raise InputError(f"scratch is on the tasks {', '.join(PROBLEMS)}, not '{task}'")
    if network not in NETWORKS:
        raise InputError(f"scratch has the networks {', '.join(NETWORKS)}, not '{network}'")
    return Study(folder, budget, device, task=task, network=network)
