"""From a run file back to its posterior and its task."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape import models, posteriors, tasks
from landscape.errors import InputError
from landscape.posteriors import Posterior
from landscape.runtime.devices import choose_device
from landscape.runtime.files import file_lock, fingerprint
from landscape.store import Run
from landscape.tasks import Task
from landscape.workflow.resume import tidy

TRAJECTORY = ".trajectory"


@dataclass(frozen=True)
class Trained:
    """A posterior with its task and the run file that is about it.

    Attributes:
        run: The run file.
        posterior: The posterior.
        task: The task.
        before: Whether the run file already held the same training, so that nothing was trained.
    """

    run: Run
    posterior: Posterior
    task: Task
    before: bool = False


def load(path: Path, *, device: str = "auto") -> Trained:
    """The posterior and task of a run file, rebuilt from its settings and the weights beside it.

    Raises:
        InputError: the run or its weights cannot be read, or it was not made by ``train``.
    """
    run = Run.open(path)
    tidy(path.parent)
    weights = weights_of(run)
    settings = dict(run.config["task"])
    name, data = str(settings.pop("name")), Path(str(settings.get("path") or "/"))
    try:
        task = tasks.load(name, **settings)
    except InputError as error:
        if data.is_absolute() or data.exists():
            raise
        raise InputError(
            f"{error}; the path is relative to the folder in which {path} was trained: start there"
        ) from error
    # Files can change. Computed data may differ by a rounding on another machine.
    recorded = run.attributes.get("data_fingerprint")
    if "path" in task.settings and task.fingerprint() != recorded:
        raise InputError(
            f"{task.settings['path']} does not hold the data that {path} was trained on: it "
            "has changed, or this version reads it differently"
        )
    description = posteriors.describe(weights)
    if run.attributes.get("posterior_fingerprint", "") not in ("", fingerprint(weights)):
        raise InputError(
            f"{weights} does not hold the weights that {path} is about: put those back, or train "
            "again with --overwrite"
        )
    posterior = posteriors.load(
        weights,
        models.rebuild(description["architecture"], most=weights.stat().st_size),
        device=choose_device(device),
        calibration=task.train,
    )
    return Trained(run, posterior, task)


def along_training(trained: Trained) -> Trained:
    """The same run with the weights along its training in place of its posterior.

    They are in the folder beside the run with the ending ``.trajectory``; or in the folder that the
    run was imported from.

    Raises:
        InputError: no weights were kept along the training, or they are of another one.
    """
    run, posterior = trained.run, trained.posterior
    folder = run.path.with_suffix(TRAJECTORY)
    how: dict[str, Any] = {}
    training = run.attributes.get("training_fingerprint", "")
    if not training:
        folder = Path(str(run.config.get("imported", folder)))
        how = {name: run.config.get(name) for name in ("prefix", "buffers")}
    if not folder.is_dir():
        raise InputError(
            f"no weights were kept along the training of {run.path}: train with --record N, or "
            "import the folder of a Recorder"
        )
    path = posteriors.from_training(
        posterior.space.module,
        folder,
        parameters=list(posterior.space.names),
        calibration=posterior.calibration,
        **how,
    )
    if training and path.training != training:
        raise InputError(f"{folder} holds the weights of another training than {run.path}")
    return replace(trained, posterior=path)


def weights_of(run: Run) -> Path:
    """The posterior's file beside a run file, whatever folder the run names.

    Raises:
        InputError: the run was not made by ``train``.
    """
    name = Path(str(run.attributes.get("posterior_file", ""))).name
    task = run.config.get("task")
    if not name or not isinstance(task, dict) or not isinstance(task.get("name"), str):
        raise InputError(
            f"{run.path} names no posterior to measure (status: {run.attributes.get('status')}); "
            "train it first with 'landscape train'"
        )
    return run.path.parent / name


def lock(path: Path, weights: Path) -> AbstractContextManager[None]:
    """Lock a run against other processes that work on it, or on a run with the same weights."""
    refusal = (
        f"another process is measuring {path} or a run with the same weights: wait until it is "
        "done, or copy both files to another folder"
    )
    return file_lock(weights, refusal) if weights.exists() else nullcontext()
