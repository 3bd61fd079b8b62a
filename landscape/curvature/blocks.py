"""Curvature layer by layer: of the diagonal blocks of a matrix over all parameters."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from landscape.curvature.at_weights import top_eigenvalues, trace
from landscape.curvature.estimators.lanczos import Eigenvalues
from landscape.curvature.estimators.probes import Estimate
from landscape.curvature.matrices import MATRICES, Matrix, check_matrix
from landscape.errors import InputError
from landscape.objective.derivative_checks import compare_once
from landscape.objective.mean_loss import MeanLoss
from landscape.objective.parameters import ParameterSpace

AnyObjective = TypeVar("AnyObjective", bound=MeanLoss)


@dataclass(frozen=True)
class Block:
    """Curvature of one diagonal block.

    Attributes:
        names: Names of its parameters.
        size: Number of their entries.
        top: Largest eigenvalues, at most ``size`` of them.
        trace: Trace of the block; the traces of all layers add up to that of the whole matrix.
    """

    names: tuple[str, ...]
    size: int
    top: Eigenvalues
    trace: Estimate


def by_block(
    objective: MeanLoss,
    w: Tensor | None = None,
    blocks: Mapping[str, Sequence[str]] | None = None,
    *,
    eigenvalues: int = 1,
    matrix: Matrix = "hessian",
    tolerance: float = 1e-3,
    trace_matvecs: int | None = None,
    seed: int = 0,
) -> dict[str, Block]:
    """Largest eigenvalues and trace of each diagonal block of an objective's curvature at w.

    Args:
        objective: The objective.
        w: Weights, shape (P,); the model's own if ``None``.
        blocks: A name of a parameter or a list of them, by the block's name; one block for every
            layer if ``None``.
        eigenvalues: Number of eigenvalues of each block; a smaller block has all of its own.
        matrix: Name of the matrix; see ``top_eigenvalues``.
        tolerance: Relative residual; see ``top_eigenvalues``.
        trace_matvecs: Number of matvecs for each trace, beside those for the eigenvalues.
        seed: Seed of starting vectors and probes.

    Raises:
        InputError: an unknown or empty block, or a setting is out of range.
        LandscapeError: a matvec is not finite.
    """
    blocks = layers(objective.space) if blocks is None else blocks
    if not isinstance(blocks, Mapping):
        raise InputError("blocks is a dict from a block's name to its parameters' names")
    check_matrix(matrix)
    for batch in itertools.islice(objective.pairs(), 1):  # the whole matrix: a block may be zero
        compare_once(objective, batch, matrix, MATRICES[matrix])
    curvature = {}
    for name, part in {name: restrict(objective, w, blocks[name]) for name in blocks}.items():
        k = min(eigenvalues, part.size)
        top = top_eigenvalues(part, k=k, matrix=matrix, tolerance=tolerance, seed=seed)
        total = trace(part, matvecs=trace_matvecs, matrix=matrix, deflate=top, seed=seed)
        curvature[name] = Block(part.space.names, part.size, top, total)
    return curvature


def restrict(
    objective: AnyObjective, w: Tensor | None = None, names: Sequence[str] = ()
) -> AnyObjective:
    """The objective as a function of some of its parameters, with the others fixed at w.

    The model's own weights of the result are w's part. Its curvature is the diagonal block.

    Args:
        objective: The objective over R^P.
        w: Weights, shape (P,); the model's own if ``None``.
        names: One or some of ``objective.space.names``.

    Raises:
        InputError: a name is not among the inferred parameters, or there is none.
    """
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in objective.space.names:
            raise InputError(
                f"'{name}' is not among the inferred parameters: {', '.join(objective.space.names)}"
            )
    values = objective.space.unflatten(objective.weights(w).detach())
    space = ParameterSpace(objective.space.module, names)
    for name, parameter in space.module.named_parameters():
        if name in values:
            parameter.data.copy_(values[name])
    next(objective.pairs(), None)  # checks the whole objective: a part may not affect the loss
    part = copy.copy(objective)
    part.space, part.size = space, space.size
    return part


def layers(space: ParameterSpace) -> dict[str, list[str]]:
    """The names of the inferred parameters by the module that holds them.

    Examples:
        >>> from torch import nn
        >>> layers(ParameterSpace(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))))
        {'0': ['0.weight', '0.bias'], '2': ['2.weight', '2.bias']}
    """
    names: dict[str, list[str]] = {}
    for name in space.names:
        names.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return names
