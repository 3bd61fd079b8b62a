"""The squared Frobenius norm of a symmetric operator: the sum of its squared eigenvalues."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.curvature.operator import Matvec, check_finite
from landscape.curvature.probes import Estimate, average, check_budget


def estimate_squared_frobenius(
    matvec: Matvec,
    size: int,
    *,
    products: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Estimate:
    """||A||_F^2 = tr A^2 = E ||A v||^2 over random signs v: one product a probe, not two.

    Args:
        matvec: v -> A v on vectors of shape (size,).
        size: n.
        products: As for ``hutchinson``.
        tolerance: As for ``hutchinson``.
        seed: Of the probes.
        dtype: Type of the probes.
        device: Where they are.

    Raises:
        InputError: too few products, or a tolerance that is not positive.
        LandscapeError: a product is not finite.

    Example:
        >>> estimate_squared_frobenius(lambda v: 3 * v, 4, products=4)
        Estimate(value=36.0, standard_error=0.0, products=4, converged=True)
    """

    def square(vector: Tensor) -> Tensor:
        image = matvec(vector)
        check_finite(image)
        return image @ image

    nothing = torch.zeros(0, size, dtype=dtype, device=device)
    budget = check_budget(products, tolerance)
    return average(square, nothing, 0.0, budget=budget, tolerance=tolerance, seed=seed)
