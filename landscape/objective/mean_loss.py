"""w -> mean loss over a data set, with its gradient: what operators and checks are made of."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn

from landscape.autograd.cuda_graphs import Recorder
from landscape.autograd.pytrees import map_tensors
from landscape.autograd.settings import (
    check_tensor,
    first_derivatives,
    full_precision,
    gradient_of,
    leaf,
    no_autocast,
)
from landscape.errors import InputError
from landscape.objective.batches import Batch, Pairs, batch_size, shard
from landscape.objective.checks import check_batch_independence, check_evaluation
from landscape.objective.losses import Criterion, Loss, Readout
from landscape.objective.parameters import Choice, Network, ParameterSpace
from landscape.runtime import distributed


@dataclass(frozen=True)
class Evaluation:
    """Loss and accuracy over a data set.

    Attributes:
        loss: Mean loss.
        accuracy: Share of right labels among the labels that count; NaN for targets that are not
            classes.
    """

    loss: float
    accuracy: float


@dataclass
class Checked:
    """Results of the checks of an objective on a few examples, which its copies share.

    Attributes:
        is_evaluated: Whether network, loss and data are known to fit each other.
        divides: Whether a few examples of a batch can be evaluated alone.
        is_trusted: Whether no matrix needs a comparison with differences.
        matrices: Names of the matrices that were compared with differences.
    """

    is_evaluated: bool = False
    divides: bool = False
    is_trusted: bool = False
    matrices: set[str] = field(default_factory=set)


class MeanLoss:
    """``Objective`` without second derivatives: what operators and checks need of it."""

    def __init__(
        self,
        model: nn.Module | ParameterSpace,
        batches: Iterable[Batch],
        loss: Loss = "cross_entropy",
        *,
        parameters: Choice = None,
        buffers: Mapping[str, Tensor] | None = None,
        batch_loss: bool = False,
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
        self.criterion = Criterion(Readout(loss, batch_loss=True) if batch_loss else loss)
        self.buffers = buffers
        self.checked = Checked()
        self.is_sharded = False
        self._recorder = Recorder(self.space.device)

    def sharded(self) -> Self:
        """The same objective, its examples divided among the processes that share a measurement.

        Every process must then ask for the same values in the same order, and gets those of all
        examples. One process alone has all of them; see ``distributed.sharing``.
        """
        other = copy.copy(self)
        other.is_sharded = distributed.num_shards() > 1
        return other

    def unsharded(self) -> Self:
        """The same objective with all examples in each process."""
        other = copy.copy(self)
        other.is_sharded = False
        return other

    def with_buffers(self, buffers: Mapping[str, Tensor] | None) -> Self:
        """The same objective evaluated with other buffers (running statistics)."""
        other = copy.copy(self)
        other.buffers = buffers
        return other

    def with_loss(self, loss: Loss) -> Self:
        """The same objective with another loss, such as ``losses.NormalisedLogits()``.

        Raises:
            InputError: see ``losses.Criterion``.
        """
        other = self.on(self.space, self.batches)
        other.criterion, other.checked = Criterion(loss), Checked()
        return other

    def on(self, space: ParameterSpace, batches: Iterable[Batch]) -> Self:
        """The same objective for other weights or data that are known to fit each other."""
        other = copy.copy(self)
        other.space, other.size, other.batches = space, space.size, batches
        other.checked = Checked(is_evaluated=True, is_trusted=True)
        other.is_sharded = False
        other._recorder = Recorder(space.device)
        return other

    def weights(self, w: Tensor | None) -> Tensor:
        """``w``, or the model's own weights for ``None``, shape (P,)."""
        return self.space.vector() if w is None else w

    def loss(self, w: Tensor | None = None) -> Tensor:
        """L(w), a scalar, for w of shape (P,); at the model's own weights without w."""
        w = self.weights(w)

        def totals() -> Iterator[tuple[Tensor, Tensor]]:
            with self.space.at(w, self.buffers) as network:
                for batch in self.pairs():
                    yield self.batch_total(network, batch)

        with torch.no_grad(), no_autocast(), full_precision():
            return self.mean(totals())

    def evaluate(self, w: Tensor | None = None) -> Evaluation:
        """Loss and accuracy in one pass; at the model's own weights without w."""
        w = self.weights(w)
        check_tensor(w)
        return self.evaluate_each(w[None], [self.buffers])[0]

    def evaluate_each(
        self, weights: Tensor, buffers: Sequence[Mapping[str, Tensor] | None]
    ) -> list[Evaluation]:
        """Loss and accuracy at n weights (n, P), with the buffers of each, in one pass."""
        with torch.no_grad(), no_autocast(), full_precision(), self._recorder.stream():
            return self._evaluations(
                (
                    self._recorder(self._evaluate_batch, weights, buffers, self._moved(batch))
                    for batch in self.pairs()
                ),
                self.add_up,
            )

    def _moved(self, batch: Batch) -> Batch:
        inputs, targets = batch
        return self.space.move(inputs), self.space.move(targets)

    def _evaluate_batch(
        self, weights: Tensor, buffers: Sequence[Mapping[str, Tensor] | None], batch: Batch
    ) -> Tensor:
        """The sums of a batch at n weights, shape (n, 4)."""
        inputs, targets = batch

        def evaluate(point: tuple[Tensor, Mapping[str, Tensor] | None]) -> Tensor:
            return self._sums(self.space.predict(point[0], inputs, point[1]), targets, inputs)

        points = list(zip(weights, buffers, strict=True))
        return torch.stack(self._recorder.each(evaluate, points))

    def evaluate_outputs(self, batches: Iterable[tuple[Tensor, Any]]) -> Evaluation:
        """Loss and accuracy from pairs (outputs, targets) of all batches."""
        with torch.no_grad(), no_autocast(), full_precision():
            (evaluation,) = self._evaluations(
                self._sums(outputs, self.space.move(targets))[None] for outputs, targets in batches
            )
        return evaluation

    def _sums(self, outputs: Any, targets: Any, inputs: Any = None) -> Tensor:
        """A batch's total loss, weight, and numbers of right and of all labels, shape (4,)."""
        total, weight = self.criterion(outputs, targets, inputs)
        right, labels = _right(self.criterion.rows(outputs, targets), total)
        return torch.stack([total, weight.to(total), right, labels])

    def _evaluations(
        self, batches: Iterable[Tensor], add_up: Callable[[Tensor], None] = lambda _: None
    ) -> list[Evaluation]:
        """Loss and accuracy at n weights, from each batch's sums (n, 4)."""
        sums: Tensor | None = None
        for batch in batches:
            sums = batch if sums is None else sums + batch
        if sums is None:
            raise no_batch()
        add_up(sums)
        check_weight(float(sums[0, 1]))
        loss, accuracy = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
        return list(map(Evaluation, loss.tolist(), accuracy.tolist()))

    def gradient(self, w: Tensor | None = None) -> Tensor:
        """The gradient of L, shape (P,); at the model's own weights without w."""
        return self.loss_and_gradient(w)[1]

    def loss_and_gradient(self, w: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """L(w) and its gradient (P,) in one pass; at the model's own weights without w."""
        given = self.weights(w)

        def derivatives() -> Iterator[tuple[Tensor, Tensor]]:
            at = leaf(given)
            with self.space.at(at, self.buffers) as network:
                for batch in self.pairs():
                    total, weight = self.batch_total(network, batch)
                    yield torch.cat([gradient_of(total, at), total.detach()[None]]), weight

        with first_derivatives(), full_precision():
            means = self.mean(derivatives())
        return means[-1], means[:-1]

    def pairs(self) -> Iterator[Batch]:
        """The batches that are not empty. The first call checks that network and loss take them.

        Raises:
            InputError: something is no batch, or network, loss and data do not fit each other.
        """
        pairs = Pairs(self.batches, keeps_labels=self.criterion.is_own)
        batches = (batch for batch in pairs if batch_size(*batch))
        first, second = next(batches, None), next(batches, None)
        if first is None:
            return
        if not self.checked.is_evaluated:
            self.checked.divides = check_evaluation(
                self.space, self.criterion, self.buffers, first, is_only=second is None
            )
            self.checked.is_evaluated = True
        given = itertools.chain([first], [] if second is None else [second], batches)
        if not self.is_sharded:
            yield from given
            return
        rank, processes, is_empty = distributed.rank(), distributed.num_shards(), True
        for batch in shard(given, rank, processes, divides=not self.criterion.is_of_batch):
            is_empty = False
            yield batch
        if is_empty:
            raise InputError(
                f"{processes} processes share fewer examples, or batches that cannot be divided: "
                "start fewer"
            )

    def batch_total(
        self, network: Network, batch: Batch, autocast: torch.dtype | None = None
    ) -> tuple[Tensor, Tensor]:
        """A batch's total loss with its graph, and its weight.

        Args:
            network: The space's module at some weights.
            batch: One of the batches.
            autocast: Lower precision for the network, but not for the loss.
        """
        inputs, targets = batch
        if autocast is None:
            outputs = network(inputs)
        else:
            with torch.autocast(self.space.device.type, autocast):
                outputs = network(inputs)
            outputs = map_tensors(self._real, outputs)
        return self.criterion(outputs, self.space.move(targets), inputs)

    def _real(self, outputs: Tensor) -> Tensor:
        return outputs.to(self.space.dtype) if outputs.is_floating_point() else outputs

    def mean(self, values: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
        """The sum of the batches' values divided by the sum of their weights.

        Raises:
            InputError: there is no batch, or no label that counts.
        """
        total: Tensor | None = None
        weights: Tensor | None = None
        for value, weight in values:
            total = value if total is None else total + value
            weights = weight if weights is None else weights + weight
        if total is None or weights is None:
            raise no_batch()
        self.add_up(total)
        if self.is_sharded:
            weights = torch.as_tensor(weights).double()
            self.add_up(weights)
        check_weight(float(weights))
        return total / weights.to(total) if self.is_sharded else total / weights

    def add_up(self, sums: Tensor) -> None:
        """Replace the sums over this process's examples, in place, by those over all."""
        if self.is_sharded:
            distributed.all_reduce(sums)


def no_batch() -> InputError:
    """The error of a mean over no batch."""
    return InputError("the data has no batch: nothing to evaluate")


def check_weight(weight: float) -> None:
    """Refuse a mean over examples without weight.

    Raises:
        InputError: all examples together have no weight.
    """
    if weight == 0:
        raise InputError(
            "no example of the data counts: there is none, every label is ignored, or every class "
            "has weight 0"
        )


def _right(rows: tuple[Tensor, Tensor] | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of right and of all labels that count, in the type of ``like``.

    Args:
        rows: Logits and labels; see ``Criterion.rows``. Without them no number is right or wrong.
        like: A number of that type.
    """
    if rows is None:
        return torch.full_like(like, torch.nan), torch.ones_like(like)
    logits, labels = rows
    counts = labels >= 0
    right = (counts & (logits.argmax(1) == labels)).sum().to(like.dtype)
    # argmax of NaN is an arbitrary class: not a prediction.
    return torch.where(logits.isfinite().all(), right, torch.nan), counts.sum().to(like.dtype)
