"""The generalised Gauss-Newton matrix of an objective (Schraudolph 2002).

With the outputs f_n of example n, their Jacobian J_n by w and its loss l_n(f_n), it is the mean of
J_n^T C_n J_n over the examples, where C_n is the Hessian of l_n by f_n. (Where labels are ignored
or have weights, l_n is scaled so that L is the mean over the examples that count.) For the
cross-entropy and for squared errors it is the Fisher information of the model's own predictions.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from landscape.autograd.double_backward import BilinearLayers
from landscape.errors import InputError
from landscape.objective.batches import Batch, batch_size
from landscape.objective.operators.base import Matvec
from landscape.objective.operators.graphs import BatchGraph, GraphOperator, backward
from landscape.objective.parameters import Network


class GaussNewton(GraphOperator):
    """v -> (1 / N) sum_n J_n^T C_n J_n v for an objective at fixed weights.

    Args:
        objective: The objective. The network's outputs are one tensor, its first axis the example.
        w: Weights, shape (P,); the model's own if ``None``.
        memory: Bytes of saved activations that may be kept; by default a quarter of what is free.

    Raises:
        InputError: (when it multiplies) the outputs are not as above, or there is no batch.

    Examples:
        >>> import landscape as ls
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> objective = ls.Objective(torch.nn.Linear(2, 2, bias=False), data)
        >>> (GaussNewton(objective, torch.zeros(4)) @ torch.tensor([1.0, 0, 0, 0])).tolist()
        [0.125, 0.0, -0.125, 0.0]
    """

    matrix = "gauss-newton"

    def _build(self, network: Network, batch: Batch) -> BatchGraph:
        inputs, targets = batch
        criterion = self.objective.criterion
        with BilinearLayers():
            outputs = criterion.read(network(inputs))
        size = batch_size(inputs, targets, outputs)
        if not isinstance(outputs, Tensor) or outputs.ndim == 0 or len(outputs) != size:
            raise InputError(
                "the Gauss-Newton matrix needs outputs in one tensor whose first axis is the "
                "example; use the Hessian"
            )
        leaf = outputs.detach().requires_grad_()
        targets = self.objective.space.move(targets)
        loss, weight = criterion.total(leaf, targets, inputs)
        sizes = torch.stack([weight, criterion.counts(targets, size).sum().to(weight)])
        centre, w = self._centre(loss, leaf), self.w
        # J^T u is linear in u, and its derivative by u is J v: two passes back for one forward.
        direction = torch.zeros_like(leaf, requires_grad=True)
        pulled = backward(outputs, w, direction, differentiable=True)

        def matvec(v: Tensor, /, *, keep: bool) -> Tensor:
            return backward(outputs, w, centre(backward(pulled, direction, v)), keep=keep)

        return BatchGraph(loss.detach(), sizes, matvec)

    def _centre(self, loss: Tensor, outputs: Tensor) -> Matvec:
        """The map u -> C u, example by example, for a batch's total loss and its outputs."""
        (slopes,) = torch.autograd.grad(loss, outputs, create_graph=True)
        return partial(backward, slopes, outputs)
