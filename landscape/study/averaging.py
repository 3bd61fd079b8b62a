"""Averages over the flattest samples first, the sharpest first, or in random order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from landscape.prediction import (
    Correlation,
    metrics_in_order,
    metrics_in_random_orders,
    partial_spearman,
    spearman,
)
from landscape.store import Run
from landscape.study.metrics import (
    LABELS,
    POSITIVE,
    RANGES,
    Results,
    collect,
    samples_measured,
)
from landscape.study.runner import Finished
from landscape.study.tables import Table, correlations, means

ORDERS = ("flat first", "sharp first", "random")

Key = tuple[str, int]
"""Method and seed."""

Curves = dict[str, dict[str, np.ndarray]]
"""Arrays by metric and order."""


def curves(run: Run) -> Curves:
    """Metrics of the average over the first n samples with known curvature, n = 1, ..., S.

    Args:
        run: Run with predictions and curvature of the same samples.

    Returns:
        Arrays of shape (S,) by metric (``"accuracy"``, ``"nll"``, ``"ece"``) and order
        (``ORDERS``). The array of ``"random"`` is the mean of 20 orders.
    """
    lambdas = run.read("samples", "eigenvalues")["eigenvalues"][:, 0].tolist()
    predictions = run.read("predictions", "log_probabilities", "labels")
    log_probabilities = torch.from_numpy(predictions["log_probabilities"][: len(lambdas)])
    labels = torch.from_numpy(predictions["labels"])
    flat = metrics_in_order(log_probabilities, labels, lambdas)
    sharp = metrics_in_order(log_probabilities, labels, lambdas, descending=True)
    shuffled = metrics_in_random_orders(log_probabilities, labels, orders=20)
    return {
        metric: {
            "flat first": flat[metric].numpy(),
            "sharp first": sharp[metric].numpy(),
            "random": shuffled[metric].mean(0).numpy(),
        }
        for metric in flat
    }


def averaging_tables(finished: Sequence[Finished]) -> list[Table]:
    """Tables of how much the order matters, and of whether a larger average closes the gap."""
    several = [entry for entry in finished if samples_measured(entry.run) > 1]
    by_run = {(entry.training.name, entry.training.seed): curves(entry.run) for entry in several}
    sizes = _sizes(max(len(curve["nll"]["random"]) for curve in by_run.values()))
    nll = {order: {key: curve["nll"][order] for key, curve in by_run.items()} for order in ORDERS}
    columns = {
        f"{order}, n = {size}": _at(nll[order], size) for order in ORDERS for size in sizes[:-1]
    }
    columns[f"all, n = {sizes[-1]}"] = _at(nll["random"], 0)
    return [
        means(
            "NLL of the average over the first n samples",
            columns,
            within=dict.fromkeys(columns, POSITIVE),
            note="If a posterior has fewer samples, the last column averages all of them.",
        ),
        *(_gaps(by_run, metric, sizes[:-1]) for metric in ("nll", "accuracy", "ece")),
        _correlations(several),
    ]


def _gaps(by_run: Mapping[Key, Curves], metric: str, sizes: Sequence[int]) -> Table:
    """Differences of the sharpest n samples from the flattest n, and their mean over methods."""
    gaps = {  # without the last value: it averages all samples in both orders, so it is always 0
        key: (curve[metric]["sharp first"] - curve[metric]["flat first"])[:-1]
        for key, curve in by_run.items()
    }
    columns = {f"n = {size}": _at(gaps, size) for size in sizes}
    for results in columns.values():
        seeds = {seed for values in results.values() for seed in values}
        by_method = list(results.values())
        results["mean over methods"] = {
            seed: float(np.mean([values[seed] for values in by_method if seed in values]))
            for seed in sorted(seeds)
        }
    better = "Negative" if metric == "accuracy" else "Positive"
    low, high = RANGES[LABELS[metric]]
    return means(
        f"{LABELS[metric]} of the sharpest n minus that of the flattest n",
        columns,
        within=dict.fromkeys(columns, (low - high, high - low)),
        note=f"{better}: the flat samples predict better.",
    )


def _at(curves: Mapping[Key, np.ndarray], size: int) -> Results:
    """Values of the curves at n = ``size``, without the shorter curves; last values for size 0."""
    results: Results = {}
    for (name, seed), values in curves.items():
        if size <= len(values):
            results.setdefault(name, {})[seed] = float(values[size - 1])
    return results


def _sizes(most: int) -> list[int]:
    """Values of n in the tables. The last one is the number of all samples."""
    return [size for size in (1, 2, 5, 10, 20, 50) if size < most] + [most]


def _correlations(finished: Sequence[Finished]) -> Table:
    """Correlations of flatness and test NLL over a posterior's samples.

    A sample that fits the training set worse is sharper and also predicts worse. The second column
    removes this effect: it holds the training loss fixed.
    """
    counts = collect(finished, lambda run: _correlation(run).count)
    fewest = {name: int(min(values.values())) for name, values in counts.items()}
    one_less = {name: count - 1 for name, count in fewest.items()}
    partial = collect(finished, lambda run: partial_spearman(*_of_samples(run)))
    return correlations(
        "Rank correlation of lambda_1 and NLL over a posterior's samples",
        {
            "Spearman's rho": (collect(finished, lambda run: _correlation(run).rho), fewest),
            "given the training loss": (partial, one_less),
        },
        note="Positive: the flat samples predict better.",
    )


def _correlation(run: Run) -> Correlation:
    lambdas, nll, _ = _of_samples(run)
    return spearman(lambdas, nll)


def _of_samples(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values of lambda_1, test NLL and training loss of each measured sample, shape (S,) each."""
    samples = run.read("samples", "eigenvalues", "loss")
    nll = run.read("predictions", "nll")["nll"][: len(samples["loss"])]
    return samples["eigenvalues"][:, 0], nll, samples["loss"]
