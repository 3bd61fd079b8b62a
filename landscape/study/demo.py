"""The demo on the built-in digits: pretrain, transfer in four ways, measure and compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from landscape import models, tasks, workflow
from landscape.methods import FPBMA, MAP, VI, Method
from landscape.runtime.progress import Progress
from landscape.store import Summary, ensure_writable, summarise

SOURCE = MAP(epochs=60)
METHODS: dict[str, Method[Any]] = {
    "map": MAP(),
    "vi": VI(),
    "vi-random": VI(ball="random"),
    "fp-bma": FPBMA(),
}
"""Rows of the table by name. All start at the same pretrained weights. The last three infer one
kind of Gaussian with one prior, and differ in where the gradient is taken: at q, at a random place
as far away as FP-BMA's, and at the worst place of the ball."""


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
    """Train MAP, VI and FP-BMA on rotated, noisy digits, from a network for upright digits.

    Each posterior is measured at ``samples`` samples and written to its own run file in
    ``folder``. A run file replaces an earlier one of the same name. Finished run files stay when a
    later method fails.

    Args:
        folder: Folder for the run files.
        samples: Number of posterior samples to predict with and to measure.
        grid: Number of points along each side of the loss surface.
        epochs: Number of epochs for every method; each method's own default if ``None``.
        seed: Seed of the task, of training and of sampling.
        device: ``"auto"``, or a device name that torch knows.
        progress: Function that takes a label and returns a progress callback.

    Returns:
        Summaries of the run files, in the order of ``METHODS``.

    Raises:
        InputError: A setting is out of range, or the folder cannot be written.
        TrainingError: Training diverged.
    """
    ensure_writable(folder)
    task = tasks.load("digits", seed=seed)
    upright = tasks.load("digits-upright")
    model = models.build("convnet", task, seed=seed)

    def train(
        name: str, task: tasks.Task, method: Method[Any], model: nn.Module, **more: Any
    ) -> workflow.Trained:
        return workflow.train(
            folder / f"{name}.h5",
            task,
            method if epochs is None else replace(method, epochs=epochs),
            model,
            samples=samples,
            seed=seed,
            device=device,
            overwrite=True,
            progress=progress(f"{name}: training"),
            **more,
        )

    pretrained = train("source", upright, SOURCE, model).posterior.network()
    config = {"pretrained": "source.safetensors"}
    summaries = []
    for name, method in METHODS.items():
        trained = train(name, task, method, pretrained, config=config)
        settings: dict[str, Any] = {"samples": samples, "seed": seed}
        with workflow.in_progress(trained.run, measurement=settings):
            workflow.measure_curvature(trained, progress=progress(f"{name}: curvature"), **settings)
            workflow.measure_surface(
                trained, shape=(grid, grid), progress=progress(f"{name}: surface"), **settings
            )
        summaries.append(summarise(trained.run))
    return summaries


def table(summaries: list[Summary]) -> str:
    """The summaries as text, one line per run. Deviations are over the posterior's samples."""
    columns = ("run", "accuracy", "NLL", "training loss", "lambda_1", "lambda_1/lambda_5", "trace")
    rows = [(*columns, "training s")]
    rows += [
        (
            summary.name,
            _number(summary.accuracy, 3),
            _number(summary.nll, 3),
            str(summary.train_loss or "-"),
            str(summary.lambda_1 or "-"),
            str(summary.lambda_ratio or "-"),
            str(summary.trace or "-"),
            _number(summary.training_seconds, 1),
        )
        for summary in summaries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
