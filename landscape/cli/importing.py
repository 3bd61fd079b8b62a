"""The command ``import``, which makes a run of weights that were trained elsewhere."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from landscape import models, posteriors, tasks, workflow
from landscape.cli.options import Device, Json, Seed, as_options, task_settings_of
from landscape.cli.report import print_run
from landscape.objective import subsets
from landscape.runtime.devices import choose_device
from landscape.tasks import TASKS


def import_weights(
    weights: str,
    /,
    *,
    task: str,
    model: str,
    out: Path = Path("runs"),
    name: str | None = None,
    parameters: Literal[tuple(subsets.CHOICES)] = "all",  # type: ignore[valid-type]
    prefix: str | None = None,
    buffers: Literal["reestimate", "keep"] = "reestimate",
    samples: int = 30,
    overwrite: bool = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    task_settings: Annotated[Any, Parameter(parse=False)] = None,
) -> None:
    """Make a run of weights that were trained elsewhere: each file is one posterior sample.

    'landscape measure' and 'landscape surface' go on from the run.

    Args:
        weights: Folder of files of weights, one file, or a pattern in quotes ('runs/*/w.pt').
        task: Tasks: {tasks}.
        model: Network: {models}.
        out: Folder for the results.
        name: Name of the run; by default TASK-imported.
        parameters: Parameters in which the files may differ.
        prefix: Prefix of the names to use from the files; by default it is found.
        buffers: Whether running statistics are re-estimated, or each sample keeps its file's.
        samples: Number of posterior samples that predictions are averaged over.
        overwrite: Replace an existing run.
        task_settings: Settings of the task.
    """
    of_task = {} if task_settings is None else asdict(task_settings)
    if task in TASKS and "seed" in inspect.signature(TASKS[task]).parameters:
        of_task["seed"] = seed
    data = tasks.load(task, **of_task)
    network = models.build(model, data, seed=seed).to(choose_device(device))
    posterior = posteriors.from_weights(
        network,
        weights,
        parameters=subsets.CHOICES[parameters](network),
        prefix=prefix,
        buffers=buffers,
        calibration=data.train,
    )
    recorded = workflow.record(
        out / f"{name or f'{task}-imported'}.h5",
        data,
        posterior,
        samples=posterior.num_available(samples),
        seed=seed,
        overwrite=overwrite,
        config={
            "parameters": parameters,
            "imported": weights,
            "prefix": prefix,
            "buffers": buffers,
        },
    )
    print_run(recorded.run.path, as_json)


import_weights.__doc__ = (import_weights.__doc__ or "").format(
    tasks=", ".join(TASKS), models=", ".join(models.MODELS)
)


def prepare(words: list[str]) -> tuple[Callable[..., None], list[str]]:
    """The command with the settings of the task that the words name.

    Args:
        words: Words of the command line from ``import`` on.

    Returns:
        The command, and the words.
    """
    parts = [part for word in words for part in _split(word)]
    *_, task = ["", *(value for key, value in itertools.pairwise(parts) if key == "--task")]
    if task not in TASKS:
        return import_weights, words

    @functools.wraps(import_weights)
    def command(*arguments: Any, **options: Any) -> None:
        import_weights(*arguments, **options)

    command.__annotations__ = import_weights.__annotations__ | {
        "task_settings": as_options(task_settings_of(task), task)
    }
    return command, words


def _split(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith("--task=") else [word]
