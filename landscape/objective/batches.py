"""Batches: pairs (inputs, targets), each a tensor, or tensors in dicts and sequences.

``as_pair`` makes pairs of the other forms that loaders give: a dict with its labels, a batch of
graphs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.autograd.pytrees import is_graph, sequence_like, tensors_of
from landscape.errors import InputError

Batch = tuple[Any, Any]
Rows = Tensor | slice

LABELS = ("labels", "label", "targets", "target", "y")
"""Names by which a dict holds its labels."""


def as_pair(batch: Any, *, keeps_labels: bool = False) -> Batch:
    """A batch as a pair (inputs, targets).

    A dict gives its labels as targets and the rest as the network's keyword arguments. A graph, or
    a batch of graphs, of PyTorch Geometric is the network's one argument; its ``y`` are the
    targets.

    Args:
        batch: A pair, a dict or a graph.
        keeps_labels: Whether the network gets a dict's labels, too, to compute its own loss.

    Raises:
        InputError: it is none of these, or a dict without labels.

    Examples:
        >>> inputs, targets = as_pair({"x": torch.zeros(2, 3), "label": torch.tensor([0, 1])})
        >>> list(inputs), targets.tolist()
        (['x'], [0, 1])
    """
    if isinstance(batch, Mapping):
        names = [name for name in LABELS if batch.get(name) is not None]
        if len(names) != 1:
            raise InputError(
                f"a batch that is a dict has its labels under one of {', '.join(LABELS)}; this one "
                f"has {', '.join(map(str, batch))}: pass pairs (dict of inputs, targets)"
            )
        rest = {name: value for name, value in batch.items() if keeps_labels or name not in names}
        return rest, batch[names[0]]
    if is_graph(batch):
        targets = getattr(batch, "y", None)
        if targets is None:
            raise InputError("a batch of graphs has its targets in 'y'; this one has none")
        return batch, targets
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        parts = f" of {len(batch)}" if isinstance(batch, list | tuple) else ""
        raise InputError(
            f"a batch is a pair (inputs, targets), a dict with its labels, or a batch of graphs, "
            f"not a {type(batch).__name__}{parts}; inputs may be a tuple or a dict"
        )
    inputs, targets = batch
    return inputs, targets


class Pairs:
    """Batches of any form as pairs, read again as often as the batches can be.

    Args:
        batches: Batches; see ``as_pair``.
        keeps_labels: Whether the network gets a dict's labels, too.
    """

    def __init__(self, batches: Iterable[Any], *, keeps_labels: bool = False) -> None:
        self._batches, self._keeps_labels = batches, keeps_labels

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            yield as_pair(batch, keeps_labels=self._keeps_labels)


def batch_size(inputs: Any, targets: Any, outputs: Any = None) -> int:
    """Number of examples in a batch.

    It is the length that targets share with the network's outputs, or else with the inputs. The
    length of a tensor is that of its first axis, also for several tensors in a dict or a sequence.
    The length of any other sequence, such as a list with one dict for each image, is its number of
    items.

    Args:
        inputs: The batch's inputs.
        targets: The batch's targets.
        outputs: The network's outputs, if they are known.

    Raises:
        InputError: the targets are neither tensors with an axis nor a list of examples.

    Examples:
        >>> boxes = [{"boxes": torch.zeros(4, 6)}, {"boxes": torch.zeros(1, 6)}]
        >>> batch_size(torch.zeros(2, 3, 32, 32), boxes)
        2
    """
    of_targets = _lengths(targets)
    if not of_targets:
        raise _not_targets(targets)
    of_inputs, of_outputs = _lengths(inputs), _lengths(outputs)
    for others in ([of_inputs, of_outputs], [of_outputs], [of_inputs]):
        for length in of_targets:
            if all(length in other for other in others):
                return length
    # Targets of their own length, such as the boxes of all images one after the other.
    return next((length for length in of_outputs if length in of_inputs), of_targets[0])


def _not_targets(targets: Any) -> InputError:
    if isinstance(targets, Tensor):
        return InputError(
            "the data are single examples, not batches: give a DataLoader of the dataset"
        )
    return InputError(
        "a batch's targets must be a tensor whose first axis is the example, several in a dict or "
        f"a sequence, or a list with one item for each example, not {type(targets).__name__}"
    )


def _lengths(value: Any) -> list[int]:
    """Possible numbers of examples in ``value``, the most likely first."""
    if isinstance(value, Tensor):
        return [len(value)] if value.ndim else []
    if not isinstance(value, Mapping | list | tuple) or not value:
        return []
    items = list(value.values() if isinstance(value, Mapping) else value)
    by_item = [lengths for lengths in map(_lengths, items) if lengths]
    first = by_item[0] if by_item else []
    common = [length for length in first if all(length in other for other in by_item)]
    if isinstance(value, Mapping):
        candidates = common
    elif all(isinstance(item, Tensor) for item in items):
        candidates = [*common, len(items)]
    elif any(isinstance(item, int | float) for item in items):
        candidates = []  # labels as plain numbers, not in a tensor
    else:
        candidates = [len(items), *common]
    others = [length for lengths in by_item for length in lengths]
    return list(dict.fromkeys(candidates + ([] if common else others)))


def examples_in(batch: Batch) -> int | None:
    """Number of examples in a batch that ``take_batch`` can divide; ``None`` for any other.

    A graph with all its nodes, or an object that is no tensor, cannot be divided.
    """
    inputs, targets = batch
    of_inputs = _lengths(inputs)
    for length in _lengths(targets):
        arguments = inputs if isinstance(inputs, list | tuple) else [inputs]
        if length in of_inputs and all(_divides(value, length) for value in (*arguments, targets)):
            return length
    return None


def _divides(value: Any, length: int) -> bool:
    """Whether ``value`` consists of so many examples, or is the same for all of them."""
    if isinstance(value, Tensor):
        return value.ndim > 0 and len(value) == length
    if isinstance(value, Mapping):
        return all(_divides(item, length) for item in value.values())
    if isinstance(value, list | tuple):
        return _is_list_of(value, length) or all(_divides(item, length) for item in value)
    return value is None or isinstance(value, int | float | str)


def _is_list_of(items: list[Any] | tuple[Any, ...], length: int) -> bool:
    """Whether each item is an example, and not a part of all examples."""
    return len(items) == length and not all(
        tensors_of(item) and _divides(item, length) for item in items
    )


def shard(
    batches: Iterable[Batch], rank: int, count: int, *, divides: bool = True
) -> Iterator[Batch]:
    """The part of the examples that one of several processes takes.

    Examples are dealt out one by one; batches that cannot be divided, or must not be, as a whole.

    Args:
        batches: All batches.
        rank: Number of the process, from 0.
        count: Number of processes.
        divides: Whether batches may be divided.
    """
    dealt = 0
    for batch in batches:
        size = examples_in(batch) if divides else None
        rows = torch.arange(size or 1)[(rank - dealt) % count :: count]
        dealt += size or 1
        if len(rows):
            yield batch if size is None else take_batch(batch, rows, size)


def take_batch(batch: Batch, rows: Rows, length: int) -> Batch:
    """Some of the examples of a batch.

    Args:
        batch: A batch that can be divided; see ``examples_in``.
        rows: Indices of the examples, or a slice.
        length: Number of examples in the batch.
    """
    inputs, targets = batch
    return take_inputs(inputs, rows, length), take(targets, rows, length)


def take_inputs(inputs: Any, rows: Rows, length: int) -> Any:
    """Some examples of a batch's inputs; a sequence holds the network's arguments."""
    if isinstance(inputs, list | tuple):
        return sequence_like(inputs, [take(value, rows, length) for value in inputs])
    return take(inputs, rows, length)


def take(value: Any, rows: Rows, length: int) -> Any:
    """Some examples of a batch's targets, or of one argument; see ``take_batch``."""
    if isinstance(value, Tensor):
        return value[rows.to(value.device) if isinstance(rows, Tensor) else rows]
    if isinstance(value, Mapping):
        return {name: take(item, rows, length) for name, item in value.items()}
    if isinstance(value, list | tuple):
        if _is_list_of(value, length):
            return [value[index] for index in torch.arange(length)[rows].tolist()]
        return sequence_like(value, [take(item, rows, length) for item in value])
    return value


def same_examples(first: Iterable[Batch], second: Iterable[Batch]) -> bool:
    """Whether two sets of batches hold the same examples in the same order, however divided."""
    ours, theirs = iter(first), iter(second)
    left: list[Tensor] = []
    right: list[Tensor] = []
    while True:
        left = left if _rows(left) else tensors_of(next(ours, None))
        right = right if _rows(right) else tensors_of(next(theirs, None))
        rows = min(_rows(left), _rows(right))
        if not rows or len(left) != len(right):
            return not left and not right
        for one, other in zip(left, right, strict=True):
            if one.dtype != other.dtype or one.shape[1:] != other.shape[1:]:
                return False
            if not torch.equal(one[:rows], other[:rows].to(one.device)):
                return False
        left, right = [tensor[rows:] for tensor in left], [tensor[rows:] for tensor in right]


def _rows(tensors: list[Tensor]) -> int:
    """Number of examples in tensors; 0 if their rows cannot be compared."""
    comparable = all(tensor.ndim and tensor.layout is torch.strided for tensor in tensors)
    lengths = {len(tensor) for tensor in tensors} if comparable else set()
    return lengths.pop() if len(lengths) == 1 else 0
