"""The function whose landscape it is: w -> mean loss over a data set, with its derivatives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landscape.bilinear import BilinearLayers
from landscape.devices import second_derivatives
from landscape.errors import InputError
from landscape.likelihood import GaussianLikelihood
from landscape.memory import SavedTensors, spare
from landscape.parameters import Choice, ParameterSpace

Batch = tuple[Any, Any]
LossFunction = Callable[[Any, Any], Tensor]
Loss = str | LossFunction


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    try:
        return nn.functional.cross_entropy(outputs, targets, reduction="none")
    except IndexError as error:
        raise InputError(
            f"labels must be in [0, {outputs.shape[1]}), the network's outputs, not "
            f"[{int(targets.min())}, {int(targets.max())}]"
        ) from error


_LOSSES: dict[str, LossFunction] = {
    "cross_entropy": _cross_entropy,
    "gaussian": GaussianLikelihood(noise=1.0),
}


@dataclass(frozen=True)
class Evaluation:
    """Loss and accuracy over a data set; accuracy is NaN where targets are not classes."""

    loss: float
    accuracy: float


def summed_loss(loss: Loss) -> LossFunction:
    """``loss`` as a function of (outputs, targets) that sums over the examples of a batch.

    Args:
        loss: ``"cross_entropy"``, ``"gaussian"`` (unit noise; ``GaussianLikelihood`` for other), or
            a function of (outputs, targets) that returns one value an example, shape (B,), or their
            mean, a scalar.

    Raises:
        InputError: an unknown name; or, when called, outputs that the loss does not fit.
    """
    if isinstance(loss, str):
        if loss not in _LOSSES:
            raise InputError(
                f"unknown loss '{loss}'; known: {', '.join(_LOSSES)}, or pass a function of "
                "(outputs, targets)"
            )
        loss = _LOSSES[loss]
    if getattr(loss, "reduction", "mean") == "sum":
        raise InputError("the loss sums over examples; give it reduction='mean' or 'none'")
    # Such a mean divides by the sum of weights and not by the number of examples.
    uneven = (
        getattr(loss, "weight", None) is not None or getattr(loss, "ignore_index", -100) != -100
    )
    if uneven and getattr(loss, "reduction", "") == "mean":
        raise InputError("a loss with class weights or an ignored class needs reduction='none'")
    function = loss

    def summed(outputs: Any, targets: Any) -> Tensor:
        value = function(outputs, targets)
        if value.ndim == 0:
            return value * batch_size(targets)
        # More values than examples are a sum over something else, or a broadcast by mistake.
        if value.shape[0] != batch_size(targets) or value.numel() != batch_size(targets):
            raise InputError(
                f"the loss returned shape {tuple(value.shape)} for {batch_size(targets)} examples; "
                "it must be one value an example or their mean"
            )
        return value.sum()

    return summed


def batch_size(targets: Any) -> int:
    """Number of examples in a batch, from its targets."""
    if isinstance(targets, Tensor):
        return int(targets.shape[0])
    first = next(iter(targets.values() if isinstance(targets, Mapping) else targets))
    return batch_size(first)


def take(value: Any, index: Tensor) -> Any:
    """The examples ``index`` of a batch's tensor, or of all tensors in a dict or a sequence."""
    if isinstance(value, Tensor):
        return value[index.to(value.device)]
    if isinstance(value, Mapping):
        return {name: take(item, index) for name, item in value.items()}
    return tuple(take(item, index) for item in value)


class Objective:
    """L(w) = (1 / N) sum_n loss(f(x_n; w), y_n), in evaluation mode, with gradient and Hessian.

    Batches stream through and each counts by its number of examples.

    Args:
        model: A module, or a ``ParameterSpace`` over one.
        batches: A re-readable iterable of (inputs, targets): a ``DataLoader``, a list,
            ``Data.batches(...)``. It must give the same examples every time.
        loss: See ``summed_loss``.
        random: Which parameters w holds, if ``model`` is a module; see ``ParameterSpace``.
        buffers: The module's buffers to evaluate with; its own if ``None``.

    Attributes:
        space: The parameter space that w lives in.
        size: P.
        batches: As given.
        buffers: As given.
        summed: The loss as a function of (outputs, targets), summed over a batch.

    Raises:
        InputError: the batches can be read only once, or (on first use) there are none.

    Example:
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> objective = Objective(nn.Linear(2, 2), data)
        >>> round(float(objective.loss(torch.zeros(objective.size))), 4)
        0.6931
    """

    def __init__(
        self,
        model: nn.Module | ParameterSpace,
        batches: Iterable[Batch],
        loss: Loss = "cross_entropy",
        *,
        random: Choice = None,
        buffers: Mapping[str, Tensor] | None = None,
    ) -> None:
        if isinstance(batches, Iterator):
            raise InputError(
                "batches is an iterator, which can be read only once; pass a list or a DataLoader"
            )
        self.space = model if isinstance(model, ParameterSpace) else ParameterSpace(model, random)
        self.size = self.space.size
        self.batches = batches
        self.summed = summed_loss(loss)
        self.buffers = buffers

    def with_buffers(self, buffers: Mapping[str, Tensor]) -> Objective:
        """The same objective evaluated with other buffers (running statistics)."""
        other = copy.copy(self)
        other.buffers = buffers
        return other

    def loss(self, w: Tensor) -> Tensor:
        """L(w), a scalar; w has shape (P,)."""

        def values() -> Iterator[tuple[Tensor, int]]:
            for inputs, targets in self.batches:
                outputs = self.space.predict(w, inputs, self.buffers)
                yield self.summed(outputs, self.space.move(targets)), batch_size(targets)

        with torch.no_grad():
            return self._mean(values())

    def evaluate(self, w: Tensor) -> Evaluation:
        """Loss and accuracy at w in one pass."""

        def values() -> Iterator[tuple[Tensor, int]]:
            for inputs, targets in self.batches:
                targets = self.space.move(targets)
                outputs = self.space.predict(w, inputs, self.buffers)
                loss = self.summed(outputs, targets)
                yield torch.stack([loss, _correct(outputs, targets).to(loss)]), batch_size(targets)

        with torch.no_grad():
            loss, accuracy = self._mean(values()).tolist()
        return Evaluation(loss, accuracy)

    def gradient(self, w: Tensor) -> Tensor:
        """The gradient of L at w, shape (P,)."""

        def values() -> Iterator[tuple[Tensor, int]]:
            leaf = w.detach().requires_grad_()
            for batch in self.batches:
                loss, size = self._batch_loss(leaf, batch)
                yield torch.autograd.grad(loss, leaf, materialize_grads=True)[0], size

        return self._mean(values())

    def hessian(
        self, w: Tensor, *, memory: int | None = None, autocast: torch.dtype | None = None
    ) -> HessianOperator:
        """The Hessian of L at w as an operator v -> H v.

        Args:
            w: Shape (P,).
            memory: Bytes of saved activations that may be kept from product to product; by default
                a quarter of what is free.
            autocast: Lower precision, such as ``torch.bfloat16``, for the network though not for
                the loss. The operator's ``error`` then says how far off its products are.
        """
        return HessianOperator(self, w, memory, autocast)

    def hessian_product(self, w: Tensor, v: Tensor) -> Tensor:
        """H(w) v, shape (P,); for many products at one w use ``hessian``."""
        return self.hessian(w, memory=0)(v)

    def _batch_loss(
        self, w: Tensor, batch: Batch, autocast: torch.dtype | None = None
    ) -> tuple[Tensor, int]:
        inputs, targets = batch
        if autocast is None:
            outputs = self.space.call(w, inputs, self.buffers)
        else:
            with torch.autocast(w.device.type, autocast):
                outputs = self.space.call(w, inputs, self.buffers)
            outputs = outputs.to(w) if isinstance(outputs, Tensor) else outputs
        return self.summed(outputs, self.space.move(targets)), batch_size(targets)

    def _mean(self, values: Iterable[tuple[Tensor, int]]) -> Tensor:
        total: Tensor | None = None
        examples = 0
        for value, size in values:
            total = value if total is None else total + value
            examples += size
        if total is None or examples == 0:
            raise InputError("the data has no batch: nothing to evaluate")
        return total / examples


class HessianOperator:
    """v -> H v for the Hessian of an objective at one point, by double backward.

    The gradient's graphs of all batches are built once and kept if they fit in memory: a product
    then costs one backward pass through them, and no forward pass. If they do not, all of them are
    recomputed at every product: a shuffled loader gives other batches each time, so that keeping
    some would count examples twice and others never.

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
        self.size = objective.size
        self.products = 0
        self._objective = objective
        self._w = w.detach().requires_grad_()
        self.error: float | None = 0.0 if autocast is None else None
        self._autocast = autocast
        self._kept: list[tuple[Tensor, int]] | None = None
        self._memory = spare(w.device) if memory is None else memory

    def __call__(self, v: Tensor) -> Tensor:
        """H v, shape (P,)."""
        self.products += 1
        with second_derivatives():
            found = self._objective._mean(self._products(v.to(self._w)))
        if self.error is None:
            reference = self._objective.hessian_product(self._w, v)
            self.error = float((found - reference).norm() / reference.norm())
        return found

    def _products(self, v: Tensor) -> Iterator[tuple[Tensor, int]]:
        if self._kept is not None:
            for gradient, size in self._kept:
                yield self._backward(gradient, v, keep=True), size
            return
        saved = SavedTensors()
        built: list[tuple[Tensor, int]] = []
        for batch in self._objective.batches:
            with saved.counted():
                gradient, size = self._build(batch)
            if saved.nbytes > self._memory:
                self._memory = -1  # one pass is enough to know
                built.clear()
            else:
                built.append((gradient, size))
            yield self._backward(gradient, v, keep=self._memory >= 0), size
        if self._memory >= 0:
            self._kept = built

    def _build(self, batch: Batch) -> tuple[Tensor, int]:
        with BilinearLayers():
            loss, size = self._objective._batch_loss(self._w, batch, self._autocast)
        (gradient,) = torch.autograd.grad(loss, self._w, create_graph=True, materialize_grads=True)
        return gradient, size

    def _backward(self, gradient: Tensor, v: Tensor, *, keep: bool) -> Tensor:
        if not gradient.requires_grad:  # a loss linear in w has no curvature
            return torch.zeros_like(v)
        (product,) = torch.autograd.grad(
            gradient, self._w, v, retain_graph=keep, materialize_grads=True
        )
        return product


def _correct(outputs: Any, targets: Any) -> Tensor:
    """Number of right classes in a batch; NaN where that has no meaning."""
    is_classification = (
        isinstance(outputs, Tensor)
        and isinstance(targets, Tensor)
        and outputs.ndim == 2
        and targets.ndim == 1
        and not targets.is_floating_point()
    )
    if not is_classification:
        return torch.tensor(torch.nan)
    right = (outputs.argmax(1) == targets).sum().to(outputs.dtype)
    # argmax of NaN is an arbitrary class: not a prediction.
    return torch.where(outputs.isfinite().all(), right, torch.nan)
