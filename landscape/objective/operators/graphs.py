"""The loop over batches that all matrices of an objective share.

The graphs of all batches are built once and kept if they fit in memory: a matvec is then a few
backward passes through them, without a forward pass. If they do not fit, every matvec builds all of
them again: a shuffled loader gives other batches each time, so some kept graphs would count
examples twice and others never. On a GPU the matvecs with kept graphs are recorded; see
``Recorder``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from landscape.autograd.cuda_graphs import Recorder
from landscape.autograd.double_backward import BilinearLayers
from landscape.autograd.settings import leaf, pulled_back, second_derivatives
from landscape.autograd.tensor_memory import SavedTensors
from landscape.objective.batches import Batch
from landscape.objective.checks import SameLoss, check_precision
from landscape.objective.derivative_checks import compare_once
from landscape.objective.mean_loss import MeanLoss, check_weight, no_batch
from landscape.objective.operators.base import Operator
from landscape.objective.parameters import Network
from landscape.runtime.memory import spare


class BatchMatvec(Protocol):
    """v -> A v by the graphs of one batch; ``keep`` says whether they are used again."""

    def __call__(self, v: Tensor, /, *, keep: bool) -> Tensor:
        """A v, shape (P,), summed over the examples."""


@dataclass(frozen=True)
class BatchGraph:
    """The graphs of one batch.

    Attributes:
        loss: Total loss of the batch.
        sizes: Its weight, and other numbers that the divisor of the sum over batches is made of.
        matvec: The map v -> A v, which holds the graphs.
    """

    loss: Tensor
    sizes: Tensor
    matvec: BatchMatvec


class GraphOperator(Operator):
    """A matrix of an objective at fixed weights, in the weights' type and on their device.

    Args:
        objective: The objective.
        w: Weights, shape (P,); the model's own if ``None``.
        memory: Bytes of saved activations that may be kept; by default a quarter of what is free.

    Attributes:
        objective: As given.
        w: A copy of the weights.
        matrix: Name of the matrix.

    Raises:
        InputError: the weights are not in float32 or float64.
    """

    matrix: ClassVar[str]

    def __init__(
        self, objective: MeanLoss, w: Tensor | None = None, *, memory: int | None = None
    ) -> None:
        w = objective.weights(w)
        check_precision(w)
        super().__init__(objective.size, w.dtype, w.device)
        self.objective, self.w = objective, leaf(w)
        self._memory = spare(w.device) if memory is None else memory
        self._graphs: list[BatchGraph] | None = None
        self._divisor = 0.0
        self._same_loss = SameLoss(objective.add_up)
        self._recorder = Recorder(w.device)

    @abstractmethod
    def _build(self, network: Network, batch: Batch) -> BatchGraph:
        """The graphs of a batch."""

    def _divisor_of(self, sizes: Tensor) -> Tensor:
        """The divisor of the sum over batches, by the sum of their ``sizes``."""
        return sizes[0]

    def _multiply(self, v: Tensor) -> Tensor:
        with (
            second_derivatives(),
            self._recorder.stream(),
            self.objective.space.at(self.w, self.objective.buffers) as network,
        ):
            if self._graphs is None:
                total = self._multiply_and_build(network, v)
            else:
                total = self._recorder(self._multiply_by_graphs, v)
        self.objective.add_up(total)
        return total / self._divisor

    def _multiply_by_graphs(self, v: Tensor) -> Tensor:
        total = torch.zeros_like(v)
        for graph in self._graphs or ():
            total += graph.matvec(v, keep=True)
        return total

    def _multiply_and_build(self, network: Network, v: Tensor) -> Tensor:
        """The sum over the batches by a pass, which keeps the graphs if all fit in memory."""
        saved, graphs = SavedTensors(), list[BatchGraph]()
        total, sizes = torch.zeros_like(v), None
        for batch in self.objective.pairs():
            compare_once(self.objective, batch, self.matrix, type(self))
            graph = saved.counting(partial(self._build, network, batch))
            self._same_loss.add(graph.loss, graph.sizes[0])
            if saved.nbytes > self._memory:
                self._memory = -1  # one pass is enough to know
                graphs.clear()
            else:
                graphs.append(graph)
            total += graph.matvec(v, keep=self._memory >= 0)
            sizes = graph.sizes.double() if sizes is None else sizes + graph.sizes
        self._same_loss.end_of_pass()
        if sizes is None:
            raise no_batch()
        self.objective.add_up(sizes)
        check_weight(float(sizes[0]))
        self._divisor = float(self._divisor_of(sizes))
        if self._memory >= 0:
            self._graphs = graphs
        return total


def backward(
    outputs: Tensor, inputs: Tensor, u: Tensor, *, keep: bool = True, differentiable: bool = False
) -> Tensor:
    """J^T u through a graph of ``BilinearLayers``; see ``pulled_back``."""
    with BilinearLayers():  # an activation checkpoint runs its layers again here
        return pulled_back(outputs, inputs, u, keep=keep, differentiable=differentiable)
