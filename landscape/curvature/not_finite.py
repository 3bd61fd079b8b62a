"""Reasons why a matrix of an objective is not finite at some weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from landscape.autograd.pytrees import tensors_of
from landscape.autograd.settings import no_autocast
from landscape.errors import NotFiniteError
from landscape.objective.mean_loss import MeanLoss
from landscape.objective.operators.base import Operator
from landscape.objective.operators.graphs import GraphOperator


@contextmanager
def explained(operator: Operator) -> Iterator[None]:
    """Within it, a matvec of an objective's matrix that is not finite says why.

    A caller's autocast does not reach into it.
    """
    with no_autocast():
        try:
            yield
        except NotFiniteError as error:
            if not isinstance(operator, GraphOperator):
                raise
            raise NotFiniteError(why_not_finite(operator.objective, operator.w)) from error


def why_not_finite(objective: MeanLoss, w: Tensor) -> str:
    """A line that says which part of a matvec is not finite.

    Args:
        objective: The objective.
        w: Weights at which a matvec is not finite, shape (P,).
    """
    objective = objective.unsharded()
    if not bool(w.isfinite().all()):
        return "the weights hold NaN or infinity, as after training that diverged"
    number = _first_batch_with_holes(objective)
    loss = float(objective.loss(w))
    is_number = abs(loss) < float("inf")
    if number is not None and is_number:
        return (
            f"batch {number} holds NaN or infinity, which a mask in the loss keeps out of its "
            "value but not of its derivatives: put numbers in their place before the loss is taken"
        )
    if number is not None:
        return f"the loss is {loss}: batch {number} holds NaN or infinity; leave such examples out"
    if not is_number:
        return f"the loss is {loss} at these weights: the network's outputs overflow, or are NaN"
    if not bool(objective.gradient(w).isfinite().all()):
        return (
            f"the loss is {loss:.4g} at these weights, but its gradient is not finite: a root, a "
            "norm or a division has no derivative where it is taken at 0"
        )
    return (
        f"loss ({loss:.4g}) and gradient are finite at these weights, but second derivatives are "
        "not: a root, a norm or a division is taken at or near 0, or they overflow"
    )


def _first_batch_with_holes(objective: MeanLoss) -> int | None:
    """Number, from 1, of the first batch with an input or a target that is not finite."""
    for number, batch in enumerate(objective.pairs(), 1):
        for tensor in tensors_of(list(batch)):
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                return number
    return None
