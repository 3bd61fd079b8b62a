"""A symmetric operator v -> A v on R^n, which is all that the estimators know of a matrix."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from landscape.errors import NotFiniteError

Matvec = Callable[[Tensor], Tensor]


def check_finite(values: Tensor) -> None:
    """Stop at a product that is no number.

    Raises:
        NotFiniteError: an entry is infinite or NaN.
    """
    if not bool(values.isfinite().all()):
        raise NotFiniteError("a product with the matrix is not finite")
