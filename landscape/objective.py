"""The function whose landscape it is: w -> mean loss over a data set, with its derivatives."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landscape.devices import differentiable, leaf
from landscape.errors import InputError
from landscape.hessian import HessianOperator
from landscape.likelihood import GaussianLikelihood
from landscape.parameters import Choice, ParameterSpace
from landscape.soundness import Once, check_batch_independence

Batch = tuple[Any, Any]
LossFunction = Callable[[Any, Any], Tensor]
Loss = str | LossFunction


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise InputError(
            "'cross_entropy' needs one tensor of logits, not the network's "
            f"{type(outputs).__name__}; pass a function of (outputs, targets)"
        )
    if not targets.is_floating_point():
        targets = targets.long()
    try:
        return nn.functional.cross_entropy(outputs, targets, reduction="none")
    except IndexError as error:
        raise InputError(
            f"labels must be in [0, {outputs.shape[1]}), the network's outputs, not "
            f"[{int(targets.min())}, {int(targets.max())}]"
        ) from error


_SUMS = "the loss sums over examples; give it reduction='mean' or 'none'"
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
            mean, a scalar. Of torch's own cross-entropies an example of the ignored class counts,
            with a loss of 0: a mean over the others would depend on how batches are cut.

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
        raise InputError(_SUMS)
    # Such a mean divides by the sum of weights and not by the number of examples.
    uneven = (
        getattr(loss, "weight", None) is not None or getattr(loss, "ignore_index", -100) != -100
    )
    if uneven and getattr(loss, "reduction", "") == "mean":
        raise InputError("a loss with class weights or an ignored class needs reduction='none'")
    function = _example_by_example(loss)
    is_mean = False

    def summed(outputs: Any, targets: Any) -> Tensor:
        nonlocal is_mean
        value = function(outputs, targets)
        if value.ndim == 0:
            if not is_mean and not torch._C._are_functorch_transforms_active():
                _check_mean(function, value, outputs, targets)
                is_mean = True
            return value * batch_size(targets)
        # More values than examples are a sum over something else, or a broadcast by mistake.
        if value.shape[0] != batch_size(targets) or value.numel() != batch_size(targets):
            raise InputError(
                f"the loss returned shape {tuple(value.shape)} for {batch_size(targets)} examples; "
                "it must be one value an example or their mean"
            )
        return value.sum()

    return summed


def _example_by_example(loss: LossFunction) -> LossFunction:
    """Torch's mean cross-entropies as one value an example, the mean over its positions."""
    if not isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) or loss.reduction != "mean":
        return loss
    each = copy.copy(loss)
    each.reduction = "none"

    def function(outputs: Any, targets: Any) -> Tensor:
        value: Tensor = each(outputs, targets)
        return value.flatten(1).mean(1) if value.ndim > 1 else value

    return function


def _check_mean(function: LossFunction, value: Tensor, outputs: Any, targets: Any) -> None:
    """Refuse a sum over examples, which a batch taken twice gives away."""
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        return
    if outputs.ndim == 0 or len(outputs) != len(targets):
        return
    with torch.no_grad():
        twice = float(function(torch.cat([outputs, outputs]), torch.cat([targets, targets])))
    once = float(value.detach())
    if once != 0 and math.isclose(twice, 2 * once, rel_tol=1e-3):
        raise InputError(_SUMS)


def batch_size(targets: Any) -> int:
    """Number of examples in a batch, from its targets.

    Raises:
        InputError: they are neither a tensor nor tensors in a dict or a sequence.
    """
    if isinstance(targets, Tensor) and targets.ndim > 0:
        return int(targets.shape[0])
    if isinstance(targets, Mapping | list | tuple) and targets:
        return batch_size(next(iter(targets.values() if isinstance(targets, Mapping) else targets)))
    raise InputError(
        "a batch's targets must be a tensor whose first axis is the example, or several in a dict "
        f"or a sequence, not {type(targets).__name__}"
    )


def take(value: Any, index: Tensor) -> Any:
    """The examples ``index`` of a batch's tensor, or of all tensors in a dict or a sequence."""
    if isinstance(value, Tensor):
        return value[index.to(value.device)]
    if isinstance(value, Mapping):
        return {name: take(item, index) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(take(item, index) for item in value)
    return value


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
        InputError: the batches can be read only once, a layer mixes the examples of a batch, or
            (on first use) there are no batches, or the network is random.

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
        check_batch_independence(self.space.module)
        self.size = self.space.size
        self.batches = batches
        self.summed = summed_loss(loss)
        self.buffers = buffers
        self.found_sound = Once()

    def with_buffers(self, buffers: Mapping[str, Tensor]) -> Objective:
        """The same objective evaluated with other buffers (running statistics)."""
        other = copy.copy(self)
        other.buffers = buffers
        return other

    def loss(self, w: Tensor) -> Tensor:
        """L(w), a scalar; w has shape (P,)."""

        def values() -> Iterator[tuple[Tensor, int]]:
            for inputs, targets in self.pairs():
                outputs = self.space.predict(w, inputs, self.buffers)
                yield self.summed(outputs, self.space.move(targets)), batch_size(targets)

        with torch.no_grad():
            return self.mean(values())

    def evaluate(self, w: Tensor) -> Evaluation:
        """Loss and accuracy at w in one pass."""

        def values() -> Iterator[tuple[Tensor, int]]:
            for inputs, targets in self.pairs():
                targets = self.space.move(targets)
                outputs = self.space.predict(w, inputs, self.buffers)
                loss = self.summed(outputs, targets)
                yield torch.stack([loss, _correct(outputs, targets).to(loss)]), batch_size(targets)

        with torch.no_grad():
            loss, accuracy = self.mean(values()).tolist()
        return Evaluation(loss, accuracy)

    def gradient(self, w: Tensor) -> Tensor:
        """The gradient of L at w, shape (P,)."""

        def values() -> Iterator[tuple[Tensor, int]]:
            at = leaf(w)
            for batch in self.pairs():
                loss, size = self.batch_loss(at, batch)
                yield torch.autograd.grad(loss, at, materialize_grads=True)[0], size

        with differentiable():
            return self.mean(values())

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

    def pairs(self) -> Iterator[Batch]:
        """The batches, each of them seen to be a pair.

        Raises:
            InputError: one is not, or its targets are no tensors.
        """
        for batch in self.batches:
            if not isinstance(batch, list | tuple) or len(batch) != 2:
                parts = f" of {len(batch)}" if isinstance(batch, list | tuple | Mapping) else ""
                raise InputError(
                    f"a batch is a pair (inputs, targets), not a {type(batch).__name__}{parts}; "
                    "inputs may be a tuple or a dict"
                )
            batch_size(batch[1])
            yield batch[0], batch[1]

    def batch_loss(
        self, w: Tensor, batch: Batch, autocast: torch.dtype | None = None
    ) -> tuple[Tensor, int]:
        """The summed loss of a batch with its graph, and the number of examples."""
        inputs, targets = batch
        if autocast is None:
            outputs = self.space.call(w, inputs, self.buffers)
        else:
            with torch.autocast(w.device.type, autocast):
                outputs = self.space.call(w, inputs, self.buffers)
            outputs = outputs.to(w) if isinstance(outputs, Tensor) else outputs
        return self.summed(outputs, self.space.move(targets)), batch_size(targets)

    def mean(self, values: Iterable[tuple[Tensor, int]]) -> Tensor:
        """The sum of the batches' sums over the number of examples.

        Raises:
            InputError: there is none.
        """
        total: Tensor | None = None
        examples = 0
        for value, size in values:
            total = value if total is None else total + value
            examples += size
        if total is None or examples == 0:
            raise InputError("the data has no batch: nothing to evaluate")
        return total / examples


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
