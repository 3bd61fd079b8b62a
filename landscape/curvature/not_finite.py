"""Why a matrix of an objective is not finite at some weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from torch import Tensor

from landscape.autograd.pytrees import tensors_of
from landscape.autograd.settings import no_autocast
from landscape.errors import NotFiniteError
from landscape.objective.objective import Objective

Measure = TypeVar("Measure", bound=Callable[..., Any])


def explained(measure: Measure) -> Measure:
    """A function of an objective and weights that says why a product is not finite.

    A caller's autocast is kept out of it, too.
    """

    @wraps(measure)
    def explaining(objective: Objective, w: Tensor, *more: Any, **settings: Any) -> Any:
        with no_autocast():
            try:
                return measure(objective, w, *more, **settings)
            except NotFiniteError as error:
                raise NotFiniteError(why_not_finite(objective, w)) from error

    return cast(Measure, explaining)


def why_not_finite(objective: Objective, w: Tensor) -> str:
    """In a line what is not a number of all that a product is made of.

    Args:
        objective: The objective.
        w: Weights at which its matvecs are not finite, shape (P,).
    """
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


def _first_batch_with_holes(objective: Objective) -> int | None:
    """The number, from 1, of the first batch with inputs or targets that are no numbers."""
    for number, batch in enumerate(objective.pairs(), 1):
        for tensor in tensors_of(list(batch)):
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                return number
    return None
