"""The run files of a study in its folder: each training is done once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from landscape import methods, workflow
from landscape.errors import InputError, TrainingError
from landscape.store import Run, ensure_writable
from landscape.study.plan import Training
from landscape.tasks import Task


@dataclass(frozen=True)
class RunFiles:
    """The run files of one problem in one folder.

    Attributes:
        folder: Folder of the study.
        problem: The problem in one line. A folder holds one problem.
        samples: Number of posterior samples to predict with.
        device: Device for training.

    Raises:
        InputError: The folder cannot be written, or holds another problem.
    """

    folder: Path
    problem: str
    samples: int
    device: str = "cpu"

    def __post_init__(self) -> None:
        ensure_writable(self.folder)
        note = self.folder / "task"
        if not note.exists():
            note.write_text(self.problem + "\n")
        stored = note.read_text().strip()
        if stored != self.problem:
            raise InputError(
                f"{self.folder} holds a study of {stored}: choose another folder for {self.problem}"
            )

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
            "method": json.loads(json.dumps({"name": method.name, **asdict(method)})),
            "prediction": {"samples": self.samples},
        }
        same = all(run.config.get(name) == value for name, value in expected.items())
        return run if same and "predictions" in run else None  # a killed study leaves some without

    def train(self, training: Training, task: Task, model: nn.Module, **arguments: Any) -> Run:
        """Train, and write the run file.

        Args:
            training: The training.
            task: Its task.
            model: Its network.
            **arguments: Further arguments of ``workflow.train``, such as the prior.

        Raises:
            TrainingError: Training diverged. A run file of other settings is then removed.
        """
        path = self.path(training)
        try:
            return workflow.train(
                path,
                task,
                methods.create(training.method, **training.settings),
                model,
                samples=self.samples,
                seed=training.seed,
                device=self.device,
                overwrite=True,
                progress=False,
                config={"study": training.record},
                **arguments,
            ).run
        except TrainingError:
            path.unlink(missing_ok=True)
            raise
