"""The Hessian of an objective at fixed weights, by double backward."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from landscape.autograd.double_backward import BilinearLayers
from landscape.autograd.settings import gradient_of
from landscape.objective.batches import Batch
from landscape.objective.mean_loss import MeanLoss
from landscape.objective.operators.graphs import BatchGraph, GraphOperator, backward
from landscape.objective.parameters import Network


class Hessian(GraphOperator):
    """v -> H v for the Hessian H of an objective at fixed weights.

    Args:
        objective: The objective.
        w: Weights, shape (P,); the model's own if ``None``.
        memory: Bytes of saved activations that may be kept; by default a quarter of what is free.
        autocast: Lower precision, such as ``torch.bfloat16``, for the network, but not for the
            loss.

    Attributes:
        error: ||H' v - H v|| / ||H v|| of the first matvec H' v in lower precision, against one in
            w's precision, which is not counted; 0 without ``autocast``, ``None`` before a matvec.

    Examples:
        >>> import landscape as ls
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> objective = ls.Objective(torch.nn.Linear(2, 2, bias=False), data)
        >>> (Hessian(objective, torch.zeros(4)) @ torch.tensor([1.0, 0, 0, 0])).tolist()
        [0.125, 0.0, -0.125, 0.0]
    """

    matrix = "hessian"

    def __init__(
        self,
        objective: MeanLoss,
        w: Tensor | None = None,
        *,
        memory: int | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__(objective, w, memory=memory)
        self.error = 0.0 if autocast is None else None
        self._autocast = autocast

    def _multiply(self, v: Tensor) -> Tensor:
        image = super()._multiply(v)
        if self.error is None:
            reference = Hessian(self.objective, self.w, memory=0).matvec(v)
            self.error = float((image - reference).norm() / reference.norm())
        return image

    def _build(self, network: Network, batch: Batch) -> BatchGraph:
        with BilinearLayers():
            total, weight = self.objective.batch_total(network, batch, self._autocast)
            gradient = gradient_of(total, self.w, differentiable=True)
        return BatchGraph(total.detach(), weight[None], partial(backward, gradient, self.w))
