"""From settings to a run file, and from a run file back to its posterior: what the commands do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from landscape import models, posteriors, tasks
from landscape.curvature import Flatness, measure
from landscape.errors import InputError
from landscape.methods import Method
from landscape.methods.checkpoint import (
    OtherTrainingError,
    digest_of_checkpoint,
    identity_digest,
)
from landscape.methods.loop import Progress
from landscape.objective.likelihood import GaussianLikelihood
from landscape.objective.parameters import Choice, ParameterSpace
from landscape.posteriors import Posterior
from landscape.prediction import Prediction, RealPrediction, predict, predict_real
from landscape.running_stats.normalisation import normalisation_layers
from landscape.runtime import distributed
from landscape.runtime.devices import choose_device, describe_device
from landscape.runtime.files import file_lock, fingerprint, remove_leftovers
from landscape.store import Run, ensure_new, schema
from landscape.store.run import Filling
from landscape.surfaces import Line, PlaneKind, Surface, grid, line, surface
from landscape.tasks import Data, Task
from landscape.workflow.resume import KeptOnSplit, with_defaults

_CHECKPOINT = ".checkpoint.safetensors"


@dataclass(frozen=True)
class Trained:
    """A posterior with its task and the run file that is about it.

    Attributes:
        run: The run file.
        posterior: The posterior.
        task: The task.
        before: Whether the same training was finished before, and nothing was trained now.
    """

    run: Run
    posterior: Posterior
    task: Task
    before: bool = False


def train(
    path: Path,
    task: Task,
    method: Method[Any],
    model: torch.nn.Module,
    *,
    prior: Posterior | None = None,
    parameters: Choice = None,
    samples: int = 30,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    config: Mapping[str, Any] | None = None,
    progress: bool | Progress | None = None,
) -> Trained:
    """Train a posterior and write its run file: training history, predictions on the test set.

    The posterior's weights go beside the run file, into one of the same name in ``.safetensors``.
    No earlier run is replaced before training has succeeded. Until then a checkpoint lies there in
    ``.checkpoint.safetensors``, and the same call continues from it. Where the run file is of the
    same training already, it is read, and nothing is trained.

    Args:
        path: The run file, ending in ``.h5``. That it can be written is checked before training.
        task: What to train on; see ``tasks.load``.
        method: The method, with its settings.
        model: A network for the task.
        prior: See the method.
        parameters: Which parameters are inferred; see ``ParameterSpace``.
        samples: Samples to average predictions over.
        seed: Governs training and the samples.
        device: ``"auto"``, or a name that torch knows.
        overwrite: Replace an existing run file, and a checkpoint of another training.
        config: More settings, for the record.
        progress: Called after each epoch; see ``Method.fit``.

    Raises:
        InputError: the settings do not fit each other, ``path`` cannot be written, or another
            process is measuring what is there.
        TrainingError: training diverged.
    """
    if samples < 1:
        raise InputError(f"the number of samples must be at least 1, not {samples}")
    leads = distributed.rank() == 0
    weights = path.with_suffix(".safetensors")
    where = choose_device(device)
    settings = {
        "task": {"name": task.name, **task.settings},
        "method": {"name": method.name, **asdict(method)},
        "model": getattr(model, "architecture", None),
        "prediction": {"samples": samples},
        **(config or {}),
    }
    identity = method.identity(ParameterSpace(model, parameters), task, prior, seed)
    training = identity_digest(identity)
    if not overwrite and _is_finished(path, weights, training, settings):
        tidy(path.parent)
        posterior = posteriors.load(weights, model, device=where, calibration=task.train)
        return Trained(Run.open(path), posterior, task, before=True)
    if leads:
        ensure_new(path, overwrite=overwrite)
        schema.attribute("config", settings)  # that it can be stored is known before training
        tidy(path.parent)
        with _alone(path, weights):
            pass
    begun = time.perf_counter()
    checkpoint = path.with_suffix(_CHECKPOINT)
    fit = partial(
        method.fit,
        model,
        task,
        prior=prior,
        parameters=parameters,
        seed=seed,
        device=str(where),
        checkpoint=checkpoint,
        progress=progress,
    )
    try:
        posterior = fit()
    except OtherTrainingError:
        if not overwrite or not leads:
            raise
        checkpoint.unlink()
        posterior = fit()
    if not leads:
        distributed.wait_for_all()
        return Trained(Run.open(path), posterior, task)
    seconds = time.perf_counter() - begun
    prediction = _predict(posterior, task, samples, seed)
    space = posterior.space
    layers = normalisation_layers(space.module)
    with _alone(path, weights):
        run = Run.create(
            path,
            overwrite=overwrite,
            groups={
                "training": (posterior.history, {}),
                "predictions": _prediction_group(prediction, seed, posterior),
            },
            status="complete",
            method=method.name,
            task=task.name,
            seed=seed,
            config=settings,
            task_sizes=task.sizes,
            classes=list(task.classes),
            loss=task.loss if isinstance(task.loss, str) else getattr(task.loss, "__name__", "own"),
            parameters=", ".join(space.names),
            parameter_count=space.size,
            normalisation="running statistics re-estimated for each sample on the training set"
            if layers
            else "the network keeps no running statistics",
            data_fingerprint=task.fingerprint(),
            device=describe_device(where),
            dtype=str(space.dtype).removeprefix("torch."),
            posterior_file=posterior.save(weights).name,
            posterior_fingerprint=fingerprint(weights),
            training_fingerprint=training,
            training_seconds=seconds,
        )
    checkpoint.unlink(missing_ok=True)
    distributed.wait_for_all()
    return Trained(run, posterior, task)


def _is_finished(path: Path, weights: Path, training: str, settings: Mapping[str, Any]) -> bool:
    """Whether a run file is of this very training and its predictions, and its weights are there.

    Raises:
        InputError: the file cannot be read.
    """
    if not path.exists():
        return False
    run = Run.open(path)
    plain = json.loads(json.dumps(settings))
    return (
        run.attributes.get("training_fingerprint") == training
        and all(run.config.get(name) == value for name, value in plain.items())
        and "predictions" in run
        and weights.exists()
        and run.attributes.get("posterior_fingerprint") == fingerprint(weights)
    )


def tidy(folder: Path) -> None:
    """Remove what killed commands left in a folder of runs and nobody needs any more.

    That is temporary files, and the checkpoints of trainings whose run files and weights are whole.
    Nothing else is touched, and nothing where it cannot be read or written.
    """
    remove_leftovers(folder)
    with suppress(OSError):
        for checkpoint in sorted(folder.glob(f"*{_CHECKPOINT}")):
            path = checkpoint.with_name(checkpoint.name.removesuffix(_CHECKPOINT) + ".h5")
            with suppress(InputError):
                training = digest_of_checkpoint(checkpoint)
                if _is_finished(path, path.with_suffix(".safetensors"), training, {}):
                    checkpoint.unlink()


@contextmanager
def in_progress(run: Run, **config: object) -> Iterator[None]:
    """Mark a run ``running`` meanwhile, and then ``complete``, or ``failed`` if the work failed.

    The settings on record are those of what the file holds: where the work wrote nothing before it
    failed, they are what they were.

    Args:
        run: The run.
        **config: Settings of what is being done, for the record.

    Raises:
        InputError: another process is at work on it, or it was not made by ``train``.
    """
    with _alone(run.path, _weights(run)):
        run.attributes = Run.open(run.path).attributes  # which may have changed since
        status, before = run.attributes.get("status", "failed"), json.dumps(run.config)
        run.set_attributes(status="running", config=json.dumps({**run.config, **config}))
        begun = _state(run.path)
        try:
            yield
        except BaseException as error:
            if _state(run.path) != begun:
                run.set_attributes(status="failed")
            else:
                refused = isinstance(error, InputError)  # nothing was started
                run.set_attributes(status=status if refused else "failed", config=before)
            raise
        run.set_attributes(status="complete")


def _alone(path: Path, weights: Path) -> AbstractContextManager[None]:
    """Keep off others who are at work on a run, or on another one with the same weights."""
    refusal = (
        f"another process is measuring {path} or a run with the same weights: wait until it is "
        "done, or copy both files to another folder"
    )
    return file_lock(weights, refusal) if weights.exists() else nullcontext()


def _weights(run: Run) -> Path:
    """The posterior's file. Its name comes from the run, and so maybe from anybody: a neighbour.

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


def _state(path: Path) -> tuple[int, int] | None:
    """Another one after each write, for a write puts another file in its place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def load(path: Path, *, device: str = "auto") -> Trained:
    """The posterior and task of a run file, rebuilt from its settings and the weights beside it.

    Raises:
        InputError: the run or its weights cannot be read, or it was not made by ``train``.
    """
    run = Run.open(path)
    tidy(path.parent)
    weights = _weights(run)
    settings = dict(run.config["task"])
    name, data = str(settings.pop("name")), Path(str(settings.get("path") or "/"))
    try:
        task = tasks.load(name, **settings)
    except InputError as error:
        if data.is_absolute() or data.exists():
            raise
        raise InputError(
            f"{error}; the path is as seen from the folder where {path} was trained: start there"
        ) from error
    # Only what is read from files can change; what is computed may differ by a rounding elsewhere.
    recorded = run.attributes.get("data_fingerprint")
    if "path" in task.settings and task.fingerprint() != recorded:
        raise InputError(
            f"{task.settings['path']} does not hold the data that {path} was trained on: it "
            "changed since, or this version reads it differently"
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


def measure_curvature(
    trained: Trained,
    *,
    fresh: bool = False,
    progress: bool | Callable[..., None] | None = None,
    **settings: Any,
) -> Flatness:
    """``landscape.measure`` on the training set, each sample written as soon as it is finished.

    With ``fresh``, samples that the run holds already are measured anew.

    Raises:
        InputError: a setting is out of range, or the run holds samples that were measured with
            other settings: only ``fresh`` replaces them.
    """
    asked = with_defaults(measure, settings)
    if not asked["density_probes"]:
        asked["density_steps"] = 0
    return measure(
        trained.posterior,
        trained.task.train,
        loss=trained.task.loss,
        store=_store(trained, asked, fresh=fresh),
        progress=progress,
        **settings,
    )


def check_surface(
    trained: Trained,
    *,
    plane: PlaneKind | None = None,
    split: str = "train",
    fresh: bool = False,
    **settings: Any,
) -> PlaneKind:
    """Whether ``measure_surface`` can do this: to ask before hours of other work.

    Returns:
        The plane.

    Raises:
        InputError: a setting is out of range, or the run holds a surface of other settings: only
            ``fresh`` replaces it.
    """
    _data(trained.task, split)
    asked = with_defaults(surface, settings)
    there = trained.posterior.num_available(asked["samples"])
    if plane is None:
        plane = "samples" if there >= 3 else "random"
    grid.check_surface(plane, asked["shape"], there, asked["margin"], asked["extent"])
    with suppress(KeyError):  # it holds none
        _store(trained, asked, split=split, fresh=fresh).read(f"surfaces/{plane}")
    return plane


def measure_surface(
    trained: Trained,
    *,
    plane: PlaneKind | None = None,
    split: str = "train",
    fresh: bool = False,
    progress: bool | Callable[..., None] | None = None,
    **settings: Any,
) -> Surface:
    """``landscape.surface`` on the training set or the test set, written to the run.

    That of the test set is beside the other, as ``surfaces/<kind>-test``. The plane is through the
    first three samples by default; where there are fewer, as of a point, a random one. With
    ``fresh``, rows that the run holds already are evaluated anew.

    Raises:
        InputError: see ``check_surface``; or the samples span no plane.
    """
    plane = check_surface(trained, plane=plane, split=split, fresh=fresh, **settings)
    return surface(
        trained.posterior,
        _data(trained.task, split),
        plane=plane,
        loss=trained.task.loss,
        store=_store(trained, with_defaults(surface, settings), split=split, fresh=fresh),
        progress=progress,
        **settings,
    )


def measure_line(
    trained: Trained,
    *,
    split: str = "train",
    fresh: bool = False,
    progress: bool | Callable[..., None] | None = None,
    **settings: Any,
) -> Line:
    """``landscape.surfaces.line`` on the training set or the test set, written to the run.

    With ``fresh``, points that the run holds already are evaluated anew.

    Raises:
        InputError: see ``line``; or the run holds such a line of other settings: only ``fresh``
            replaces it.
    """
    return line(
        trained.posterior,
        _data(trained.task, split),
        loss=trained.task.loss,
        store=_store(trained, with_defaults(line, settings), split=split, fresh=fresh),
        progress=progress,
        **settings,
    )


def _store(
    trained: Trained, asked: Mapping[str, Any], *, split: str = "train", fresh: bool
) -> KeptOnSplit:
    there = {
        "samples": trained.posterior.num_available(asked["samples"]),
        "parameters": trained.posterior.space.names,
    }
    examples = trained.task.sizes[split]
    return KeptOnSplit(trained.run, {**asked, **there}, split, examples, fresh)


def _data(task: Task, split: str) -> Data:
    if split not in ("train", "test"):
        raise InputError(f"a surface is on the split 'train' or 'test', not '{split}'")
    return task.train if split == "train" else task.test


def _predict(
    posterior: Posterior, task: Task, samples: int, seed: int
) -> Prediction | RealPrediction:
    loss = GaussianLikelihood() if task.loss == "gaussian" else task.loss
    if isinstance(loss, GaussianLikelihood):
        return predict_real(posterior, task.test, noise=loss.noise, samples=samples, seed=seed)
    return predict(posterior, task.test, samples=samples, seed=seed)


def _prediction_group(
    prediction: Prediction | RealPrediction, seed: int, posterior: Posterior
) -> Filling:
    alone = prediction.sample_metrics()
    places = posterior.places(len(alone), seed)
    variables: dict[str, object]
    if isinstance(prediction, Prediction):
        examples = len(prediction.labels)
        variables = {
            "log_probabilities": prediction.log_probabilities.cpu().numpy(),
            "labels": prediction.labels.cpu().numpy(),
            **{name: [metrics[name] for metrics in alone] for name in alone[0]},
        }
    else:
        examples = len(prediction.targets)
        variables = {name: [metrics[name] for metrics in alone] for name in alone[0]}
    if places is not None:
        variables |= dict(zip(("chain", "place"), places.T, strict=True))
    return variables, {
        "split": "test",
        "examples": examples,
        "samples": len(alone),
        "seed": seed,
        **prediction.metrics(),
    }
