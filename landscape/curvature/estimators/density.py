"""The spectral density of a symmetric operator by stochastic Lanczos quadrature.

Golub & Meurant (1994); Lin, Saad & Yang (2016); Ghorbani, Krishnan & Xiao, arXiv 1901.10159. With
eigenvalues lambda_i of A on R^n and a Gaussian kernel g of width sigma, the smoothed density is

    phi(t) = (1 / n) sum_i g(t - lambda_i) = E[v^T g(t - A) v],    v uniform on the unit sphere.

m steps of Lanczos from v give a tridiagonal T_m. With its eigenvalues theta_j and tau_j, the
squared first components of its eigenvectors, v^T g(t - A) v is near sum_j tau_j g(t - theta_j),
which would be exact for a polynomial of degree 2 m - 1 in place of g. The basis is reorthogonalised
in full: without that the nodes repeat themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.curvature.estimators.deflation import allowance, known_pairs
from landscape.curvature.estimators.krylov import krylov
from landscape.curvature.estimators.lanczos import Eigenvalues
from landscape.curvature.estimators.memory_plan import plan_basis
from landscape.errors import InputError
from landscape.objective.operators.base import Matvec, Operator, as_operator

_POINTS = 512
_TAILS = 5.0  # length of the grid beyond the outermost nodes, in widths of the kernel


@dataclass(frozen=True)
class Quadrature:
    """The density that each of R probes sees, as m points with weights; float64.

    Attributes:
        nodes: Nodes, shape (R, k + m), the k known eigenvalues first; a probe whose Krylov space
            ends early repeats its last node.
        weights: Weights, shape (R, k + m); each row sums to 1, and a repeated node has weight 0.
        matvecs: Number of matvecs taken.
    """

    nodes: Tensor
    weights: Tensor
    matvecs: int


@dataclass(frozen=True)
class Density:
    """A density of eigenvalues on a grid, of mass 1; float64.

    Attributes:
        grid: Eigenvalues, shape (G,).
        density: Mean over probes, shape (G,).
        standard_error: Standard error of that mean by the spread over probes, shape (G,). It does
            not contain what m steps cannot resolve: compare with more steps. Around a single
            eigenvalue that was not deflated, the probes scatter like a squared normal, and the band
            of a few probes covers the truth too seldom.
        width: Standard deviation of the Gaussian kernel.
        quadrature: The nodes and weights before smoothing.
    """

    grid: Tensor
    density: Tensor
    standard_error: Tensor
    width: float
    quadrature: Quadrature


def lanczos_quadrature(
    operator: Operator | Matvec,
    size: int | None = None,
    *,
    probes: int = 10,
    steps: int = 80,
    deflate: Eigenvalues | None = None,
    seed: int = 0,
) -> Quadrature:
    """Nodes and weights of the spectral density of a symmetric operator.

    With ``deflate``, known eigenpairs are nodes of weight 1 / n without error, and the probes are
    uniform on the unit sphere orthogonal to them: single large eigenvalues make most of the
    variance. Pairs that have not converged move the density by at most their residuals. The
    matvecs show whether the vectors are this operator's, but not whether the values are.

    Args:
        operator: A, an operator or a function v -> A v.
        size: n, beside a function.
        probes: R, at least 2.
        steps: m, matvecs for each probe; never more than n - k. Memory is ``(k + steps) * n``.
        deflate: The k eigenpairs that ``lanczos`` finds for the same operator.
        seed: Seed of the probes.

    Raises:
        InputError: fewer than 2 probes or 1 step, or pairs to deflate whose vectors are those of
            another operator.
        LandscapeError: a matvec is not finite.

    Examples:
        >>> diagonal = torch.tensor([3.0, 3.0, 1.0, -5.0])
        >>> quadrature = lanczos_quadrature(lambda v: diagonal * v, 4, probes=2, steps=3)
        >>> [round(node, 3) for node in quadrature.nodes[0].tolist()]
        [-5.0, 1.0, 3.0]
    """
    check_quadrature(probes, steps)
    operator = as_operator(operator, size)
    size, generator = operator.size, operator.generator(seed)
    pairs = known_pairs(deflate, operator)
    known = len(pairs.values)
    steps = min(steps, size - known)
    plan_basis(
        size,
        operator.dtype,
        operator.device,
        wanted=known + steps,
        least=known + steps,
        what=f"a density of {steps} steps",
    )
    basis = operator.zeros(known + steps)
    nodes, weights = torch.full((2, probes, known + steps), 1 / size, dtype=torch.float64)
    basis[:known], nodes[:, :known] = pairs.vectors, pairs.values
    matvecs = 0
    for probe in range(probes if steps else 0):
        start = operator.normal(generator)
        entries = list(krylov(operator, start, basis, allowance(pairs)))
        alphas, betas = torch.tensor(entries, dtype=torch.float64).T
        projected = torch.diag(alphas) + torch.diag(betas[:-1], 1) + torch.diag(betas[:-1], -1)
        values, vectors = torch.linalg.eigh(projected)
        matvecs += len(values)
        nodes[probe, known:] = values[-1]
        nodes[probe, known : known + len(values)] = values
        weights[probe, known:] = 0.0
        weights[probe, known : known + len(values)] = vectors[0] ** 2 * (1 - known / size)
    return Quadrature(nodes, weights, matvecs)


def check_quadrature(probes: int, steps: int) -> None:
    """Refuse a quadrature without nodes or without a known error.

    Raises:
        InputError: fewer than 2 probes or 1 step.
    """
    if probes < 2:
        raise InputError(f"a density needs at least 2 probes to know its error, not {probes}")
    if steps < 1:
        raise InputError(f"a density needs at least 1 step, not {steps}")


def smooth(
    quadrature: Quadrature, grid: Tensor | None = None, width: float | None = None
) -> Density:
    """The density of a quadrature, smoothed by a Gaussian kernel.

    Args:
        quadrature: Nodes and weights.
        grid: Grid of eigenvalues; by default 512 points over all nodes and five widths beyond, so
            that the whole mass is on it.
        width: Standard deviation of the kernel; by default 1 % of the nodes' range.

    Raises:
        InputError: the width is not positive, or the grid is no vector.
    """
    nodes, weights = quadrature.nodes, quadrature.weights
    if width is None:
        width = _default_width(nodes)
    if not (width > 0 and math.isfinite(width)):
        raise InputError(f"the kernel's width must be positive, not {width}")
    if grid is None:
        grid = _default_grid(nodes, width)
    grid = grid.double().cpu()
    if grid.ndim != 1:
        raise InputError(f"the grid is a vector of eigenvalues, not of shape {tuple(grid.shape)}")
    curves = torch.stack(
        [
            torch.exp(-0.5 * ((grid[:, None] - row) / width) ** 2) @ weight
            for row, weight in zip(nodes, weights, strict=True)
        ]
    ) / (width * math.sqrt(2 * math.pi))
    error = curves.std(0) / len(curves) ** 0.5
    return Density(grid, curves.mean(0), error, width, quadrature)


def smooth_together(quadratures: Sequence[Quadrature]) -> list[Density]:
    """The densities of one or more quadratures on one common grid.

    A quadrature of NaN has a density of NaN, and no influence on the grid.
    """
    nodes = torch.cat([quadrature.nodes.flatten() for quadrature in quadratures])
    nodes = nodes[nodes.isfinite()] if bool(nodes.isfinite().any()) else nodes.new_zeros(1)
    width = _default_width(nodes)
    grid = _default_grid(nodes, width)
    return [smooth(quadrature, grid, width) for quadrature in quadratures]


def _default_grid(nodes: Tensor, width: float) -> Tensor:
    low, high = float(nodes.min()) - _TAILS * width, float(nodes.max()) + _TAILS * width
    return torch.linspace(low, high, _POINTS, dtype=torch.float64)


def _default_width(nodes: Tensor) -> float:
    """1 % of the nodes' range; of their size, or of 1, if they are all the same."""
    size = float(nodes.abs().max())
    extent = float(nodes.max() - nodes.min())
    return 0.01 * (extent if extent > 1e-4 * size else size or 1.0)
