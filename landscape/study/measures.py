"""Measurements that a study adds to the run file of a trained posterior, each only once."""

from __future__ import annotations

import json

import torch

from landscape import curvature, workflow
from landscape.objective.objective import Objective
from landscape.prediction import Prediction, best_temperature, predict, tempered
from landscape.store import Run
from landscape.study.validation import TEMPERATURE, for_temperature
from landscape.tasks import Data, Task
from landscape.workflow import Trained

METRICS = ("accuracy", "nll", "ece", "brier")


def is_tempered(run: Run) -> bool:
    """Whether a run holds its metrics at the temperature fitted on the half not used for tuning."""
    return "tempered" in run and run.attributes_of("tempered").get("split") == TEMPERATURE


def measure_tempered(trained: Trained, samples: int) -> None:
    """Write the metrics of the averaged test predictions at the best temperature.

    The temperature is fitted on the half of the validation set that is not used for tuning.
    """
    run, seed = trained.run, _seed(trained.run)
    if is_tempered(run):
        return
    validation, test = (
        predict(trained.posterior, data, samples=samples, seed=seed)
        for data in (for_temperature(trained.task), trained.task.test)
    )
    temperature = best_temperature(validation.average, validation.labels)
    prediction = Prediction(tempered(test.average, temperature)[None], test.labels)
    run.write(
        "tempered",
        {},
        {
            "temperature": temperature,
            **prediction.metrics(),
            "split": TEMPERATURE,
            "examples": len(validation.labels),
            "samples": len(test.log_probabilities),
            "seed": seed,
        },
    )


def measure_shifts(trained: Trained, task: Task, samples: int) -> None:
    """Write the metrics of the averaged predictions on each shifted test set of a task.

    The posterior samples are the ones of the test predictions.
    """
    run, seed = trained.run, _seed(trained.run)
    names = list(task.shifted)
    if "shifted" in run and run.attributes_of("shifted").get("shifts") == json.dumps(names):
        return
    test_sets = list(task.shifted.values())
    # One joined data set, so that running statistics are estimated once per sample.
    inputs = torch.cat([data.inputs for data in test_sets])
    joined = Data(inputs, torch.cat([data.targets for data in test_sets]))
    prediction = predict(trained.posterior, joined, samples=samples, seed=seed)
    sizes = [len(data) for data in test_sets]
    log_probabilities = torch.split(prediction.log_probabilities, sizes, dim=1)
    labels = torch.split(prediction.labels, sizes)  # on the device of the predictions
    metrics = [
        Prediction(*test_set).metrics() for test_set in zip(log_probabilities, labels, strict=True)
    ]
    run.write(
        "shifted",
        {name: [values[name] for values in metrics] for name in METRICS},
        {"shifts": json.dumps(names), "samples": len(prediction.log_probabilities), "seed": seed},
    )


def measure_curvature(trained: Trained, samples: int) -> None:
    """Write the curvature of the training loss.

    At each of the first ``samples`` posterior samples of the predictions these are the five
    largest eigenvalues and the trace. The group ``centre`` holds the largest eigenvalue at the mean
    of these samples, and the expected sharpness.
    """
    run, seed = trained.run, _seed(trained.run)
    count = trained.posterior.num_available(samples)
    if _count(run, "samples", "requested") < count or run.attributes["status"] != "complete":
        settings = {"samples": samples, "seed": seed}
        with workflow.in_progress(run, measurement=settings):
            workflow.measure_curvature(trained, samples=samples, seed=seed, progress=False)
    if _count(run, "centre", "samples") == count:
        return
    posterior, train = trained.posterior, trained.task.train
    centre = posterior.sample(count, seed).mean(0)
    objective = Objective(posterior.space, train, trained.task.loss)
    objective = objective.with_buffers(posterior.buffers(centre))
    top = curvature.top_eigenvalues(objective, centre, 1, seed=seed)
    rise = curvature.expected_sharpness(
        posterior, train, samples=samples, loss=trained.task.loss, seed=seed
    )
    run.write(
        "centre",
        {"eigenvalues": top.values.numpy(), "residuals": top.residuals.numpy()},
        {
            "loss": float(objective.loss(centre)),
            "expected_sharpness": rise.value,
            "expected_sharpness_standard_error": rise.standard_error,
            "expected_sharpness_effective": rise.effective,
            "samples": count,
            "seed": seed,
        },
    )


def _count(run: Run, group: str, attribute: str) -> int:
    """An attribute of a group, or 0 if there is no such group yet."""
    return int(run.attributes_of(group)[attribute]) if group in run else 0


def _seed(run: Run) -> int:
    return int(run.attributes["seed"])
