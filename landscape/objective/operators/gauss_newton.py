"""The generalised Gauss-Newton matrix and the empirical Fisher information of an objective.

With the outputs f_n of example n, their Jacobian J_n by w and its loss l_n(f_n), both matrices are
means of J_n^T C_n J_n over the examples. (Where labels are ignored or have weights, l_n is scaled
so that L is the mean of those of the examples that count.)

    Gauss-Newton:      C_n = the Hessian of l_n by f_n (Schraudolph 2002);
    empirical Fisher:  C_n = r_n r_n^T, r_n = the gradient of l_n by f_n, so that
                       J_n^T C_n J_n = g_n g_n^T for the gradient g_n of example n's loss by w.

For the cross-entropy and for squared errors the Gauss-Newton matrix is the Fisher information of
the model's own predictions; the empirical one is not (Kunstner, Balles & Hennig, arXiv 1905.12558).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from landscape.autograd.cuda_graphs import Recorder
from landscape.autograd.double_backward import BilinearLayers
from landscape.autograd.settings import check_vector, leaf, pulled_back, second_derivatives
from landscape.autograd.tensor_memory import SavedTensors
from landscape.errors import InputError
from landscape.objective.batches import Batch, batch_size
from landscape.objective.checks import SameLoss, check_precision
from landscape.objective.derivative_checks import compare_once
from landscape.objective.objective import Objective, check_weight, no_batch
from landscape.objective.parameters import Network
from landscape.runtime.memory import spare

Centre = Literal["hessian", "gradient"]


class GaussNewton:
    """v -> (1 / N) sum_n J_n^T C_n J_n v, for an objective at one point.

    The outputs' graphs of all batches are kept from product to product if they fit in memory, and
    otherwise all recomputed; and matvecs are recorded, as those of the objective's Hessian.

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
        self._matrix = "gauss-newton" if centre == "hessian" else "empirical-fisher"
        self._memory = spare(w.device) if memory is None else memory
        self._kept: list[_Part] | None = None
        self._divisor = 0.0
        self._same_loss = SameLoss()
        self._recorder = Recorder(w.device)

    def __call__(self, v: Tensor) -> Tensor:
        """The product, shape (P,)."""
        check_vector(v, len(self._w))
        objective = self._objective
        with (
            second_derivatives(),
            self._recorder.stream(),
            objective.space.at(self._w, objective.buffers) as network,
        ):
            v = v.to(self._w)
            if self._kept is not None:
                return self._recorder(self._product, v)
            return self._first_product(network, v)

    def _product(self, v: Tensor) -> Tensor:
        """From the graphs that are kept."""
        total = torch.zeros_like(v)
        for part in self._kept or ():
            total += part.product(v)
        return total / self._divisor

    def _first_product(self, network: Network, v: Tensor) -> Tensor:
        """By batches; their graphs are kept if all fit in memory."""
        objective, saved = self._objective, SavedTensors()
        built: list[_Part] = []
        total = torch.zeros_like(v)
        weight = counted = 0.0
        for batch in objective.pairs():
            make = partial(GaussNewton, centre=self._centre)
            compare_once(objective, batch, self._matrix, make)
            part = saved.counting(partial(self._build, network, batch))
            self._same_loss.add(part.loss, part.weight)
            weight += float(part.weight)
            counted += float(part.counted)
            if saved.nbytes > self._memory:
                self._memory = -1  # one pass is enough to know
                built.clear()
            else:
                built.append(part)
            total += part.product(v)
        self._same_loss.end_of_pass()
        if not self._same_loss.is_begun:
            raise no_batch()
        check_weight(weight)
        # Example n's own loss, of which L is the mean over those that count, is counted / weight of
        # its part in the total.
        divisor = weight if self._centre == "hessian" else weight**2 / counted
        if self._memory >= 0:
            self._kept, self._divisor = built, divisor
        return total / divisor

    def _build(self, network: Network, batch: Batch) -> _Part:
        inputs, targets = batch
        objective = self._objective
        with BilinearLayers():
            outputs = network(inputs)
        size = batch_size(inputs, targets, outputs)
        if not isinstance(outputs, Tensor) or outputs.ndim == 0 or len(outputs) != size:
            raise InputError(
                "the Gauss-Newton matrix needs outputs in one tensor whose first axis is the "
                "example; use the Hessian"
            )
        at = outputs.detach().requires_grad_()
        targets = objective.space.move(targets)
        loss, weight = objective.criterion(at, targets, inputs)
        (gradient,) = torch.autograd.grad(loss, at, create_graph=self._centre == "hessian")
        # J^T u is linear in u, so that its derivative by u gives J v: a pass forward by two back.
        direction = torch.zeros_like(at, requires_grad=True)
        pulled = _derivative(outputs, self._w, direction, differentiable=True)
        return _Part(
            w=self._w,
            outputs=outputs,
            direction=direction,
            pulled=pulled,
            leaf=at,
            gradient=gradient,
            centre=self._centre,
            loss=loss.detach(),
            weight=weight,
            counted=objective.criterion.counts(targets, size).sum(),
        )


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
    loss: Tensor
    weight: Tensor
    counted: Tensor

    def product(self, v: Tensor) -> Tensor:
        """J^T C J v, summed over the examples."""
        return self.pull(self.centre_product(self.push(v)))

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
    with BilinearLayers():  # also what a checkpoint runs again
        return pulled_back(outputs, inputs, weights, keep=True, differentiable=differentiable)
