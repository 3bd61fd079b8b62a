"""The commands ``demo`` and ``study``, which train and compare several methods."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from landscape.cli.options import Device, Json, Seed
from landscape.cli.report import print_json
from landscape.errors import InputError

NOTE = """
accuracy and NLL (nats): of the samples' average, on the test set. Training loss, lambda_1 and trace
(of the Hessian on the training set): mean +- standard deviation over samples. vi-random takes its
gradient at a random place, as far away as FP-BMA's worst one. One seed ranks no method.
"""


def demo(
    *,
    out: Path = Path("runs/demo"),
    samples: int = 10,
    grid: int = 31,
    epochs: int | None = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Pretrain, transfer and compare on the digits that come with the package.

    Args:
        out: Folder for the results.
        samples: Number of posterior samples.
        grid: Number of points along each side of the surface.
        epochs: Number of epochs of every method, for a shorter run.
    """
    from landscape.study import demo as comparison

    torch.set_num_threads(1)  # for so small a network threads cost more than they bring
    summaries = comparison.demo(
        out, samples=samples, grid=grid, epochs=epochs, seed=seed, device=device
    )
    if as_json:
        print_json({"folder": str(out.resolve()), "runs": [asdict(one) for one in summaries]})
        return
    print(comparison.table(summaries))
    print(NOTE)
    print(f"Results:   {out.resolve()}")
    print(f"Dashboard: landscape app {out}  ->  http://127.0.0.1:8050")


def study(
    name: str,
    /,
    *,
    out: Path = Path("runs/study"),
    task: str | None = None,
    model: str | None = None,
    weights: Path | None = None,
    device: Device = "cpu",
    budget: str = "small",
    seeds: int | None = None,
    trials: int | None = None,
    tuning_seeds: int | None = None,
    epochs: int | None = None,
    source_epochs: int | None = None,
    samples: int | None = None,
    measured: int | None = None,
    severities: str | None = None,
    equal_time: Annotated[bool | None, Parameter(negative_bool="no-")] = None,
    restarts: int | None = None,
    shots: int | None = None,
    methods: str | None = None,
    runs: str | None = None,
    sharpness: str | None = None,
    as_json: Json = False,
) -> None:
    """Answer a question about the methods, on a transfer task.

    Args:
        name: generalisation, flatness, averaging, ablation, toy, bound, compatibility, cost,
            correlation, surfaces, transfer, scratch or measures.
        out: Folder for the results; the study continues what is in it.
        task: digits (comes with the package), mnist after EMNIST's letters, cifar10-jpeg after
            lossless CIFAR-10, or cifar10-few-shot after Tiny ImageNet. For transfer, which has a
            network of its own: cifar10-10-shot, or digits to try it. For scratch: cifar10
            (1,000 images), cifar10-few-shot (8,500 images), or digits to try it.
        model: convnet, resnet20 or resnet18; for scratch vit or resnet20.
        weights: File of the weights that the source network starts from.
        budget: smoke, small or large. The next options change it.
        seeds: Number of seeds of the results.
        trials: Number of settings that are tried for each method, on half of the validation set.
        tuning_seeds: Number of seeds of each trial.
        epochs: Number of epochs of each training.
        source_epochs: Number of epochs of the source posterior.
        samples: Number of posterior samples to predict with.
        measured: Number of posterior samples to measure the curvature at.
        severities: Severities of the corrupted test sets, 1 to 5, such as 1,3,5.
        equal_time: Whether generalisation also trains every method as long as FP-BMA.
        restarts: Number of starts of either kind in the toy study.
        shots: Number of labelled images of every class; 0 for all images of CIFAR-10.
        methods: Methods to compare with fp-bma, such as swag,vi; for transfer and scratch rows of
            their tables. All by default.
        runs: Folders of the runs that measures compares, with commas between them.
        sharpness: Measures of flatness, with commas between their names; all by default.
    """
    from landscape import study as studying

    torch.set_num_threads(1)  # as in the demo
    spent = studying.budget(
        budget,
        seeds=seeds,
        trials=trials,
        tuning_seeds=tuning_seeds,
        epochs=epochs,
        source_epochs=source_epochs,
        samples=samples,
        measured=measured,
        severities=_numbers(severities),
        equal_time=equal_time,
        restarts=restarts,
        shots=shots,
    )
    only, measures = (None if part is None else part.split(",") for part in (methods, sharpness))
    tables = studying.study(
        name,
        out,
        spent,
        task=task,
        model=model,
        weights=weights,
        device=device,
        only=only,
        runs=[] if runs is None else [Path(folder) for folder in runs.split(",")],
        sharpness=measures,
    )
    if as_json:
        rows = [asdict(table) for table in tables]
        print_json({"study": name, "budget": asdict(spent), "tables": rows})
        return
    print("\n\n".join(table.text() for table in tables))
    print(f"\nSummary:   {(out / name).resolve()}.md")
    print(f"Dashboard: landscape app {(runs or str(out / 'runs')).replace(',', ' ')}")


def _numbers(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--severities takes a list such as 1,3,5, not '{text}'") from error
