"""Curvature at each sample of a posterior."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch

from landscape.curvature.at_weights import Backend, check_backend
from landscape.curvature.estimators.density import (
    Density,
    Quadrature,
    check_quadrature,
    smooth_together,
)
from landscape.curvature.estimators.lanczos import check_request, plan_search
from landscape.curvature.estimators.probes import check_budget
from landscape.curvature.matrices import Matrix, Method, check_matrix, matrix_name
from landscape.curvature.not_finite import why_not_finite
from landscape.curvature.sample import Row, SampleWork, measure_in_order, measure_sample
from landscape.curvature.sharpness.measures import measure_names
from landscape.curvature.sharpness.over_samples import (
    SampleSharpness,
    measure_sharpness,
    sharpness_work,
)
from landscape.errors import InputError, LandscapeError
from landscape.objective.batches import Batch
from landscape.objective.losses import Criterion, Loss
from landscape.posteriors import Posterior, PosteriorLoss, Trajectory
from landscape.posteriors.fingerprints import fingerprints
from landscape.results import SampleMean, spectrum_means
from landscape.results.resume import Entry, Store, Stored
from landscape.runtime import executors
from landscape.runtime.numbers import check_int
from landscape.runtime.progress import Progress, reporter

_COLUMNS = (
    "eigenvalues",
    "residuals",
    "converged",
    "trace",
    "trace_standard_error",
    "loss",
    "accuracy",
    "matvecs",
    "seconds",
)


@dataclass(frozen=True)
class Flatness:
    """Curvature of S posterior samples; every array's first axis is the sample.

    A sample at which the loss or a product is not finite has NaN for its curvature.

    Attributes:
        eigenvalues: Shape (S, k), descending.
        residuals: Residual ||H v - lambda v|| of each eigenvalue, shape (S, k).
        converged: Whether the residual met the tolerance, shape (S, k).
        trace: Trace of the matrix, shape (S,).
        trace_standard_error: Standard error of the trace's estimator, shape (S,); not the deviation
            over samples.
        loss: Mean loss on the measured data, shape (S,).
        accuracy: Accuracy on the measured data, shape (S,).
        matvecs: Number of matrix-vector products, shape (S,).
        seconds: Wall-clock time, shape (S,).
        densities: Spectral density at each sample, on one common grid; empty if not asked for.
        places: Chain of each sample and its place there, shape (S, 2), for samples of Markov
            chains; ``None`` for independent draws.
        matvec_error: Relative error of each sample's products, shape (S,), which neither residuals
            nor standard errors contain; ``None`` where they are exact but for rounding.
        sharpness: Further measures of flatness that were asked for, each of shape (S,), by name;
            ``docs/flatness.md`` has their formulas. NaN where one is not finite or does not exist.
        sharpness_error: Error of each of these values.
        sharpness_converged: Whether the search or the chains behind each of them converged.
    """

    eigenvalues: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    trace: np.ndarray
    trace_standard_error: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    matvecs: np.ndarray
    seconds: np.ndarray
    densities: tuple[Density, ...] = ()
    places: np.ndarray | None = None
    matvec_error: np.ndarray | None = None
    sharpness: dict[str, np.ndarray] = field(default_factory=dict)
    sharpness_error: dict[str, np.ndarray] = field(default_factory=dict)
    sharpness_converged: dict[str, np.ndarray] = field(default_factory=dict)

    def summary(self) -> dict[str, float]:
        """Means over samples, with their deviations, intervals and n; see ``spectrum_means``.

        Returns:
            The number of samples, and for each quantity its mean by its name; with the endings
            ``_deviation`` the standard deviation, ``_low`` and ``_high`` the ends of the mean's
            95 % interval, ``_count`` the number of samples that have a value, ``_effective`` the
            number of independent draws that they are worth.
        """
        summary: dict[str, float] = {"samples": len(self.trace)}
        means = spectrum_means(self.eigenvalues, self.trace, places=self.places)
        for name, values in self.sharpness.items():
            means[name] = SampleMean.of(values, places=self.places)
        for name, over in means.items():
            summary |= {name: over.mean, f"{name}_deviation": over.deviation}
            summary |= {f"{name}_low": over.low, f"{name}_high": over.high}
            summary |= {f"{name}_count": over.count, f"{name}_effective": over.effective}
        return summary


def measure(
    posterior: Posterior,
    data: Iterable[Batch],
    *,
    samples: int = 30,
    eigenvalues: int = 5,
    matrix: Matrix = "hessian",
    method: Method = "double-backward",
    tolerance: float = 1e-3,
    max_matvecs: int | None = None,
    trace_matvecs: int | None = None,
    trace_tolerance: float | None = None,
    density_probes: int = 0,
    density_steps: int = 80,
    sharpness: Sequence[str] = (),
    temperatures: float | Sequence[float] | None = None,
    loss: Loss = "cross_entropy",
    seed: int = 0,
    backend: Backend = "lanczos",
    store: Store | None = None,
    executor: Executor | None = None,
    progress: bool | Callable[[int, int, Row], None] | None = None,
) -> Flatness:
    """Measure the curvature of the mean loss at each of a posterior's samples.

    The network is in evaluation mode, with running statistics re-estimated for each sample; there
    is no augmentation and no weight decay. The matrix is over the inferred parameters.

    The samples of a ``Trajectory`` are the points along a training. Without an executor the search
    for eigenvalues starts at each point from the eigenvectors of the one before. Digits, an MLP of
    8,970 parameters, 1 to 10 steps of gradient descent between points: that saves 17 to 23 % of
    the products for lambda_1, and 10 to 14 % of those for five eigenvalues. It saves no more
    because each search also looks for what its start lacks, from a random vector.

    Args:
        posterior: The posterior. A point, or a set of fewer samples, gives as many as it has; a
            ``Trajectory`` gives all.
        data: The data to measure on, as batches (``Data``, a list, a ``DataLoader``).
        samples: Number S of samples.
        eigenvalues: Number k of largest eigenvalues.
        matrix: ``"hessian"``, ``"gauss-newton"`` or ``"empirical-fisher"``; see ``GaussNewton``.
        method: ``"finite-difference"`` for a network with an operation that has no second
            derivative; see ``DifferenceHessian``. The result has its ``matvec_error``.
        tolerance: Relative residual of the eigenvalues to reach.
        max_matvecs: Largest number of products for the eigenvalues of a sample; see ``lanczos``.
        trace_matvecs: Number of products for each trace, by default 30. With a tolerance it is the
            largest number, by default 1,000.
        trace_tolerance: Relative standard error of the trace to reach; see ``hutchinson``.
        density_probes: Number of probes of each spectral density, at least 2; 0 for no density.
        density_steps: Number of products for a probe; see ``lanczos_quadrature``.
        sharpness: Names of further measures, of ``curvature.MEASURES``; ``docs/flatness.md`` has
            their formulas and settings. They are over the same parameters, and do not depend on the
            matrix.
        temperatures: Temperature of the logits, or one for each sample, for the measures that end
            in ``_tempered``; see ``prediction.best_temperature``.
        loss: The loss; see ``losses.Criterion``.
        seed: Seed of the samples, the starting vectors and the probes.
        backend: ``"lanczos"`` or ``"pyhessian"``.
        store: A run to write each sample to as soon as it is finished. Samples that it holds of the
            same request are taken over: an interrupted measurement continues. Those of another
            request are replaced. See ``results.resume``.
        executor: The executor that measures the samples; see ``executors.run``. This process if
            ``None``.
        progress: Whether to show progress; by default only in a terminal or a notebook. Or a
            function that gets (number finished, S, row of the sample) after each sample.

    Returns:
        The measurements, with their errors.

    Raises:
        InputError: a setting is out of range, there are no data, or the data change at each pass.
        LandscapeError: at no sample is the loss's curvature finite, or a worker died.
    """
    samples = check_int(samples, "the number of samples")
    eigenvalues = check_int(eigenvalues, "the number of eigenvalues", least=None)
    density_probes = check_int(density_probes, "the number of probes", least=0)
    density_steps = check_int(density_steps, "the number of steps", least=0)
    seed = check_int(seed, "the seed", least=None)
    sharpness = measure_names(sharpness)
    check_matrix(matrix, method)
    check_backend(backend, matrix)
    if backend == "pyhessian" and method != "double-backward":
        raise InputError("PyHessian has its own second derivatives: leave method= out")
    check_request(posterior.space.size, eigenvalues, tolerance)
    check_budget(trace_matvecs, trace_tolerance)
    if density_probes:
        check_quadrature(density_probes, density_steps)
        if backend == "pyhessian":
            raise InputError("PyHessian 0.1 cannot compute densities; use backend='lanczos'")
    settings: dict[str, Any] = {
        "eigenvalues": eigenvalues,
        "matrix": matrix,
        "method": method,
        "tolerance": tolerance,
        "max_matvecs": max_matvecs,
        "trace_matvecs": trace_matvecs,
        "trace_tolerance": trace_tolerance,
        "density_probes": density_probes,
        "density_steps": density_steps if density_probes else 0,
        "seed": seed,
        "backend": backend,
    }
    count = posterior.num_available(samples)
    weights = posterior.sample(count, seed)
    work = SampleWork(PosteriorLoss(posterior, data, loss), settings)
    further = sharpness_work(work.loss, sharpness, temperatures, count, seed)
    request = {**settings, "parameters": posterior.space.names}
    request["matrix"] = matrix_name(matrix, request.pop("method"))
    group = "trajectory" if isinstance(posterior, Trajectory) else "samples"
    if store is not None and group == "trajectory" and (density_probes or sharpness):
        raise InputError(
            "along a training a run keeps eigenvalues, trace and loss: ask for no density and no "
            "further measures, or measure without a store"
        )
    entry = Entry.of(store, group, request, lambda: fingerprints(work.loss))
    rows = _stored_rows(entry, work)
    attributes: dict[str, Any] = {
        "backend": backend,
        "matrix": request["matrix"],
        "tolerance": tolerance,
        "requested": max(count, 1 + max(rows, default=0)),
        "seed": seed,
        "parameters": f"{posterior.space.size} inferred parameters",
        "mean_over": f"{Criterion(loss).unit}s",
    }
    if isinstance(posterior, Trajectory):
        attributes["unit"] = posterior.unit
    places = posterior.places(attributes["requested"], seed)
    missing = [index for index in range(count) if index not in rows]
    if sharpness and missing:  # before any work
        further.check(weights[0])
    items = [(index, weights[index]) for index in missing]
    report = reporter(progress, "curvature", lambda row: f"lambda_1 {row['eigenvalues'][0]:.3g}")
    if missing and backend == "lanczos":  # what does not fit is refused before any work
        plan = plan_search(posterior.space, eigenvalues, keep_space=True)
        if isinstance(report, Progress):
            print(plan, file=sys.stderr)
    is_in_order = isinstance(posterior, Trajectory) and executor is None
    results = (
        measure_in_order(work, items)
        if is_in_order
        else executors.run(measure_sample, work, items, executor)
    )
    counts = np.array(posterior.counts) if isinstance(posterior, Trajectory) else None
    for done, (position, row) in enumerate(results, 1):
        rows[missing[position]] = row
        if store is not None:
            _write(entry, rows, attributes, places, counts)
        if report is not None:
            report(count - len(missing) + done, count, row)
    columns = _columns([rows[index] for index in range(count)])
    if not np.isfinite(columns["trace"]).any():
        reason = why_not_finite(work.loss.at(weights[0]), weights[0])
        raise LandscapeError(f"no sample has finite curvature. At the first, {reason}")
    densities = smooth_together(_quadratures(columns)) if density_probes else ()
    over = SampleSharpness({}, {}, {})
    if sharpness:
        over = measure_sharpness(
            further,
            weights,
            store=store,
            executor=executor,
            progress=False if callable(progress) else progress,
        )
    return Flatness(
        **{part.name: columns[part.name] for part in fields(Flatness) if part.name in columns},
        densities=tuple(densities),
        places=None if places is None else places[:count],
        sharpness=over.values,
        sharpness_error=over.errors,
        sharpness_converged=over.converged,
    )


def _stored_rows(entry: Entry, work: SampleWork) -> dict[int, Row]:
    """The samples of the same request that are stored, asked for or not, by their numbers."""
    samples = entry.read()
    if samples is None:
        return {}
    try:  # a file from anybody may lack any variable
        rows = _rows(samples, _stored_columns(work.settings["method"]))
        if work.settings["density_probes"]:
            density = entry.at("density").read()
            # The density is written first, and may hold a sample more.
            spectra = {} if density is None else _rows(density, ("nodes", "weights"))
            rows = {index: row | spectra[index] for index, row in rows.items() if index in spectra}
    except KeyError:
        return {}
    last = max(rows, default=-1)
    return rows if work.loss.posterior.num_available(last + 1) > last else {}


def _stored_columns(method: str) -> tuple[str, ...]:
    return _COLUMNS if method == "double-backward" else (*_COLUMNS, "matvec_error")


def _rows(stored: Stored, names: Sequence[str]) -> dict[int, Row]:
    """Some variables of a group, by the number of the sample.

    Raises:
        KeyError: the group lacks one.
    """
    columns = [stored[name] for name in names]
    return {
        int(index): dict(zip(names, values, strict=True))
        for index, *values in zip(stored["sample"], *columns, strict=True)
    }


def _write(
    entry: Entry,
    rows: dict[int, Row],
    attributes: dict[str, Any],
    places: np.ndarray | None,
    counts: np.ndarray | None,
) -> None:
    numbers = sorted(rows)
    columns = _columns([rows[index] for index in numbers])
    stored = (*_COLUMNS, *({"matvec_error"} & columns.keys()))
    finished = {"sample": numbers, **{name: columns[name] for name in stored}}
    if places is not None:
        finished |= dict(zip(("chain", "place"), places[numbers].T, strict=True))
    if counts is not None:
        finished["count"] = counts[numbers]
    if "nodes" in columns:
        densities = smooth_together(_quadratures(columns))
        entry.at("density").write(
            {
                "sample": numbers,
                "grid": densities[0].grid.numpy(),
                "density": np.stack([density.density for density in densities]),
                "standard_error": np.stack([density.standard_error for density in densities]),
                "nodes": columns["nodes"],
                "weights": columns["weights"],
            },
            {
                "kernel_width": densities[0].width,
                "probes": len(densities[0].quadrature.nodes),
                **{name: attributes[name] for name in ("matrix", "seed")},
            },
        )
    entry.write(finished, attributes)


def _quadratures(columns: dict[str, np.ndarray]) -> list[Quadrature]:
    nodes, weights = torch.from_numpy(columns["nodes"]), torch.from_numpy(columns["weights"])
    known = columns["eigenvalues"].shape[1]  # nodes that took no product; nor do repeated ones
    return [
        Quadrature(points, weight, int((weight[:, known:] > 0).sum()))
        for points, weight in zip(nodes, weights, strict=True)
    ]


def _columns(rows: list[Row]) -> dict[str, np.ndarray]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
