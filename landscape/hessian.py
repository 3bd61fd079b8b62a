"""The Hessian of an objective at one point, as an operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from landscape.bilinear import BilinearLayers
from landscape.differentiation import check_vector, gradient_of, leaf, second_derivatives
from landscape.memory import SavedTensors, spare
from landscape.recording import Recorder
from landscape.soundness import SameLoss, check_precision

if TYPE_CHECKING:
    from landscape.batches import Batch
    from landscape.objective import Objective


class HessianOperator:
    """v -> H v for the Hessian of an objective at one point, by double backward.

    The gradient's graphs of all batches are built once and kept if they fit in memory: a product
    then costs one backward pass through them, and no forward pass. If they do not, all of them are
    recomputed at every product: a shuffled loader gives other batches each time, so that keeping
    some would count examples twice and others never. On a GPU the products with graphs that are
    kept are recorded; see ``Recorder``.

    Attributes:
        size: P.
        products: How many products were taken.
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
        self.products = 0
        self._objective = objective
        self._w = leaf(w)
        self.error: float | None = 0.0 if autocast is None else None
        self._autocast = autocast
        self._kept: list[tuple[Tensor, int]] | None = None
        self._same_loss = SameLoss()
        self._recorder = Recorder(w.device)
        self._memory = spare(w.device) if memory is None else memory

    def __call__(self, v: Tensor) -> Tensor:
        """H v, shape (P,)."""
        check_vector(v, self.size)
        self.products += 1
        with second_derivatives(), self._recorder.stream():
            v = v.to(self._w)
            kept = self._kept is not None
            found = self._recorder(self._product, v) if kept else self._product(v)
        if self.error is None:
            reference = self._objective.hessian_product(self._w, v)
            self.error = float((found - reference).norm() / reference.norm())
        return found

    def _product(self, v: Tensor) -> Tensor:
        return self._objective.mean(self._products(v))

    def _products(self, v: Tensor) -> Iterator[tuple[Tensor, int]]:
        if self._kept is not None:
            for gradient, size in self._kept:
                yield self._backward(gradient, v, keep=True), size
            return
        saved = SavedTensors()
        built: list[tuple[Tensor, int]] = []
        for batch in self._objective.pairs():
            self._objective.soundness.check(self._objective.batch_loss, self._w, batch)
            with saved.counted():
                gradient, size = self._build(batch)
            if saved.nbytes > self._memory:
                self._memory = -1  # one pass is enough to know
                built.clear()
            else:
                built.append((gradient, size))
            yield self._backward(gradient, v, keep=self._memory >= 0), size
        self._same_loss.end_of_pass()
        if self._memory >= 0:
            self._kept = built

    def _build(self, batch: Batch) -> tuple[Tensor, int]:
        with BilinearLayers():
            loss, size = self._objective.batch_loss(self._w, batch, self._autocast)
        self._same_loss.add(loss, size)
        return gradient_of(loss, self._w, differentiable=True), size

    def _backward(self, gradient: Tensor, v: Tensor, *, keep: bool) -> Tensor:
        if not gradient.requires_grad:  # a loss linear in w has no curvature
            return torch.zeros_like(v)
        (product,) = torch.autograd.grad(
            gradient, self._w, v, retain_graph=keep, materialize_grads=True
        )
        return product
