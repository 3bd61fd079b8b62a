"""The function whose landscape it is: w -> mean loss over a data set, with its derivatives."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landscape.batches import Batch, batch_size
from landscape.differentiation import (
    check_tensor,
    differentiable,
    full_precision,
    gradient_of,
    leaf,
    uncast,
)
from landscape.errors import InputError
from landscape.hessian import HessianOperator
from landscape.losses import Loss, summed_loss
from landscape.parameters import Choice, ParameterSpace
from landscape.recording import Recorder
from landscape.soundness import Soundness, check_batch_independence, check_fits


@dataclass(frozen=True)
class Evaluation:
    """Loss and accuracy over a data set; accuracy is NaN where targets are not classes."""

    loss: float
    accuracy: float


class Objective:
    """L(w) = (1 / N) sum_n loss(f(x_n; w), y_n), in evaluation mode, with gradient and Hessian.

    Batches stream through and each counts by its number of examples.

    Args:
        model: A module, or a ``ParameterSpace`` over one.
        batches: A re-readable iterable of (inputs, targets): a ``DataLoader``, a list,
            ``Data.batches(...)``. It must give the same examples every time.
        loss: See ``losses.summed_loss``.
        random: Which parameters w holds, if ``model`` is a module; see ``ParameterSpace``.
        buffers: The module's buffers to evaluate with; its own if ``None``.

    Attributes:
        space: The parameter space that w lives in.
        size: P.
        batches: As given.
        buffers: As given.
        summed: The loss as a function of (outputs, targets), summed over a batch.
        soundness: Whether its second derivatives can be trusted, also of copies with other buffers.

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
        if not isinstance(batches, Iterable) and not hasattr(batches, "__getitem__"):
            raise InputError(f"batches is a {type(batches).__name__}; pass a list or a DataLoader")
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
        self.soundness = Soundness()
        self._fits = False
        self._recorder = Recorder(self.space.device)

    def with_buffers(self, buffers: Mapping[str, Tensor] | None) -> Objective:
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

        with torch.no_grad(), full_precision():
            return self.mean(values())

    def evaluate(self, w: Tensor) -> Evaluation:
        """Loss and accuracy at w in one pass."""
        check_tensor(w)
        return self.evaluate_each(w[None], [self.buffers])[0]

    def evaluate_each(
        self, weights: Tensor, buffers: Sequence[Mapping[str, Tensor] | None]
    ) -> list[Evaluation]:
        """Loss and accuracy at each of some weights (n, P), with its buffers, in one pass."""

        def values() -> Iterator[tuple[Tensor, int]]:
            for inputs, targets in self.pairs():
                batch = self.space.move((inputs, targets))
                found = self._recorder(self._evaluate_batch, weights, buffers, batch)
                yield found, batch_size(targets)

        with torch.no_grad(), full_precision(), self._recorder.stream():
            return [Evaluation(*each) for each in self.mean(values()).tolist()]

    def _evaluate_batch(
        self, weights: Tensor, buffers: Sequence[Mapping[str, Tensor] | None], batch: Batch
    ) -> Tensor:
        """Summed loss and number of right classes of a batch at each weights, shape (n, 2)."""
        inputs, targets = batch

        def evaluate(point: tuple[Tensor, Mapping[str, Tensor] | None]) -> Tensor:
            return self._score(self.space.predict(point[0], inputs, point[1]), targets)

        points = list(zip(weights, buffers, strict=True))
        return torch.stack(self._recorder.each(evaluate, points))

    def evaluate_outputs(self, batches: Iterable[tuple[Tensor, Any]]) -> Evaluation:
        """Loss and accuracy of outputs that are known, given batch by batch with the targets."""

        def values() -> Iterator[tuple[Tensor, int]]:
            for outputs, targets in batches:
                yield self._score(outputs, self.space.move(targets)), batch_size(targets)

        with torch.no_grad(), full_precision():
            return Evaluation(*self.mean(values()).tolist())

    def _score(self, outputs: Any, targets: Any) -> Tensor:
        """Summed loss and number of right classes of a batch, shape (2,)."""
        loss = self.summed(outputs, targets)
        return torch.stack([loss, _correct(outputs, targets, loss)])

    def gradient(self, w: Tensor) -> Tensor:
        """The gradient of L at w, shape (P,)."""

        def values() -> Iterator[tuple[Tensor, int]]:
            at = leaf(w)
            for batch in self.pairs():
                loss, size = self.batch_loss(at, batch)
                yield gradient_of(loss, at), size

        with differentiable(), uncast(), full_precision():
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
        """The batches, each of them seen to be a pair, and the first to fit the network.

        Raises:
            InputError: one is not, or does not, or its targets are no tensors.
        """
        for batch in self.batches:
            if not isinstance(batch, list | tuple) or len(batch) != 2:
                parts = f" of {len(batch)}" if isinstance(batch, list | tuple | Mapping) else ""
                raise InputError(
                    f"a batch is a pair (inputs, targets), not a {type(batch).__name__}{parts}; "
                    "inputs may be a tuple or a dict"
                )
            batch_size(batch[1])
            inputs, targets = batch
            if not self._fits:
                check_fits(self.space, (inputs, targets))
                self._fits = True
            yield inputs, targets

    def batch_loss(
        self, w: Tensor, batch: Batch, autocast: torch.dtype | None = None
    ) -> tuple[Tensor, int]:
        """The summed loss of a batch with its graph, and the number of examples."""
        inputs, targets = batch
        if autocast is None:
            outputs = self.space.evaluate(w, inputs, self.buffers)
        else:
            with torch.autocast(w.device.type, autocast):
                outputs = self.space.evaluate(w, inputs, self.buffers)
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


def _correct(outputs: Any, targets: Any, like: Tensor) -> Tensor:
    """Number of right classes in a batch, in the type of ``like``; NaN where it has no meaning."""
    is_classification = (
        isinstance(outputs, Tensor)
        and isinstance(targets, Tensor)
        and outputs.ndim == 2
        and targets.ndim == 1
        and not targets.is_floating_point()
    )
    if not is_classification:
        return torch.full_like(like, torch.nan)
    right = (outputs.argmax(1) == targets).sum().to(like.dtype)
    # argmax of NaN is an arbitrary class: not a prediction.
    return torch.where(outputs.isfinite().all(), right, torch.nan)
