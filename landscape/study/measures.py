"""What a study measures of a trained posterior, written to its run file; each thing once."""

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
    """Whether a run holds its metrics at a temperature of the half that tuning has not seen."""
    return "tempered" in run and run.attributes_of("tempered").get("split") == TEMPERATURE


def measure_tempered(trained: Trained, samples: int) -> None:
    """Metrics of the average on the test set, at the temperature best on half the validation set.

    That half is the one that tuning has not seen.
    """
    run, seed = trained.run, _seed(trained.run)
    if is_tempered(run):
        return
    validation, test = (
        predict(trained.posterior, data, samples=samples, seed=seed)
        for data in (for_temperature(trained.task), trained.task.test)
    )
    temperature = best_temperature(validation.average, validation.labels)
    found = Prediction(tempered(test.average, temperature)[None], test.labels)
    run.write(
        "tempered",
        {},
        {
            "temperature": temperature,
            **found.metrics(),
            "split": TEMPERATURE,
            "examples": len(validation.labels),
            "samples": len(test.log_probabilities),
            "seed": seed,
        },
    )


def measure_shifts(trained: Trained, task: Task, samples: int) -> None:
    """Metrics of the average on each of ``task.shifted``, with the samples of the predictions."""
    run, seed = trained.run, _seed(trained.run)
    names = list(task.shifted)
    if "shifted" in run and run.attributes_of("shifted").get("shifts") == json.dumps(names):
        return
    sets = list(task.shifted.values())
    # As one data set, so that running statistics are estimated once a sample.
    inputs = torch.cat([data.inputs for data in sets])
    together = Data(inputs, torch.cat([data.targets for data in sets]))
    found = predict(trained.posterior, together, samples=samples, seed=seed)
    sizes = [len(data) for data in sets]
    parts = torch.split(found.log_probabilities, sizes, dim=1)
    labels = torch.split(found.labels, sizes)  # on the predictions' device
    metrics = [Prediction(*each).metrics() for each in zip(parts, labels, strict=True)]
    run.write(
        "shifted",
        {name: [each[name] for each in metrics] for name in METRICS},
        {"shifts": json.dumps(names), "samples": len(found.log_probabilities), "seed": seed},
    )


def measure_curvature(trained: Trained, samples: int) -> None:
    """The five largest eigenvalues and the trace at the first ``samples`` of the predictions'.

    At their mean the largest eigenvalue, and the expected sharpness (group ``centre``).
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
    """An attribute of a group; 0 where there is no such group yet."""
    return int(run.attributes_of(group)[attribute]) if group in run else 0


def _seed(run: Run) -> int:
    return int(run.attributes["seed"])
