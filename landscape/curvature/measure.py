"""How flat a posterior is: curvature at each of its samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from landscape.curvature.density import Density, Quadrature, check_quadrature, smooth_together
from landscape.curvature.matrices import Matrix
from landscape.curvature.network import Backend, spectral_density, top_eigenvalues, trace
from landscape.curvature.probes import check_budget
from landscape.errors import InputError
from landscape.files import Store
from landscape.objective import Batch, Loss, Objective
from landscape.posteriors import Posterior

Row = dict[str, object]


@dataclass(frozen=True)
class Flatness:
    """Curvature of S posterior samples; every array's first axis is the sample.

    Attributes:
        eigenvalues: Shape (S, k), descending.
        residuals: ||H v - lambda v|| of each, shape (S, k).
        converged: Whether each met the tolerance, shape (S, k).
        trace: Shape (S,).
        trace_standard_error: Shape (S,); the estimator's error, not the spread over samples.
        loss: Mean loss on the measured data, shape (S,).
        accuracy: Shape (S,).
        products: Products spent, shape (S,).
        seconds: Wall-clock time spent, shape (S,).
        densities: The spectral density of each, on one common grid; empty if not asked for.
    """

    eigenvalues: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    trace: np.ndarray
    trace_standard_error: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    products: np.ndarray
    seconds: np.ndarray
    densities: tuple[Density, ...] = ()

    def summary(self) -> dict[str, float]:
        """Mean and standard deviation over samples of lambda_1 and trace; NaN for one sample."""

        def spread(values: np.ndarray) -> float:
            return float(values.std(ddof=1)) if len(values) > 1 else float("nan")

        largest = self.eigenvalues[:, 0]
        return {
            "samples": len(largest),
            "lambda_1": float(largest.mean()),
            "lambda_1_spread": spread(largest),
            "trace": float(self.trace.mean()),
            "trace_spread": spread(self.trace),
        }


def measure(
    posterior: Posterior,
    data: Iterable[Batch],
    *,
    samples: int = 30,
    eigenvalues: int = 5,
    matrix: Matrix = "hessian",
    tolerance: float = 1e-3,
    max_products: int | None = None,
    trace_products: int | None = None,
    trace_tolerance: float | None = None,
    density_probes: int = 0,
    density_steps: int = 80,
    loss: Loss = "cross_entropy",
    seed: int = 0,
    backend: Backend = "lanczos",
    store: Store | None = None,
    progress: Callable[[int, int, Row], None] | None = None,
) -> Flatness:
    """Measure the curvature of the mean loss at each of a posterior's samples.

    The network is in evaluation mode, with running statistics re-estimated for each sample; there
    is no augmentation and no weight decay. The matrix is over the random parameters.

    Args:
        posterior: What to sample from. A point, or a set of fewer samples, gives as many as it has.
        data: The fixed set to measure on, as batches (``Data``, a list, a ``DataLoader``).
        samples: S.
        eigenvalues: k, the number of largest eigenvalues.
        matrix: ``"hessian"``, ``"gauss-newton"`` or ``"empirical-fisher"``; see ``GaussNewton``.
        tolerance: Relative residual asked of them.
        max_products: Budget for each sample's eigenvalues; see ``lanczos``.
        trace_products: Products to spend on each trace, by default 30; with a tolerance at most so
            many, by default 1,000.
        trace_tolerance: Relative standard error of the trace to reach; see ``hutchinson``.
        density_probes: Probes of each sample's spectral density, at least 2; 0 for none.
        density_steps: Products a probe; see ``lanczos_quadrature``.
        loss: See ``objective.summed_loss``.
        seed: Of the samples, the starting vectors and the probes.
        backend: ``"lanczos"`` or ``"pyhessian"``.
        store: A run to write each sample to as soon as it is finished.
        progress: Called after each sample with (number finished, S, its row).

    Returns:
        The measurements, each with its error.

    Raises:
        InputError: a setting is out of range, or there is no data.
        LandscapeError: a product is not finite at some sample.
    """
    if samples < 1:
        raise InputError(f"the number of samples must be at least 1, not {samples}")
    check_budget(trace_products, trace_tolerance)
    if density_probes:
        check_quadrature(density_probes, density_steps)
        if backend == "pyhessian":
            raise InputError("PyHessian 0.1 cannot compute densities; use backend='lanczos'")
    count = posterior.at_most(samples)
    weights = posterior.sample(count, seed)
    base = Objective(posterior.space, data, loss)
    rows: list[Row] = []
    quadratures: list[Quadrature] = []
    for index, w in enumerate(weights):
        begun = time.perf_counter()
        objective = base.with_buffers(posterior.buffers(w))
        evaluation = objective.evaluate(w)
        top = top_eigenvalues(
            objective,
            w,
            eigenvalues,
            matrix=matrix,
            tolerance=tolerance,
            max_products=max_products,
            seed=seed + index,
            backend=backend,
        )
        deflate = top if backend == "lanczos" else None
        total = trace(
            objective,
            w,
            matrix=matrix,
            products=trace_products,
            tolerance=trace_tolerance,
            deflate=deflate,
            seed=seed + index,
            backend=backend,
        )
        spent = top.products + total.products
        if density_probes:
            density = spectral_density(
                objective,
                w,
                matrix=matrix,
                probes=density_probes,
                steps=density_steps,
                deflate=top,
                seed=seed + index,
            )
            quadratures.append(density.quadrature)
            spent += density.quadrature.products
        if w.is_cuda:
            torch.cuda.synchronize(w.device)
        rows.append(
            {
                "eigenvalues": top.values.numpy(),
                "residuals": top.residuals.numpy(),
                "converged": top.converged.numpy(),
                "trace": total.value,
                "trace_standard_error": total.standard_error,
                "loss": evaluation.loss,
                "accuracy": evaluation.accuracy,
                "products": spent,
                "seconds": time.perf_counter() - begun,
            }
        )
        if store is not None:
            attributes = {
                "backend": backend,
                "matrix": matrix,
                "tolerance": tolerance,
                "requested": count,
                "seed": seed,
                "parameters": f"{posterior.space.size} random parameters",
            }
            store.write("samples", _columns(rows), attributes)
            if quadratures:
                densities = smooth_together(quadratures)
                about = {"kernel_width": densities[0].width, "matrix": matrix, "seed": seed}
                store.write("density", _variables(densities), about)
        if progress is not None:
            progress(len(rows), count, rows[-1])
    return Flatness(
        **_columns(rows), densities=tuple(smooth_together(quadratures) if quadratures else ())
    )


def _variables(densities: list[Density]) -> dict[str, np.ndarray]:
    """The group ``density`` of a run file."""
    rules = [density.quadrature for density in densities]
    return {
        "grid": densities[0].grid.numpy(),
        "density": np.stack([density.density for density in densities]),
        "standard_error": np.stack([density.standard_error for density in densities]),
        "nodes": np.stack([rule.nodes for rule in rules]),
        "weights": np.stack([rule.weights for rule in rules]),
    }


def _columns(rows: list[Row]) -> dict[str, np.ndarray]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
