"""The main job on the embedded digits: pretrain, transfer by three methods, measure, compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from landscape import models, tasks, workflow
from landscape.methods import FPBMA, MAP, SWAG, Method
from landscape.runtime.progress import Progress
from landscape.store import Summary, ensure_writable, summarise

SOURCE = SWAG(epochs=60)
METHODS: tuple[Method[Any], ...] = (MAP(), SWAG(), FPBMA())


def demo(
    folder: Path,
    *,
    samples: int = 10,
    grid: int = 31,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[str], Any] = Progress,
) -> list[Summary]:
    """Train MAP, SWAG and FP-BMA on rotated, noisy digits from a SWAG posterior of upright ones.

    Each is measured at ``samples`` posterior samples and written to a run file of its own in
    ``folder``, which replaces an earlier one. What is finished stays when a later one fails.

    Args:
        folder: Where the run files go.
        samples: Posterior samples to predict with and to measure.
        grid: Points along each side of the loss surface.
        epochs: Training length of every method; each one's own if ``None``.
        seed: Of the task, training and sampling.
        device: ``"auto"``, or a name that torch knows.
        progress: Makes the progress callback of a piece of work from its label.

    Returns:
        What each run file says, in the order of ``METHODS``.

    Raises:
        InputError: a setting is out of range, or the folder cannot be written.
        TrainingError: training diverged.
    """
    ensure_writable(folder)
    task = tasks.load("digits", seed=seed)
    upright = tasks.load("digits-upright")
    model = models.build("convnet", task, seed=seed)

    def train(name: str, on: tasks.Task, method: Method[Any], **more: Any) -> workflow.Trained:
        return workflow.train(
            folder / f"{name}.h5",
            on,
            method if epochs is None else replace(method, epochs=epochs),
            model,
            samples=samples,
            seed=seed,
            device=device,
            overwrite=True,
            progress=progress(f"{name}: training"),
            **more,
        )

    source = train("source", upright, SOURCE)
    config = {"prior": "source.safetensors"}
    summaries = []
    for method in METHODS:
        name = method.name
        trained = train(name, task, method, prior=source.posterior, config=config)
        settings: dict[str, Any] = {"samples": samples, "seed": seed}
        with workflow.in_progress(trained.run, measurement=settings):
            workflow.measure_curvature(trained, progress=progress(f"{name}: curvature"), **settings)
            workflow.measure_surface(
                trained, shape=(grid, grid), progress=progress(f"{name}: surface"), **settings
            )
        summaries.append(summarise(trained.run))
    return summaries


def table(summaries: list[Summary]) -> str:
    """The summaries as text, one line a run; a spread is over the posterior's samples."""
    rows = [("run", "accuracy", "NLL", "ECE", "lambda_1", "trace", "training s")]
    rows += [
        (
            each.name,
            _number(each.accuracy, 3),
            _number(each.nll, 3),
            _number(each.ece, 3),
            str(each.lambda_1 or "-"),
            str(each.trace or "-"),
            _number(each.training_seconds, 1),
        )
        for each in summaries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
