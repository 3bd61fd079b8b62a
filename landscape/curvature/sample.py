"""The curvature at one posterior sample: the unit of work of ``measure``."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.curvature.at_weights import top_eigenvalues, trace
from landscape.curvature.estimators.density import lanczos_quadrature
from landscape.curvature.estimators.lanczos import Eigenvalues, lanczos
from landscape.curvature.estimators.probes import Estimate
from landscape.curvature.estimators.trace import hutchinson
from landscape.curvature.matrices import Matrix, Method, operator_at
from landscape.errors import NotFiniteError
from landscape.objective.checks import check_same_loss
from landscape.objective.objective import Objective
from landscape.posteriors import PosteriorLoss

Row = dict[str, Any]


@dataclass(frozen=True)
class SampleWork:
    """Settings that all samples of a measurement share. Each worker gets them once.

    Attributes:
        loss: The mean loss.
        settings: Settings of ``measure`` that a row depends on.
    """

    loss: PosteriorLoss
    settings: dict[str, Any]


def measure_sample(work: SampleWork, sample: tuple[int, Tensor]) -> Row:
    """Measure one sample.

    Args:
        work: Settings that all samples share.
        sample: Number and weights (P,) of the sample.

    Returns:
        The row of the sample. Its curvature is NaN if the loss or a product is not finite.
    """
    return _measure(work, sample, None)[0]


def measure_in_order(
    work: SampleWork, points: Iterable[tuple[int, Tensor]]
) -> Iterator[tuple[int, Row]]:
    """Measure points along a training, each from the eigenvectors of the one before.

    Args:
        work: Settings that all points share.
        points: Number and weights (P,) of each point.

    Yields:
        Position among the points, and row.
    """
    start = None
    for position, point in enumerate(points):
        row, start = _measure(work, point, start)
        yield position, row


def _measure(
    work: SampleWork, sample: tuple[int, Tensor], start: Tensor | None
) -> tuple[Row, Tensor | None]:
    """The row of a sample, and a vector to start at the next one from."""
    begun = time.perf_counter()
    index, w = sample
    objective = work.loss.at(w)
    evaluation = objective.evaluate(w)
    row: Row = {"loss": evaluation.loss, "accuracy": evaluation.accuracy}
    settings = {**work.settings, "seed": work.settings["seed"] + index}
    following: Tensor | None = None
    try:
        if settings["backend"] == "pyhessian":
            row |= _by_pyhessian(objective, w, **settings)
        else:
            curvature, following = _by_lanczos(objective, w, start=start, **settings)
            row |= curvature
    except NotFiniteError:
        row |= _without_curvature(**settings)
    if index == 0:  # data that change at each pass, as by augmentation, are refused
        check_same_loss(evaluation.loss, objective.evaluate(w).loss, w.dtype)
    if w.is_cuda:
        torch.cuda.synchronize(w.device)
    return {**row, "seconds": time.perf_counter() - begun}, following


def _by_lanczos(
    objective: Objective,
    w: Tensor,
    *,
    start: Tensor | None,
    eigenvalues: int,
    matrix: Matrix,
    method: Method,
    tolerance: float,
    max_matvecs: int | None,
    trace_matvecs: int | None,
    trace_tolerance: float | None,
    density_probes: int,
    density_steps: int,
    seed: int,
    backend: str,
) -> tuple[Row, Tensor]:
    operator = operator_at(objective, w, matrix, method)  # for all estimates: it keeps the graphs
    top = lanczos(
        operator,
        k=eigenvalues,
        tolerance=tolerance,
        max_matvecs=max_matvecs,
        keep_space=True,
        start=start,
        seed=seed,
    )
    total = hutchinson(
        operator, matvecs=trace_matvecs, tolerance=trace_tolerance, deflate=top, seed=seed
    )
    row = _row(top, total)
    if density_probes:
        quadrature = lanczos_quadrature(
            operator, probes=density_probes, steps=density_steps, deflate=top, seed=seed
        )
        row["nodes"], row["weights"] = quadrature.nodes.numpy(), quadrature.weights.numpy()
        row["matvecs"] += quadrature.matvecs
    if method == "finite-difference":
        row["matvec_error"] = operator.error
    return row, top.vectors.sum(0)


def _by_pyhessian(
    objective: Objective,
    w: Tensor,
    *,
    eigenvalues: int,
    tolerance: float,
    max_matvecs: int | None,
    trace_matvecs: int | None,
    trace_tolerance: float | None,
    **settings: Any,
) -> Row:
    common = {name: settings[name] for name in ("matrix", "seed", "backend")}
    top = top_eigenvalues(
        objective, w, eigenvalues, tolerance=tolerance, max_matvecs=max_matvecs, **common
    )
    total = trace(objective, w, matvecs=trace_matvecs, tolerance=trace_tolerance, **common)
    return _row(top, total)


def _without_curvature(
    *, eigenvalues: int, density_probes: int, density_steps: int, method: str, **settings: Any
) -> Row:
    nan = torch.full((eigenvalues,), torch.nan, dtype=torch.float64)
    converged = torch.zeros(eigenvalues, dtype=torch.bool)
    row = _row(Eigenvalues(nan, nan, nan[:, None], converged, 0), Estimate(math.nan, math.nan, 0))
    if density_probes:
        row["nodes"] = row["weights"] = np.full(
            (density_probes, eigenvalues + density_steps), np.nan
        )
    if method == "finite-difference":
        row["matvec_error"] = math.nan
    return row


def _row(top: Eigenvalues, total: Estimate) -> Row:
    return {
        "eigenvalues": top.values.numpy(),
        "residuals": top.residuals.numpy(),
        "converged": top.converged.numpy(),
        "trace": total.value,
        "trace_standard_error": total.standard_error,
        "matvecs": top.matvecs + total.matvecs,
    }
