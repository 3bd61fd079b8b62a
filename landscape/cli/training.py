"""The command ``train``."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.config import Dict
from torch import nn

from landscape import methods, models, posteriors, tasks, workflow
from landscape.cli.options import Device, Json, Seed, as_options, read_toml, task_settings_of
from landscape.cli.report import print_run
from landscape.errors import InputError
from landscape.methods import METHODS, Recorder
from landscape.methods.rest import DETERMINISTIC
from landscape.objective import subsets
from landscape.posteriors import Posterior, transfer
from landscape.runtime import distributed
from landscape.runtime.devices import choose_device
from landscape.runtime.progress import say
from landscape.tasks import TASKS


def train(
    task: str,
    method: str,
    /,
    *,
    config: Path | None = None,
    out: Path = Path("runs"),
    name: str | None = None,
    model: str = "convnet",
    weights: str | None = None,
    image_size: int | None = None,
    prior: Path | None = None,
    source: Path | None = None,
    alpha: float = 1e-4,
    parameters: Literal[tuple(subsets.CHOICES)] = "all",  # type: ignore[valid-type]
    deterministic: Literal[DETERMINISTIC] = "freeze",  # type: ignore[valid-type]
    record_every: Annotated[int | None, Parameter(name="--record")] = None,
    record_most: int = 50,
    samples: int = 30,
    overwrite: bool = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    task_settings: Annotated[Any, Parameter(parse=False)] = None,
    method_settings: Annotated[Any, Parameter(parse=False)] = None,
) -> None:
    """Train a posterior. 'landscape train TASK METHOD --help' lists the settings of both.

    Args:
        task: Tasks: {tasks}.
        method: Methods: {methods}.
        config: TOML file of settings. Options of the command line take precedence.
        out: Folder for the results.
        name: Name of the run; by default TASK-METHOD-seedSEED.
        model: Network: {models}.
        weights: Pretrained weights of the network: a local file, or imagenet for
            efficientnet-lite0. The images get the form that such a network expects.
        image_size: Height and width of the images for a network with pretrained weights.
        prior: File of the posterior (.safetensors) that is the prior.
        source: File of a source task's posterior. It is the prior, except for a fresh head.
        alpha: Prior variance of the fresh head.
        parameters: Parameters that are inferred.
        deterministic: Whether the other parameters are frozen, or trained by SGD beside them.
        record_every: Number of steps after which the weights are kept beside the run, for
            'landscape measure --along'.
        record_most: Largest number of weights to keep. When there are as many, every second one is
            removed and the interval doubles.
        samples: Number of posterior samples that predictions are averaged over.
        overwrite: Replace an existing run.
        task_settings: Settings of the task.
        method_settings: Settings of the method.
    """
    with distributed.started_by_torchrun(device) as where:
        of_task = {} if task_settings is None else asdict(task_settings)
        if "seed" in inspect.signature(TASKS[task]).parameters:
            of_task["seed"] = seed
        data = tasks.load(task, **of_task)
        of_model = {"weights": weights, "size": image_size}
        given = {key: value for key, value in of_model.items() if value is not None}
        network = models.build(model, data, seed=seed, **given)
        transform = models.transform_of(network)
        data = data if transform is None else data.transformed(transform)
        inferred = subsets.CHOICES[parameters](network)
        record: dict[str, Any] = {"parameters": parameters}
        before: Posterior | None = None
        if prior is not None and source is not None:
            raise InputError("give --prior or --source, not both")
        if prior is not None:
            record |= {"prior": str(prior)}
            before = posteriors.load(
                prior, network, device=choose_device(where), calibration=data.train
            )
        if source is not None:
            record |= {"source": str(source), "alpha": alpha}
            before = _transferred(source, network, alpha, where)
            network = before.network()
        if before is not None and inferred is not None:  # the rest stays at the prior's mean
            network, before = before.network(), before.marginal(inferred)
        path = out / f"{name or f'{task}-{method}-seed{seed}'}.h5"
        recorder: Recorder | None = None
        if record_every is not None:
            record |= {"record": {"every": record_every, "most": record_most}}
            recorder = Recorder(
                path.with_suffix(workflow.TRAJECTORY),
                every=record_every,
                most=record_most,
                overwrite=overwrite,
            )
        trained = workflow.train(
            path,
            data,
            method_settings or methods.create(method),
            network,
            prior=before,
            parameters=inferred,
            deterministic=deterministic,
            samples=samples,
            seed=seed,
            device=where,
            overwrite=overwrite,
            config=record,
            recorder=recorder,
            progress=True,
        )
        if distributed.rank() == 0:
            if trained.before:
                say(
                    f"landscape: {trained.run.path} is finished: this training was done before; "
                    "--overwrite trains again"
                )
            print_run(trained.run.path, as_json)


train.__doc__ = (train.__doc__ or "").format(
    tasks=", ".join(TASKS), methods=", ".join(METHODS), models=", ".join(models.MODELS)
)


def _transferred(source: Path, network: nn.Module, alpha: float, device: str) -> Posterior:
    architecture = posteriors.describe(source)["architecture"]
    of_source = models.rebuild(architecture, most=source.stat().st_size)
    posterior = posteriors.load(source, of_source, device=choose_device(device))
    return transfer.adapt(posterior, network, alpha=alpha)


def prepare(words: list[str]) -> tuple[Callable[..., None], list[str], list[Dict]]:
    """The command with the settings of the task and the method that the words name.

    Args:
        words: Words of the command line from ``train`` on.

    Returns:
        The command, the words with task and method, and the settings of a file.

    Raises:
        InputError: Task or method is missing or unknown, or the file of settings is refused.
    """
    named = list(itertools.takewhile(lambda word: not word.startswith("-"), words[1:]))[:2]
    rest = [part for word in words[1 + len(named) :] for part in _without_equals(word)]
    *_, file = [None, *(Path(b) for a, b in itertools.pairwise(rest) if a == "--config")]
    settings = {} if file is None else read_toml(file)
    of_file = [settings.pop(key, None) for key in ("task", "method")]
    names = [*named, *of_file[len(named) :]]
    if not all(isinstance(name, str) for name in names):
        if set(rest) & {"-h", "--help"}:
            return train, ["train", "--help"], []
        raise InputError(
            f"train needs a task ({', '.join(TASKS)}) and a method ({', '.join(METHODS)})"
        )
    task, method = names
    if task not in TASKS:
        raise InputError(f"unknown task '{task}'; known: {', '.join(TASKS)}")
    if method not in METHODS:
        methods.create(method)  # its error names the methods

    @functools.wraps(train)
    def command(*arguments: Any, **options: Any) -> None:
        train(*arguments, **options)

    command.__annotations__ = train.__annotations__ | {
        "task_settings": as_options(task_settings_of(task), task),
        "method_settings": as_options(METHODS[method], method),
    }
    file_settings = [Dict(settings, use_commands_as_keys=False, source=str(file))]
    return command, ["train", task, method, *rest], file_settings


def _without_equals(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith("--config=") else [word]
