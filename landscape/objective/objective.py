"""The function whose landscape it is: w -> mean loss over a data set, with its derivatives."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from landscape.autograd.cuda_graphs import Recorder
from landscape.autograd.settings import (
    check_tensor,
    first_derivatives,
    full_precision,
    gradient_of,
    leaf,
    no_autocast,
)
from landscape.errors import InputError
from landscape.objective.batches import Batch, batch_size
from landscape.objective.checks import check_batch_independence, check_evaluation
from landscape.objective.losses import Criterion, Loss, are_labels
from landscape.objective.operators.hessian import HessianOperator
from landscape.objective.parameters import Choice, Network, ParameterSpace


@dataclass(frozen=True)
class Evaluation:
    """Loss and accuracy over a data set.

    Accuracy is the share of labels that are right among those that count, NaN where targets are not
    classes.
    """

    loss: float
    accuracy: float


@dataclass
class Checked:
    """What was found out about an objective on a few examples, once for all its buffers.

    Attributes:
        is_evaluated: Whether network, loss and data were found to fit each other.
        divides: Whether a few examples of a batch can be evaluated by themselves.
        matrices: Of which curvature matrices a product was compared with differences.
        is_trusted: Whether none has to be.
    """

    is_evaluated: bool = False
    divides: bool = False
    is_trusted: bool = False
    matrices: set[str] = field(default_factory=set)


class Objective:
    """L(w), the value of a loss on a data set, in evaluation mode, with gradient and Hessian.

    That is the mean over the examples, each by itself: (1 / N) sum_n loss(f(x_n; w), y_n). Batches
    stream through and each counts by its number of examples. Where labels are ignored or classes
    have weights, it is torch's own value on all data at once; see ``losses.Criterion``. Of a single
    batch it is the loss of that batch, whatever the loss is.

    Args:
        model: A module, or a ``ParameterSpace`` over one.
        batches: A re-readable iterable of (inputs, targets): a ``DataLoader``, a list,
            ``Data.batches(...)``. It must give the same examples every time.
        loss: See ``losses.Criterion``.
        parameters: Which parameters w holds, if ``model`` is a module; see ``ParameterSpace``.
        buffers: The module's buffers to evaluate with; its own if ``None``.

    Attributes:
        space: The parameter space that w lives in.
        size: P.
        batches: As given.
        buffers: As given.
        criterion: The loss as sums over batches.
        checked: What was found out about it, also of copies with other buffers.

    Raises:
        InputError: the batches can be read only once, a layer mixes the examples of a batch, or (on
            first use) there are no batches, or network, loss and data do not fit each other.

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
        parameters: Choice = None,
        buffers: Mapping[str, Tensor] | None = None,
    ) -> None:
        if not isinstance(batches, Iterable) and not hasattr(batches, "__getitem__"):
            raise InputError(f"batches is a {type(batches).__name__}; pass a list or a DataLoader")
        if isinstance(batches, Iterator):
            raise InputError(
                "batches is an iterator, which can be read only once; pass a list or a DataLoader"
            )
        self.space = (
            model if isinstance(model, ParameterSpace) else ParameterSpace(model, parameters)
        )
        check_batch_independence(self.space.module)
        self.size = self.space.size
        self.batches = batches
        self.criterion = Criterion(loss)
        self.buffers = buffers
        self.checked = Checked()
        self._recorder = Recorder(self.space.device)

    def with_buffers(self, buffers: Mapping[str, Tensor] | None) -> Objective:
        """The same objective evaluated with other buffers (running statistics)."""
        other = copy.copy(self)
        other.buffers = buffers
        return other

    def on(self, space: ParameterSpace, batches: Iterable[Batch]) -> Objective:
        """The same objective of other weights or data, which are known to fit each other."""
        other = copy.copy(self)
        other.space, other.size, other.batches = space, space.size, batches
        other.checked = Checked(is_evaluated=True, is_trusted=True)
        other._recorder = Recorder(space.device)
        return other

    def loss(self, w: Tensor) -> Tensor:
        """L(w), a scalar; w has shape (P,)."""

        def totals() -> Iterator[tuple[Tensor, Tensor]]:
            with self.space.at(w, self.buffers) as network:
                for batch in self.pairs():
                    yield self.batch_total(network, batch)

        with torch.no_grad(), no_autocast(), full_precision():
            return self.mean(totals())

    def evaluate(self, w: Tensor) -> Evaluation:
        """Loss and accuracy at w in one pass."""
        check_tensor(w)
        return self.evaluate_each(w[None], [self.buffers])[0]

    def evaluate_each(
        self, weights: Tensor, buffers: Sequence[Mapping[str, Tensor] | None]
    ) -> list[Evaluation]:
        """Loss and accuracy at each of some weights (n, P), with its buffers, in one pass."""
        with torch.no_grad(), no_autocast(), full_precision(), self._recorder.stream():
            return self._evaluations(
                self._recorder(self._evaluate_batch, weights, buffers, self._moved(batch))
                for batch in self.pairs()
            )

    def _moved(self, batch: Batch) -> Batch:
        inputs, targets = batch
        return self.space.move(inputs), self.space.move(targets)

    def _evaluate_batch(
        self, weights: Tensor, buffers: Sequence[Mapping[str, Tensor] | None], batch: Batch
    ) -> Tensor:
        """The sums of a batch at each weights, shape (n, 4)."""
        inputs, targets = batch

        def evaluate(point: tuple[Tensor, Mapping[str, Tensor] | None]) -> Tensor:
            return self._sums(self.space.predict(point[0], inputs, point[1]), targets, inputs)

        points = list(zip(weights, buffers, strict=True))
        return torch.stack(self._recorder.each(evaluate, points))

    def evaluate_outputs(self, batches: Iterable[tuple[Tensor, Any]]) -> Evaluation:
        """Loss and accuracy of outputs that are known, given batch by batch with the targets."""
        with torch.no_grad(), no_autocast(), full_precision():
            (found,) = self._evaluations(
                self._sums(outputs, self.space.move(targets))[None] for outputs, targets in batches
            )
        return found

    def _sums(self, outputs: Any, targets: Any, inputs: Any = None) -> Tensor:
        """Total and weight of a batch's loss, number of right labels and of labels, shape (4,)."""
        total, weight = self.criterion(outputs, targets, inputs)
        right, labels = _right(outputs, targets, self.criterion.ignore_index, total)
        return torch.stack([total, weight.to(total), right, labels])

    def _evaluations(self, batches: Iterable[Tensor]) -> list[Evaluation]:
        """Loss and accuracy of each weights, from batches of sums (n, 4)."""
        sums: Tensor | None = None
        for batch in batches:
            sums = batch if sums is None else sums + batch
        if sums is None:
            raise no_batch()
        check_weight(float(sums[0, 1]))
        loss, accuracy = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
        return [Evaluation(*each) for each in zip(loss.tolist(), accuracy.tolist(), strict=True)]

    def gradient(self, w: Tensor) -> Tensor:
        """The gradient of L at w, shape (P,)."""

        def gradients() -> Iterator[tuple[Tensor, Tensor]]:
            at = leaf(w)
            with self.space.at(at, self.buffers) as network:
                for batch in self.pairs():
                    total, weight = self.batch_total(network, batch)
                    yield gradient_of(total, at), weight

        with first_derivatives(), full_precision():
            return self.mean(gradients())

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
        """The batches that are not empty; the first time seen to fit network and loss.

        Raises:
            InputError: one is not, or does not.
        """
        batches = (batch for batch in map(_pair, self.batches) if batch_size(*batch))
        first, second = next(batches, None), next(batches, None)
        if first is None:
            return
        if not self.checked.is_evaluated:
            self.checked.divides = check_evaluation(
                self.space, self.criterion, self.buffers, first, is_only=second is None
            )
            self.checked.is_evaluated = True
        yield first
        if second is not None:
            yield second
        yield from batches

    def batch_total(
        self, network: Network, batch: Batch, autocast: torch.dtype | None = None
    ) -> tuple[Tensor, Tensor]:
        """The summed loss of a batch with its graph, and its weight.

        Args:
            network: The space's module at some weights.
            batch: One of the batches.
            autocast: Lower precision for the network, though not for the loss.
        """
        inputs, targets = batch
        if autocast is None:
            outputs = network(inputs)
        else:
            with torch.autocast(self.space.device.type, autocast):
                outputs = network(inputs)
            outputs = outputs.to(self.space.dtype) if isinstance(outputs, Tensor) else outputs
        return self.criterion(outputs, self.space.move(targets), inputs)

    def mean(self, values: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
        """The sum of the batches' totals over that of their weights.

        Raises:
            InputError: there is no batch, or no label that counts.
        """
        total: Tensor | None = None
        weight: Tensor | None = None
        for value, each in values:
            total = value if total is None else total + value
            weight = each if weight is None else weight + each
        if total is None or weight is None:
            raise no_batch()
        check_weight(float(weight))
        return total / weight


def _pair(batch: Any) -> Batch:
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        parts = f" of {len(batch)}" if isinstance(batch, list | tuple | Mapping) else ""
        raise InputError(
            f"a batch is a pair (inputs, targets), not a {type(batch).__name__}{parts}; "
            "inputs may be a tuple or a dict"
        )
    inputs, targets = batch
    return inputs, targets


def no_batch() -> InputError:
    """What a mean over nothing is answered with."""
    return InputError("the data has no batch: nothing to evaluate")


def check_weight(weight: float) -> None:
    """Refuse a mean over nothing.

    Raises:
        InputError: all examples together have no weight.
    """
    if weight == 0:
        raise InputError(
            "no example of the data counts: there is none, every label is ignored, or every class "
            "has weight 0"
        )


def _right(
    outputs: Any, targets: Any, ignore_index: int | None, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Number of right labels in a batch and of labels, in the type of ``like``; NaN without any."""
    if not are_labels(outputs, targets):
        return torch.full_like(like, torch.nan), torch.ones_like(like)
    labels = targets.long()
    counts = labels >= 0
    if ignore_index is not None:
        counts &= labels != ignore_index
    right = (counts & (outputs.argmax(1) == labels)).sum().to(like.dtype)
    # argmax of NaN is an arbitrary class: not a prediction.
    return torch.where(outputs.isfinite().all(), right, torch.nan), counts.sum().to(like.dtype)
