"""Curves of single runs, for figures of groups: each one with its x and y."""

from __future__ import annotations

import numpy as np

from landscape.store import Run
from landscape_app.data import missing, read
from landscape_app.figures.calibration import FEW, scored
from landscape_app.figures.group_curves import Curve
from landscape_app.joined import averages


def by_rank(run: Run) -> Curve:
    """The mean of each largest eigenvalue over samples, by its rank."""
    values = read(run, "samples", "eigenvalues")["eigenvalues"]
    if not values.size:
        raise missing(run, "samples")
    with np.errstate(all="ignore"):
        return np.arange(1.0, values.shape[1] + 1), values.mean(0)


def density(run: Run) -> Curve:
    """The spectral density, averaged over samples that are finite."""
    group = read(run, "density", "grid", "density")
    finite = np.isfinite(group["density"]).all(1)
    if not finite.any():
        raise missing(run, "density")
    return group["grid"], group["density"][finite].mean(0)


def average(run: Run, metric: str, order: str) -> Curve:
    """A metric of the average over the first n samples, in one order of ``joined.Averages``."""
    curves = getattr(averages(run), order)
    if curves is None:
        raise missing(run, "samples")
    return np.arange(1.0, len(curves[metric]) + 1), curves[metric]


def calibration(run: Run) -> Curve:
    """Accuracy by confidence in the bins of ten examples or more."""
    _, bins = scored(run)
    middle = ((bins.edges[:-1] + bins.edges[1:]) / 2).numpy()
    return middle, np.where(bins.counts.numpy() >= FEW, bins.accuracy.numpy(), np.nan)


def training(run: Run, name: str, time: str) -> Curve:
    """A variable of the training record over epochs or seconds."""
    group = read(run, "training", time, name)
    if not np.isfinite(group[name]).any():
        raise missing(run, "training")
    return group[time].astype(float), group[name]
