"""The generalised Gauss-Newton matrix of an objective (Schraudolph 2002).

With the outputs f_n of example n, their Jacobian J_n by w and its loss l_n(f_n), it is the mean of
J_n^T C_n J_n over the examples, where C_n is the Hessian of l_n by f_n. (Where labels are ignored
or have weights, l_n is scaled so that L is the mean over the examples that count.) For the
cross-entropy and for squared errors it is the Fisher information of the model's own predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscape.autograd.double_backward import BilinearLayers
from landscape.errors import InputError
from landscape.objective.batches import Batch, batch_size
from landscape.objective.operators.graphs import BatchGraph, GraphOperator, backward
from landscape.objective.parameters import Network


@dataclass(frozen=True)
class OutputGraph(BatchGraph):
    """The graphs of a batch's outputs, and of its loss as a function of them.

    Attributes:
        w: Weights, shape (P,).
        outputs: The outputs, with their graph.
        direction: u, in the outputs' shape.
        pulled: J^T u, with its graph.
        leaf: The outputs without their graph.
        slopes: Gradient of the loss by the outputs.
        needs_second: Whether the slopes need a graph of their own.
    """

    w: Tensor
    outputs: Tensor
    direction: Tensor
    pulled: Tensor
    leaf: Tensor
    slopes: Tensor
    needs_second: ClassVar[bool] = True

    def matvec(self, v: Tensor, *, keep: bool) -> Tensor:
        """J^T C J v, summed over the examples."""
        along = backward(self.pulled, self.direction, v)
        return backward(self.outputs, self.w, self.centre(along), keep=keep)

    def centre(self, u: Tensor) -> Tensor:
        """C u, example by example."""
        return backward(self.slopes, self.leaf, u)


class GaussNewton(GraphOperator):
    """v -> (1 / N) sum_n J_n^T C_n J_n v for an objective at fixed weights.

    Args:
        objective: The objective. The network's outputs are one tensor, its first axis the example.
        w: Weights, shape (P,); the model's own if ``None``.
        memory: Bytes of saved activations that may be kept; by default a quarter of what is free.

    Raises:
        InputError: (when it multiplies) the outputs are not as above, or there is no batch.

    Example:
        >>> import landscape as ls
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> objective = ls.Objective(torch.nn.Linear(2, 2, bias=False), data)
        >>> (GaussNewton(objective, torch.zeros(4)) @ torch.tensor([1.0, 0, 0, 0])).tolist()
        [0.125, 0.0, -0.125, 0.0]
    """

    matrix = "gauss-newton"
    graph: ClassVar[type[OutputGraph]] = OutputGraph

    def _build(self, network: Network, batch: Batch) -> BatchGraph:
        inputs, targets = batch
        criterion = self.objective.criterion
        with BilinearLayers():
            outputs = network(inputs)
        size = batch_size(inputs, targets, outputs)
        if not isinstance(outputs, Tensor) or outputs.ndim == 0 or len(outputs) != size:
            raise InputError(
                "the Gauss-Newton matrix needs outputs in one tensor whose first axis is the "
                "example; use the Hessian"
            )
        leaf = outputs.detach().requires_grad_()
        targets = self.objective.space.move(targets)
        loss, weight = criterion(leaf, targets, inputs)
        (slopes,) = torch.autograd.grad(loss, leaf, create_graph=self.graph.needs_second)
        # J^T u is linear in u, and its derivative by u is J v: two passes back for one forward.
        direction = torch.zeros_like(leaf, requires_grad=True)
        return self.graph(
            loss=loss.detach(),
            sizes=torch.stack([weight, criterion.counts(targets, size).sum().to(weight)]),
            w=self.w,
            outputs=outputs,
            direction=direction,
            pulled=backward(outputs, self.w, direction, differentiable=True),
            leaf=leaf,
            slopes=slopes,
        )
