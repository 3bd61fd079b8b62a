"""Run files as training and measuring would leave them, made of formulas."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from landscape.store import Run

SAMPLES, EXAMPLES, CLASSES = 10, 200, 10
GRID = (41, 33)
"""Points along (y, x): not square, so that swapped axes show."""


class Contents(dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]):
    """The groups of a run that is written at once: nine writes would take nine times as long."""

    def write(
        self, group: str, variables: Mapping[str, Any], attributes: Mapping[str, Any] | None = None
    ) -> None:
        self[group] = (variables, attributes or {})


def surface(generator: np.random.Generator, samples: int = SAMPLES) -> dict[str, np.ndarray]:
    """A bowl with a steep rim, and a corner where the network's output overflowed."""
    x, y = np.linspace(-3.0, 4.0, GRID[1]), np.linspace(-2.0, 2.5, GRID[0])
    across, along = np.meshgrid(x, y)
    loss = 0.05 + 0.04 * across**2 + 0.3 * along**2 * np.exp(0.6 * across)
    loss[-9:-2, :5] = np.nan
    loss[-2:, :5] = np.inf
    away = np.concatenate([[0.0] * min(3, samples), generator.uniform(1, 3, max(samples - 3, 0))])
    return {
        "x": x,
        "y": y,
        "loss": loss,
        "accuracy": np.clip(1 - loss / 6, 0, 1),
        "sample_x": generator.uniform(-1.5, 2, samples),
        "sample_y": generator.uniform(-1, 1, samples),
        "sample_off_plane": away,
        "sample_loss": 0.1 + 0.1 * away,
    }


def write_samples(
    run: Run | Contents, generator: np.random.Generator, samples: int = SAMPLES
) -> None:
    eigenvalues = np.sort(generator.lognormal(2.5, 0.5, (samples, 5)), axis=1)[:, ::-1]
    converged = np.ones_like(eigenvalues)
    converged[-1, -1] = 0
    run.write(
        "samples",
        {
            "eigenvalues": eigenvalues,
            "residuals": eigenvalues * 0.02,
            "converged": converged,
            "trace": eigenvalues.sum(1) * 2,
            "trace_standard_error": eigenvalues.sum(1) * 0.1,
            "loss": generator.uniform(0.1, 0.2, samples),
            "accuracy": generator.uniform(0.9, 1, samples),
            "matvecs": np.full(samples, 60),
            "seconds": np.full(samples, 0.4),
        },
        {"examples": 100, "split": "train", "backend": "lanczos", "tolerance": 1e-3},
    )


def write_density(
    run: Run | Contents, generator: np.random.Generator, samples: int = SAMPLES
) -> None:
    grid = np.linspace(-2.0, 40.0, 512)
    centres = generator.uniform(20, 30, samples)
    heights = [
        0.99 * np.exp(-0.5 * (grid / 0.4) ** 2) + 0.01 * np.exp(-0.5 * ((grid - c) / 0.4) ** 2)
        for c in centres
    ]
    density = np.array(heights) / (0.4 * np.sqrt(2 * np.pi))
    run.write(
        "density",
        {"grid": grid, "density": density, "standard_error": 0.05 * density},
        {"kernel_width": 0.4, "matrix": "hessian", "examples": 100, "split": "train"},
    )


def write_predictions(
    run: Run | Contents, generator: np.random.Generator, samples: int = SAMPLES
) -> None:
    logits = generator.normal(0, 2, (samples, EXAMPLES, CLASSES))
    run.write(
        "predictions",
        {
            "log_probabilities": logits - np.log(np.exp(logits).sum(2, keepdims=True)),
            "labels": generator.integers(0, CLASSES, EXAMPLES),
            "nll": generator.uniform(0.25, 0.4, samples),
            "accuracy": generator.uniform(0.88, 0.93, samples),
            "ece": generator.uniform(0.03, 0.06, samples),
        },
        {
            "split": "test",
            "examples": EXAMPLES,
            "accuracy": 0.935,
            "nll": 0.231,
            "ece": 0.0312,
            "brier": 0.101,
            "samples": samples,
        },
    )


def write_training(run: Run | Contents) -> None:
    epoch = np.arange(1, 21)
    run.write(
        "training",
        {
            "epoch": epoch,
            "train_loss": 2.3 * np.exp(-epoch / 5),
            "validation_loss": 2.3 * np.exp(-epoch / 6) + 0.1,
            "validation_accuracy": 1 - 0.9 * np.exp(-epoch / 4),
            "learning_rate": np.full(20, 0.01),
            "seconds": epoch * 1.7,
        },
    )


def write_surfaces(
    run: Run | Contents, generator: np.random.Generator, samples: int = SAMPLES
) -> None:
    shared = {"examples": 100, "split": "train"}
    run.write(
        "surfaces/samples",
        surface(generator, samples),
        {
            "kind": "samples",
            "x_axis": "from sample 0 towards sample 1",
            "y_axis": "towards sample 2, orthogonal to x",
            "variance_share": 0.372,
        }
        | shared,
    )
    run.write(
        "surfaces/random",
        surface(generator, samples),
        {
            "kind": "random",
            "x_axis": "random filter-normalised direction",
            "y_axis": "another, orthogonal to x",
        }
        | shared,
    )


def write_lines(run: Run | Contents) -> None:
    t = np.linspace(0, 1, 11)
    loss = 0.3 + t * (1 - t)
    straight = {"kind": "samples", "distance": 2.0, "examples": 100, "split": "train"}
    run.write("lines/samples", {"x": 2 * t, "loss": loss, "accuracy": 1 - loss}, straight)
    curve = {"kind": "bezier", "distance": 2.0, "examples": 397, "split": "test"}
    run.write("lines/bezier-test", {"x": t, "loss": loss / 2, "accuracy": 1 - loss}, curve)
    along = {"kind": "random", "examples": 100, "split": "train"}
    run.write("lines/random", {"x": t - 0.5, "loss": loss, "accuracy": 1 - loss}, along)


def write_run(folder: Path, name: str, *, method: str = "swag", seed: int = 0) -> Run:
    """A complete run."""
    generator = np.random.default_rng(seed)
    contents = Contents()
    write_training(contents)
    write_samples(contents, generator)
    write_density(contents, generator)
    write_predictions(contents, generator)
    write_surfaces(contents, generator)
    write_lines(contents)
    return start_run(folder, name, method=method, seed=seed, groups=contents, status="complete")


def start_run(folder: Path, name: str, *, method: str = "swag", seed: int = 0, **more: Any) -> Run:
    """A run that has measured nothing yet."""
    return Run.create(
        folder / f"{name}.h5",
        method=method,
        task="digits, 10 shots",
        seed=seed,
        config={"method": {"name": method, "rank": 5}, "task": {"shots": 10}},
        task_sizes={"train": 100, "validation": 50, "test": EXAMPLES},
        classes=[str(index) for index in range(CLASSES)],
        loss="cross_entropy",
        parameters="normalisation scale and shift, and the last layer",
        parameter_count=1234,
        device="cpu",
        dtype="float32",
        training_seconds=34.2,
        **more,
    )
