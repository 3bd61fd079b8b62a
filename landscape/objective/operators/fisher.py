"""The empirical Fisher information of an objective.

It is the mean of g_n g_n^T over the examples, for the gradient g_n of example n's loss by w. It is
the Gauss-Newton matrix with C_n = r_n r_n^T, for the gradient r_n of the loss by the outputs:
g_n = J_n^T r_n. It is not the Fisher information of the model's own predictions (Kunstner, Balles &
Hennig, arXiv 1905.12558).
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.objective.operators.base import Matvec
from landscape.objective.operators.gauss_newton import GaussNewton


class EmpiricalFisher(GaussNewton):
    """v -> (1 / N) sum_n g_n (g_n . v) for an objective at fixed weights.

    Args, requirements and errors are those of ``GaussNewton``.

    Examples:
        >>> import landscape as ls
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> objective = ls.Objective(torch.nn.Linear(2, 2, bias=False), data)
        >>> (EmpiricalFisher(objective, torch.zeros(4)) @ torch.tensor([1.0, 0, 0, 0])).tolist()
        [0.125, 0.0, -0.125, 0.0]
    """

    matrix = "empirical-fisher"

    def _centre(self, loss: Tensor, outputs: Tensor) -> Matvec:
        (slopes,) = torch.autograd.grad(loss, outputs)

        def centre(u: Tensor) -> Tensor:
            along = (slopes * u).flatten(1).sum(1)
            return slopes * along.view(-1, *[1] * (u.ndim - 1))

        return centre

    def _divisor_of(self, sizes: Tensor) -> Tensor:
        # L is the mean over the examples that count of their own losses, each of which is
        # (number that count / weight) of its part in the total.
        weight, counted = sizes
        divisor: Tensor = weight**2 / counted
        return divisor
