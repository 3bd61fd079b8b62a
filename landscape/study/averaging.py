"""Averaging over the flattest samples first, the sharpest first, or in random order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from landscape.prediction import metrics_in_order, metrics_in_random_orders, spearman
from landscape.store import Run
from landscape.study.bench import Finished
from landscape.study.readings import Results, samples_measured
from landscape.study.tables import Table, means

ORDERS = ("flat first", "sharp first", "random")


def curves(run: Run, metric: str = "nll") -> dict[str, np.ndarray]:
    """A metric of the average over the first n samples whose curvature is known, n = 1, ..., S.

    Args:
        run: With predictions and curvature of the same samples.
        metric: ``"accuracy"``, ``"nll"`` or ``"ece"``.

    Returns:
        For each of ``ORDERS`` an array (S,); that of ``"random"`` is the mean of 20 orders.
    """
    flatness = run.read("samples", "eigenvalues")["eigenvalues"][:, 0]
    predictions = run.read("predictions", "log_probabilities", "labels")
    found = torch.from_numpy(predictions["log_probabilities"][: len(flatness)])
    labels = torch.from_numpy(predictions["labels"])
    key = torch.from_numpy(flatness)
    drawn = metrics_in_random_orders(found, labels, orders=20)[metric]
    return {
        "flat first": metrics_in_order(found, labels, key)[metric].numpy(),
        "sharp first": metrics_in_order(found, labels, key, descending=True)[metric].numpy(),
        "random": drawn.mean(0).numpy(),
    }


def averaging_tables(finished: Sequence[Finished]) -> list[Table]:
    """How much the order matters, and whether a larger average closes the gap."""
    found = {
        (each.training.name, each.training.seed): (each.run, curves(each.run))
        for each in finished
        if samples_measured(each.run) > 1
    }
    sizes = _sizes(max(len(curve["random"]) for _, curve in found.values()))
    columns: dict[str, Results] = {
        f"{order}, n = {size}": {} for order in ORDERS for size in sizes[:-1]
    }
    columns[f"all, n = {sizes[-1]}"] = {}
    gaps: dict[str, Results] = {f"n = {size}": {} for size in sizes[:-1]}
    correlation: Results = {}
    for (name, seed), (run, curve) in found.items():
        for size in sizes[:-1]:
            if size > len(curve["random"]):
                continue
            for order in ORDERS:
                columns[f"{order}, n = {size}"].setdefault(name, {})[seed] = curve[order][size - 1]
            gap = curve["sharp first"][size - 1] - curve["flat first"][size - 1]
            gaps[f"n = {size}"].setdefault(name, {})[seed] = gap
        columns[f"all, n = {sizes[-1]}"].setdefault(name, {})[seed] = curve["random"][-1]
        correlation.setdefault(name, {})[seed] = _correlation(run)
    return [
        means(
            "NLL of the average over the first n samples",
            columns,
            note="Where a posterior has fewer samples, the last column is over all it has.",
        ),
        means(
            "NLL of the sharpest n minus that of the flattest n",
            gaps,
            note="Positive: the flat samples predict better.",
        ),
        means(
            "Rank correlation of lambda_1 and NLL over a posterior's samples",
            {"Spearman's rho": correlation},
            note="Positive: the flat samples predict better.",
        ),
    ]


def _sizes(most: int) -> list[int]:
    """The n that tables show, the last that of all samples."""
    return [size for size in (1, 2, 5, 10, 20) if size < most] + [most]


def _correlation(run: Run) -> float:
    lambdas = run.read("samples", "eigenvalues")["eigenvalues"][:, 0]
    alone = run.read("predictions", "nll")["nll"][: len(lambdas)]
    return spearman(lambdas, alone, resamples=1).rho
