"""The Hessian of an objective at one point, as an operator."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from landscape.autograd.cuda_graphs import Recorder
from landscape.autograd.double_backward import BilinearLayers
from landscape.autograd.settings import (
    check_vector,
    gradient_of,
    leaf,
    pulled_back,
    second_derivatives,
)
from landscape.autograd.tensor_memory import SavedTensors
from landscape.objective.checks import SameLoss, check_precision
from landscape.objective.derivative_checks import compare_once
from landscape.runtime.memory import spare

if TYPE_CHECKING:
    from landscape.objective.batches import Batch
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import Network


class HessianOperator:
    """v -> H v for the Hessian of an objective at one point, by double backward.

    The gradient's graphs of all batches are built once and kept if they fit in memory: a product
    then costs one backward pass through them, and no forward pass. If they do not, all of them are
    recomputed at every product: a shuffled loader gives other batches each time, so that keeping
    some would count examples twice and others never. On a GPU the matvecs with graphs that are
    kept are recorded; see ``Recorder``.

    Attributes:
        size: P.
        matvecs: How many matvecs were taken.
        error: ||H' v - H v|| / ||H v|| of the first product H' v in lower precision, against one in
            w's precision, which is not counted; 0 in w's precision, ``None`` before a product.
    """

    def __init__(
        self,
        objective: Objective,
        w: Tensor,
        memory: int | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        check_precision(w)
        self.size = objective.size
        self.matvecs = 0
        self._objective = objective
        self._w = leaf(w)
        self.error: float | None = 0.0 if autocast is None else None
        self._autocast = autocast
        self._kept: list[Tensor] | None = None
        self._weight = 0.0
        self._same_loss = SameLoss()
        self._recorder = Recorder(w.device)
        self._memory = spare(w.device) if memory is None else memory

    def __call__(self, v: Tensor) -> Tensor:
        """H v, shape (P,)."""
        check_vector(v, self.size)
        self.matvecs += 1
        objective = self._objective
        with (
            second_derivatives(),
            self._recorder.stream(),
            objective.space.at(self._w, objective.buffers) as network,
        ):
            v = v.to(self._w)
            if self._kept is None:
                found = objective.mean(self._products(network, v))
            else:
                found = self._recorder(self._product, v)
        if self.error is None:
            reference = objective.hessian_product(self._w, v)
            self.error = float((found - reference).norm() / reference.norm())
        return found

    def _product(self, v: Tensor) -> Tensor:
        """From the graphs that are kept."""
        total = torch.zeros_like(v)
        for gradient in self._kept or ():
            total += self._backward(gradient, v, keep=True)
        return total / self._weight

    def _products(self, network: Network, v: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """By batches; their graphs are kept if all fit in memory."""
        objective, saved = self._objective, SavedTensors()
        built: list[Tensor] = []
        weights = 0.0
        for batch in objective.pairs():
            compare_once(objective, batch, "hessian", HessianOperator)
            gradient, total, weight = saved.counting(partial(self._build, network, batch))
            self._same_loss.add(total, weight)
            if saved.nbytes > self._memory:
                self._memory = -1  # one pass is enough to know
                built.clear()
            else:
                built.append(gradient)
                weights += float(weight)
            yield self._backward(gradient, v, keep=self._memory >= 0), weight
        self._same_loss.end_of_pass()
        if self._memory >= 0:
            self._kept, self._weight = built, weights

    def _build(self, network: Network, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """A batch's gradient with its graph, its loss and its weight."""
        with BilinearLayers():
            total, weight = self._objective.batch_total(network, batch, self._autocast)
            gradient = gradient_of(total, self._w, differentiable=True)
        return gradient, total.detach(), weight

    def _backward(self, gradient: Tensor, v: Tensor, *, keep: bool) -> Tensor:
        with BilinearLayers():  # also what a checkpoint runs again
            return pulled_back(gradient, self._w, v, keep=keep)
