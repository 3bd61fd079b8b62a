"""Curvature layer by layer: of the diagonal blocks of a matrix over all parameters."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from landscape.curvature.estimators.lanczos import Eigenvalues
from landscape.curvature.estimators.probes import Estimate
from landscape.curvature.matrices import Matrix, check_matrix, product_by
from landscape.curvature.network import top_eigenvalues, trace
from landscape.errors import InputError
from landscape.objective.derivative_checks import compare_once
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace


@dataclass(frozen=True)
class Block:
    """Curvature of one diagonal block.

    Attributes:
        names: Its parameters.
        size: How many numbers they are.
        top: Largest eigenvalues, at most ``size`` of them.
        trace: Of the block; over all layers they add up to the whole trace.
    """

    names: tuple[str, ...]
    size: int
    top: Eigenvalues
    trace: Estimate


def by_block(
    objective: Objective,
    w: Tensor,
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
        objective: Whose curvature.
        w: Weights, shape (P,).
        blocks: A name of a parameter or a list of them, by the block's name; one block for every
            layer if ``None``.
        eigenvalues: How many of each, or all that a smaller block has.
        matrix: See ``top_eigenvalues``.
        tolerance: See ``top_eigenvalues``.
        trace_matvecs: Products for each trace, beside those for the eigenvalues.
        seed: Of starting vectors and probes.

    Raises:
        InputError: a name is of no random parameter, a block is empty, or a setting out of range.
        LandscapeError: a product is not finite.
    """
    blocks = layers(objective.space) if blocks is None else blocks
    if not isinstance(blocks, Mapping):
        raise InputError("blocks is a dict from a block's name to its parameters' names")
    check_matrix(matrix)
    for batch in itertools.islice(objective.pairs(), 1):  # of the whole: a block may be zero
        compare_once(objective, batch, matrix, partial(product_by, matrix))
    parts = {name: restrict(objective, w, names) for name, names in blocks.items()}
    found = {}
    for name, part in parts.items():
        at = part.space.vector()
        k = min(eigenvalues, part.size)
        top = top_eigenvalues(part, at, k, matrix=matrix, tolerance=tolerance, seed=seed)
        total = trace(part, at, matvecs=trace_matvecs, matrix=matrix, deflate=top, seed=seed)
        found[name] = Block(part.space.names, part.size, top, total)
    return found


def restrict(objective: Objective, w: Tensor, names: Sequence[str]) -> Objective:
    """The objective as a function of some of its parameters, with the others fixed at w.

    Its ``space.vector()`` is w's part; all that is measured of it is of the diagonal block.

    Args:
        objective: Over R^P.
        w: Shape (P,).
        names: One or some of ``objective.space.names``.

    Raises:
        InputError: a name is of no random parameter, or there is none.
    """
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in objective.space.names:
            raise InputError(
                f"'{name}' is not among the inferred parameters: {', '.join(objective.space.names)}"
            )
    values = objective.space.unflatten(w.detach())
    space = ParameterSpace(objective.space.module, names)
    for name, parameter in space.module.named_parameters():
        if name in values:
            parameter.data.copy_(values[name])
    next(objective.pairs(), None)  # checks the whole: one part may have nothing to do with the loss
    part = copy.copy(objective)
    part.space, part.size = space, space.size
    return part


def layers(space: ParameterSpace) -> dict[str, list[str]]:
    """The random parameters by the module that holds them.

    Example:
        >>> from torch import nn
        >>> layers(ParameterSpace(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))))
        {'0': ['0.weight', '0.bias'], '2': ['2.weight', '2.bias']}
    """
    found: dict[str, list[str]] = {}
    for name in space.names:
        found.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return found
