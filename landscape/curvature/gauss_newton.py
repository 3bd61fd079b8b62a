"""The generalised Gauss-Newton matrix and the empirical Fisher information of an objective.

With the outputs f_n of example n, their Jacobian J_n by w and its loss l_n(f_n), both matrices are
means of J_n^T C_n J_n over the examples:

    Gauss-Newton:      C_n = the Hessian of l_n by f_n (Schraudolph 2002);
    empirical Fisher:  C_n = r_n r_n^T, r_n = the gradient of l_n by f_n, so that
                       J_n^T C_n J_n = g_n g_n^T for the gradient g_n of example n's loss by w.

For the cross-entropy and for squared errors the Gauss-Newton matrix is the Fisher information of
the model's own predictions; the empirical one is not (Kunstner, Balles & Hennig, arXiv 1905.12558).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from landscape.batches import Batch, batch_size
from landscape.bilinear import BilinearLayers
from landscape.differentiation import check_vector, leaf, second_derivatives
from landscape.errors import InputError
from landscape.memory import SavedTensors, spare
from landscape.objective import Objective
from landscape.recording import Recorder
from landscape.soundness import SameLoss, check_precision

Centre = Literal["hessian", "gradient"]


class GaussNewton:
    """v -> (1 / N) sum_n J_n^T C_n J_n v, for an objective at one point.

    The outputs' graphs of all batches are kept from product to product if they fit in memory, and
    otherwise all recomputed; and products are recorded, as those of the objective's Hessian.

    Args:
        objective: Outputs are one tensor, its first axis the example.
        w: Shape (P,).
        centre: C_n: ``"hessian"`` for the Gauss-Newton matrix, ``"gradient"`` for the empirical
            Fisher information.
        memory: Bytes of saved activations that may be kept; by default a quarter of what is free.

    Raises:
        InputError: when called, if the outputs are not as above, or there is no batch.

    Example:
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> objective = Objective(torch.nn.Linear(2, 2, bias=False), data)
        >>> GaussNewton(objective, torch.zeros(4))(torch.tensor([1.0, 0.0, 0.0, 0.0])).tolist()
        [0.125, 0.0, -0.125, 0.0]
    """

    def __init__(
        self,
        objective: Objective,
        w: Tensor,
        *,
        centre: Centre = "hessian",
        memory: int | None = None,
    ) -> None:
        check_precision(w)
        if centre not in get_args(Centre):
            raise InputError(f"unknown centre '{centre}'; known: {', '.join(get_args(Centre))}")
        self._objective = objective
        self._w = leaf(w)
        self._centre = centre
        self._memory = spare(w.device) if memory is None else memory
        self._kept: list[_Part] | None = None
        self._same_loss = SameLoss()
        self._recorder = Recorder(w.device)

    def __call__(self, v: Tensor) -> Tensor:
        """The product, shape (P,)."""
        check_vector(v, len(self._w))
        v = v.to(self._w)
        with second_derivatives(), self._recorder.stream():
            kept = self._kept is not None
            return self._recorder(self._product, v) if kept else self._product(v)

    def _product(self, v: Tensor) -> Tensor:
        total, examples = torch.zeros_like(self._w), 0
        for part in self._parts():
            examples += len(part.outputs)
            total += part.pull(part.centre_product(part.push(v)))
        if examples == 0:
            raise InputError("the data has no batch: nothing to evaluate")
        return total / examples

    def _parts(self) -> Iterator[_Part]:
        if self._kept is not None:
            yield from self._kept
            return
        saved = SavedTensors()
        built: list[_Part] = []
        for batch in self._objective.pairs():
            self._objective.soundness.check(
                self._objective.batch_loss, self._w, batch, symmetric=False
            )
            with saved.counted():
                part = self._build(batch)
            if saved.nbytes > self._memory:
                self._memory = -1  # one pass is enough to know
                built.clear()
            else:
                built.append(part)
            yield part
        self._same_loss.end_of_pass()
        if self._memory >= 0:
            self._kept = built

    def _build(self, batch: Batch) -> _Part:
        inputs, targets = batch
        objective = self._objective
        with BilinearLayers():
            outputs = objective.space.evaluate(self._w, inputs, objective.buffers)
        size = batch_size(targets)
        if not isinstance(outputs, Tensor) or outputs.ndim == 0 or len(outputs) != size:
            raise InputError(
                "the Gauss-Newton matrix needs outputs in one tensor whose first axis is the "
                "example; use the Hessian"
            )
        at = outputs.detach().requires_grad_()
        loss = objective.summed(at, objective.space.move(targets))
        self._same_loss.add(loss, size)
        (gradient,) = torch.autograd.grad(loss, at, create_graph=self._centre == "hessian")
        # J^T u is linear in u, so that its derivative by u gives J v: a pass forward by two back.
        direction = torch.zeros_like(at, requires_grad=True)
        pulled = _derivative(outputs, self._w, direction, differentiable=True)
        return _Part(self._w, outputs, direction, pulled, at, gradient, self._centre)


@dataclass(frozen=True)
class _Part:
    """The graphs of one batch."""

    w: Tensor
    outputs: Tensor
    direction: Tensor
    pulled: Tensor
    leaf: Tensor
    gradient: Tensor
    centre: Centre

    def push(self, v: Tensor) -> Tensor:
        """J v, in the shape of the outputs."""
        return _derivative(self.pulled, self.direction, v)

    def centre_product(self, u: Tensor) -> Tensor:
        """C u, example by example."""
        if self.centre == "hessian":
            return _derivative(self.gradient, self.leaf, u)
        along = (self.gradient * u).flatten(1).sum(1)
        return self.gradient * along.view(-1, *[1] * (u.ndim - 1))

    def pull(self, u: Tensor) -> Tensor:
        """J^T u, shape (P,)."""
        return _derivative(self.outputs, self.w, u)


def _derivative(
    outputs: Tensor, inputs: Tensor, weights: Tensor, *, differentiable: bool = False
) -> Tensor:
    if not outputs.requires_grad:  # constant
        return torch.zeros_like(inputs)
    (found,) = torch.autograd.grad(
        outputs,
        inputs,
        weights,
        retain_graph=True,
        create_graph=differentiable,
        materialize_grads=True,
    )
    return found
