"""From settings, or from a posterior, to a run file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from landscape import posteriors
from landscape.errors import InputError
from landscape.methods import Method, Recorder
from landscape.methods.checkpoint import OtherTrainingError, identity_digest
from landscape.methods.loop import Progress
from landscape.objective.checks import try_network
from landscape.objective.losses import Criterion
from landscape.objective.parameters import Choice, ParameterSpace
from landscape.posteriors import Posterior
from landscape.prediction import Prediction, RealPrediction, predict, predict_real
from landscape.running_stats.normalisation import normalisation_layers
from landscape.runtime import distributed
from landscape.runtime.devices import choose_device, describe_device
from landscape.runtime.files import fingerprint
from landscape.runtime.numbers import check_int
from landscape.store import Run, ensure_new, schema
from landscape.store.run import Contents
from landscape.tasks import Task
from landscape.workflow.loading import Trained, lock
from landscape.workflow.resume import CHECKPOINT, is_finished, tidy


def train(
    path: Path,
    task: Task,
    method: Method[Any],
    model: torch.nn.Module,
    *,
    prior: Posterior | None = None,
    parameters: Choice = None,
    deterministic: str = "freeze",
    samples: int = 30,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    config: Mapping[str, Any] | None = None,
    recorder: Recorder | None = None,
    progress: bool | Progress | None = None,
) -> Trained:
    """Train a posterior and write its run file: training history, predictions on the test set.

    The posterior's weights are written beside the run file, with the ending ``.safetensors``. An
    earlier run is replaced only after training has succeeded. Until then there is a checkpoint with
    the ending ``.checkpoint.safetensors``, and the same call continues from it. If the run file
    already holds the same training, it is read and nothing is trained.

    Args:
        path: The run file, ending in ``.h5``. It is checked before training that it can be written.
        task: The task, as from ``tasks.load``.
        method: The method, with its settings.
        model: A network for the task.
        prior: The prior, for methods that take one.
        parameters: Choice of the inferred parameters; see ``ParameterSpace``.
        deterministic: What happens to the others, as for ``Method.fit``.
        samples: Number of samples that predictions are averaged over.
        seed: Seed of training and of the samples.
        device: ``"auto"``, or a name that torch knows.
        overwrite: Replace an existing run file, and a checkpoint of another training.
        config: More settings, for the record.
        recorder: As for ``Method.fit``. ``along_training`` finds its folder beside the run file,
            with the same name and the ending ``.trajectory``.
        progress: As for ``Method.fit``.

    Raises:
        InputError: the settings do not fit each other, ``path`` cannot be written, or another
            process is measuring the run that is there.
        TrainingError: training diverged.
    """
    samples = check_int(samples, "the number of samples")
    leads = distributed.rank() == 0
    weights = path.with_suffix(".safetensors")
    where = choose_device(device)
    settings = {
        "task": {"name": task.name, **task.settings},
        "method": {"name": method.name, **asdict(method)},
        "model": getattr(model, "architecture", None),
        "prediction": {"samples": samples},
        **({"deterministic": deterministic} if deterministic != "freeze" else {}),
        **(config or {}),
    }
    inferred = ParameterSpace(model, parameters)
    joint = method.joint_space(model, inferred, deterministic)
    identity = method.identity(inferred, task, prior, seed, joint)
    training = identity_digest(identity)
    if not overwrite and is_finished(path, weights, training, settings):
        tidy(path.parent)
        posterior = posteriors.load(weights, model, device=where, calibration=task.train)
        return Trained(Run.open(path), posterior, task, before=True)
    _check_predictable(inferred, task)
    if leads:
        ensure_new(path, overwrite=overwrite)
        schema.attribute("config", settings)  # which fails if it cannot be stored
        tidy(path.parent)
        with lock(path, weights):
            pass
    begun = time.perf_counter()
    checkpoint = path.with_suffix(CHECKPOINT)
    fit = partial(
        method.fit,
        model,
        task,
        prior=prior,
        parameters=parameters,
        deterministic=deterministic,
        seed=seed,
        device=str(where),
        checkpoint=checkpoint,
        recorder=recorder,
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
    run = _write_run(
        path,
        posterior,
        task,
        settings,
        samples=samples,
        seed=seed,
        overwrite=overwrite,
        training_fingerprint=training,
        training_seconds=seconds,
    )
    checkpoint.unlink(missing_ok=True)
    distributed.wait_for_all()
    return Trained(run, posterior, task)


def record(
    path: Path,
    task: Task,
    posterior: Posterior,
    *,
    samples: int = 30,
    seed: int = 0,
    overwrite: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Trained:
    """Write the run file of a posterior that was trained elsewhere, with its predictions.

    The posterior's weights are written beside the run file, as by ``train``.

    Args:
        path: The run file, ending in ``.h5``.
        task: The task, as from ``tasks.load``.
        posterior: The posterior, over a network of ``models.build``.
        samples: Number of samples that predictions are averaged over.
        seed: Seed of the samples.
        overwrite: Replace an existing run file.
        config: More settings, for the record.

    Raises:
        InputError: ``path`` cannot be written, the network does not fit the task, or another
            process is measuring the run that is there.
    """
    samples = check_int(samples, "the number of samples")
    ensure_new(path, overwrite=overwrite)
    settings = {
        "task": {"name": task.name, **task.settings},
        "method": {"name": posterior.method, **posterior.settings},
        "model": getattr(posterior.space.module, "architecture", None),
        "prediction": {"samples": samples},
        **(config or {}),
    }
    schema.attribute("config", settings)  # which fails if it cannot be stored
    run = _write_run(
        path, posterior, task, settings, samples=samples, seed=seed, overwrite=overwrite
    )
    return Trained(run, posterior, task)


def _write_run(
    path: Path,
    posterior: Posterior,
    task: Task,
    settings: Mapping[str, Any],
    *,
    samples: int,
    seed: int,
    overwrite: bool,
    **training: str | float,
) -> Run:
    """Predict on the test set, and write the run file with the posterior's file beside it."""
    weights = path.with_suffix(".safetensors")
    prediction = _predict(posterior, task, samples, seed)
    space = posterior.space
    groups = {"predictions": _prediction_group(prediction, seed, posterior)}
    if posterior.history:
        groups["training"] = (posterior.history, {})
    with lock(path, weights):
        return Run.create(
            path,
            overwrite=overwrite,
            groups=groups,
            status="complete",
            method=posterior.method,
            task=task.name,
            seed=seed,
            config=settings,
            task_sizes=task.sizes,
            classes=list(task.classes),
            loss=Criterion(task.loss).name,
            loss_mean_over=f"{Criterion(task.loss).unit}s",
            parameters=", ".join(space.names),
            parameter_count=space.size,
            normalisation=_normalisation(posterior),
            data_fingerprint=task.fingerprint(),
            device=describe_device(space.device),
            dtype=str(space.dtype).removeprefix("torch."),
            posterior_file=posterior.save(weights).name,
            posterior_fingerprint=fingerprint(weights),
            **training,
        )


def _normalisation(posterior: Posterior) -> str:
    """What is done about running statistics, in words."""
    if posterior.sample_buffers is not None:
        return "running statistics of each sample as in its checkpoint"
    if normalisation_layers(posterior.space.module):
        return "running statistics re-estimated for each sample on the training set"
    return "the network keeps no running statistics"


def _check_predictable(space: ParameterSpace, task: Task) -> None:
    """Refuse a task whose predictions a run file cannot hold, before any training.

    Raises:
        InputError: the targets are neither labels nor of a Gaussian likelihood.
    """
    criterion = Criterion(task.loss)
    if criterion.likelihood is not None or not len(task.test):
        return
    trial = try_network(space, criterion, (task.test.inputs, task.test.targets))
    if criterion.rows(trial.outputs, space.move(trial.batch[1])) is None:
        raise InputError(
            f"a run file holds predictions of classes or with a Gaussian noise, and the loss "
            f"{criterion.name} has neither: train with the method's fit, and measure with "
            "landscape.measure"
        )


def _predict(
    posterior: Posterior, task: Task, samples: int, seed: int
) -> Prediction | RealPrediction:
    by_loss = predict if Criterion(task.loss).likelihood is None else predict_real
    return by_loss(posterior, task.test, samples=samples, seed=seed, loss=task.loss)


def _prediction_group(
    prediction: Prediction | RealPrediction, seed: int, posterior: Posterior
) -> Contents:
    by_sample = prediction.sample_metrics()
    places = posterior.places(len(by_sample), seed)
    variables: dict[str, object]
    variables = {name: [metrics[name] for metrics in by_sample] for name in by_sample[0]}
    if isinstance(prediction, Prediction):
        examples = len(prediction.labels)
        variables |= {
            "log_probabilities": prediction.log_probabilities.cpu().numpy(),
            "labels": prediction.labels.cpu().numpy(),
        }
    else:
        examples = len(prediction.targets)
    if places is not None:
        variables |= dict(zip(("chain", "place"), places.T, strict=True))
    return variables, {
        "split": "test",
        "examples": examples,
        "samples": len(by_sample),
        "seed": seed,
        **prediction.metrics(),
    }
