"""Curvature joined with predictions of the same posterior samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.prediction import metrics_in_orders
from landscape.store import Group, Run
from landscape.store.summary import places_of
from landscape_app.cache import cached
from landscape_app.commands import measure_command
from landscape_app.data import NotMeasured, missing, read, read_class_probabilities

ORDERS = 20
"""Number of random orders. The band holds their middle 90 %; it is not an error of the mean."""

Curves = Mapping[str, np.ndarray]
"""Accuracy, NLL and ECE of the average over the first n samples, each of shape (S,)."""


@dataclass(frozen=True)
class Averages:
    """Metrics of the average over the first n of S samples, in several orders.

    Attributes:
        flat_first: Averages in order of lambda_1; None if lambda_1 is not known.
        sharp_first: Averages in the opposite order.
        random: Mean over random orders.
        low: 5 % quantile over random orders.
        high: 95 % quantile.
        samples: Number of samples with predictions; at least S.
        lost: Reason why there is no order by flatness, in a few words; empty if there is one.
        undefined: Number of samples with a lambda_1 that is not finite. They count as the sharpest.
    """

    flat_first: Curves | None
    sharp_first: Curves | None
    random: Curves
    low: Curves
    high: Curves
    samples: int
    lost: str = ""
    undefined: int = 0


def averages(run: Run) -> Averages:
    """Metrics of the averages of a run's predictions, with its samples in several orders.

    If only some samples have curvature, only these are averaged. The result is small but takes
    much work, so it is cached until the file changes.

    Raises:
        NotMeasured: the run has no predictions.
        InputError: the file cannot be read, or its predictions cannot be scored.
    """
    return cached("averages", run.path, lambda: _averages(run))


def _averages(run: Run) -> Averages:
    group = read_class_probabilities(run)
    predictions = torch.from_numpy(group["log_probabilities"])
    labels = torch.from_numpy(group["labels"])
    num_samples = len(predictions)
    by_flatness: list[Tensor] = []
    lost, undefined = "", 0
    try:
        lambda_1 = _joined(run, group)["lambda_1"]
        undefined = int(np.count_nonzero(~np.isfinite(lambda_1)))
        sort_key = torch.from_numpy(np.where(np.isfinite(lambda_1), lambda_1, np.inf))
        predictions = predictions[: len(sort_key)]
        by_flatness = [
            sort_key.argsort(stable=True),
            sort_key.argsort(stable=True, descending=True),
        ]
    except NotMeasured as error:
        lost = error.reason
    generator = torch.Generator().manual_seed(0)
    random = [torch.randperm(len(predictions), generator=generator) for _ in range(ORDERS)]
    metrics = metrics_in_orders(predictions, labels, torch.stack([*random, *by_flatness]))
    random_metrics = {name: values[:ORDERS] for name, values in metrics.items()}
    flat, sharp = (
        {name: values[row].numpy() for name, values in metrics.items()} if by_flatness else None
        for row in (-2, -1)
    )
    low, high = (
        {name: values.quantile(share, 0).numpy() for name, values in random_metrics.items()}
        for share in (0.05, 0.95)
    )
    mean = {name: values.mean(0).numpy() for name, values in random_metrics.items()}
    return Averages(flat, sharp, mean, low, high, num_samples, lost, undefined)


def flatness_and_error(run: Run) -> Group:
    """lambda_1 of each posterior sample and the test metrics of that sample alone.

    Samples are drawn one after the other: the first samples do not depend on the number drawn.

    Returns:
        ``lambda_1``, ``nll``, and ``error`` (1 - accuracy) or, for regression, ``rmse``, each of
        shape (S,). For Markov chains also ``places`` (S, 2). The attributes are those of
        ``samples``.

    Raises:
        NotMeasured: the file lacks one of them, or they belong to different samples.
        InputError: the file cannot be read.
    """
    return _joined(run, read(run, "predictions", "nll", optional=("accuracy", "rmse")))


def _joined(run: Run, scores: Group) -> Group:
    """``flatness_and_error`` for the predictions of a run."""
    flat = read(run, "samples", "eigenvalues", optional=("chain", "place"))
    if "nll" not in scores:
        raise missing(run, "predictions")
    seeds = [group.attributes.get("seed") for group in (flat, scores)]
    if seeds[0] != seeds[1]:
        reason = (
            f"curvature and predictions are of different samples (seeds {seeds[0]} and {seeds[1]})"
        )
        remedy = f"run `{measure_command(run, seed=seeds[1])}`"
        raise NotMeasured(f"{reason}: {remedy}", reason)
    count = min(len(flat["eigenvalues"]), len(scores["nll"]))
    if not count or not flat["eigenvalues"].size:
        raise missing(run, "samples")
    variables = {"lambda_1": flat["eigenvalues"][:, 0], "nll": scores["nll"]}
    if "accuracy" in scores:
        variables["error"] = 1 - scores["accuracy"]
    if "rmse" in scores:
        variables["rmse"] = scores["rmse"]
    places = places_of(run, flat, len(flat["eigenvalues"]))
    if places is not None:
        variables["places"] = places
    return Group({name: values[:count] for name, values in variables.items()}, flat.attributes)
