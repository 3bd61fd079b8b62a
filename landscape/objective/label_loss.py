"""The cross-entropy of labels, of examples or of their tokens and pixels, as a sum and its weight.

Torch has the classes on axis 1: logits (B, C, ...) with labels (B, ...). Transformers have them on
the last axis: logits (B, T, V) with labels (B, T). Both are brought to one form here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from landscape.autograd.cross_entropy import sliced_cross_entropy
from landscape.errors import InputError

IGNORED = -100
"""The label that torch's losses ignore."""

_LARGE = 1 << 24
"""Number of logits from which the cross-entropy is taken in slices."""

Transform = Callable[[Tensor], Tensor]


class Labels:
    """The places of labels and of their logits.

    Args:
        classes: Axis of the classes in the logits, 1 or -1; ``None`` for the one that fits.
        shift: Number of tokens between an output and its label: 1 for the next token.
        ignore_index: Label that does not count.
        is_torchs: Whether axis 1 is taken where both axes fit; otherwise that is refused.
    """

    def __init__(
        self,
        classes: int | None = None,
        shift: int = 0,
        ignore_index: int = IGNORED,
        *,
        is_torchs: bool = False,
    ) -> None:
        self._classes, self._shift, self._is_torchs = classes, shift, is_torchs
        self.ignore_index = ignore_index

    def of(self, targets: Tensor) -> Tensor:
        """The labels that have an output, shape (B, ...)."""
        return targets[:, self._shift :] if self._shift else targets

    def axis(self, outputs: Tensor, targets: Tensor) -> int:
        """Axis of the classes in the logits.

        Raises:
            InputError: axis 1 and the last one fit the labels.
        """
        if self._classes is not None or outputs.ndim < 3:
            return self._classes or 1
        if targets.is_floating_point():
            return 1
        labels = targets.shape[1:]
        is_first, is_last = labels == outputs.shape[2:], labels == outputs.shape[1:-1]
        if is_first and is_last and not self._is_torchs:
            raise InputError(
                f"logits of shape {tuple(outputs.shape)} with labels of shape "
                f"{tuple(targets.shape)} may have their classes on axis 1 or on the last one: say "
                "which with losses.Readout(..., classes=1) or classes=-1"
            )
        return -1 if is_last and not is_first else 1

    def align(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, C) or (n, C, ...), and their labels or probabilities.

        Raises:
            InputError: the axis of the classes is ambiguous, or there are no tokens to shift.
        """
        axis = self.axis(outputs, targets)
        if self._shift:
            if outputs.ndim < 3 or targets.ndim < 2:
                raise InputError(
                    f"a shift is along tokens: logits (B, T, V) with labels (B, T), not "
                    f"{tuple(outputs.shape)} with {tuple(targets.shape)}"
                )
            outputs = outputs[:, : -self._shift] if axis == -1 else outputs[..., : -self._shift]
            targets = self.of(targets)
        if axis == 1 or outputs.ndim < 3:
            return outputs, targets
        is_rows = targets.is_floating_point() and targets.shape == outputs.shape
        if not is_rows and targets.shape != outputs.shape[:-1]:
            raise InputError(
                f"labels of shape {tuple(targets.shape)} for outputs of shape "
                f"{tuple(outputs.shape)} with the classes on the last axis: labels are numbers of "
                f"classes, of shape {tuple(outputs.shape[:-1])}"
            )
        return outputs.flatten(0, -2), targets.flatten(0, -2) if is_rows else targets.flatten()

    def rows(self, outputs: Any, targets: Any) -> tuple[Tensor, Tensor] | None:
        """Logits (n, C) and labels (n,), -100 where one does not count.

        Returns:
            ``None`` where targets are not labels with one output for each class.
        """
        if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
            return None
        if (
            targets.is_floating_point()
            or outputs.ndim < 2
            or targets.shape[:1] != outputs.shape[:1]
        ):
            return None
        try:
            logits, labels = self.align(outputs, targets)
        except InputError:
            return None
        if logits.shape[1] < 2 or labels.shape != logits.shape[:1] + logits.shape[2:]:
            return None
        labels = labels.long().flatten()
        counts = (labels >= 0) & (labels != self.ignore_index)
        return logits.movedim(1, -1).flatten(0, -2), torch.where(counts, labels, IGNORED)


class LabelLoss:
    """Torch's cross-entropy, or its loss of log-probabilities, with the divisor of its mean.

    Args:
        loss: ``nn.CrossEntropyLoss`` or ``nn.NLLLoss``.
        labels: The places of the labels.
        per_example: Whether each example counts once, by the mean over its labels, rather than each
            label.
        transform: Change of the logits before the loss.
        takes_probabilities: Check of real targets; by default torch takes any.
    """

    def __init__(
        self,
        loss: Any,
        labels: Labels,
        *,
        per_example: bool = False,
        transform: Transform | None = None,
        takes_probabilities: Callable[[Tensor, Tensor], None] | None = None,
    ) -> None:
        self._by_label = copy.copy(loss)
        self._by_label.reduction = "none"
        self.class_weights: Tensor | None = loss.weight
        self._labels, self.ignore_index = labels, labels.ignore_index
        self._per_example, self._transform = per_example, transform
        self._check = takes_probabilities

    def __call__(self, outputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        """Total loss with its graph, and its weight.

        Raises:
            InputError: the outputs are no logits, or the targets no labels of theirs.
        """
        if not isinstance(outputs, Tensor):
            raise InputError(
                "the cross-entropy needs one tensor of logits, not the network's "
                f"{type(outputs).__name__}; say which with losses.Readout(..., output=...), or "
                "pass a function of (outputs, targets)"
            )
        if not isinstance(targets, Tensor):
            raise InputError(
                f"the cross-entropy needs one tensor of labels, not a {type(targets).__name__}; "
                "for several outputs see losses.Heads"
            )
        logits, aligned = outputs, targets
        if outputs.ndim > 1:
            logits, aligned = self._labels.align(outputs, targets)
        if self._check is not None:
            self._check(logits, aligned)
        if self._transform is not None:
            logits = self._transform(_logits(logits))
        if not aligned.is_floating_point():
            aligned = aligned.long()
            _check_labels(logits, aligned)
        if self.class_weights is not None:
            self._by_label.weight = self.class_weights.to(logits)
        try:
            losses = self._losses(logits, aligned)
        except (IndexError, RuntimeError) as error:
            if not isinstance(error, IndexError) and "is out of bounds" not in str(error):
                raise
            raise InputError(
                f"labels must be in [0, {logits.shape[1]}), the network's outputs, or "
                f"{self.ignore_index} for no label, not in "
                f"[{int(aligned.min())}, {int(aligned.max())}]"
            ) from error
        if not self._per_example:
            return losses.sum(), self.weight(targets).to(losses)
        weights = self._weights(targets).to(losses)
        by_example = losses.view(len(weights), -1).sum(1) / weights.clamp_min(
            torch.finfo(losses.dtype).tiny
        )
        return by_example.sum(), self.weight(targets).to(losses)

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each label."""
        is_large = logits.ndim == 2 and logits.numel() >= _LARGE and logits.requires_grad
        if is_large and self._is_plain and not labels.is_floating_point():
            return sliced_cross_entropy(logits, labels, self.ignore_index)
        losses: Tensor = self._by_label(logits, labels)
        return losses

    @property
    def _is_plain(self) -> bool:
        is_entropy = type(self._by_label) is nn.CrossEntropyLoss and self.class_weights is None
        return is_entropy and not self._by_label.label_smoothing

    def weight(self, targets: Tensor) -> Tensor:
        """Total weight of the labels, or number of the examples that have one that counts."""
        weights = self._weights(targets)
        total: Tensor = (weights > 0).sum() if self._per_example else weights.sum()
        return total

    def _weights(self, targets: Tensor) -> Tensor:
        """Total weight of the labels of each example, shape (B,)."""
        labels = self._labels.of(targets)
        if targets.is_floating_point():  # probabilities of classes: torch ignores none of them
            axis = self._labels.axis(targets, targets)
            of_each = labels.shape[1:].numel() / labels.shape[axis]
            return torch.full((len(labels),), of_each)
        labels = labels.long()
        counts: Tensor = labels != self.ignore_index
        if self.class_weights is not None:
            weights = self.class_weights.to(labels.device)
            counts = weights[labels.clamp(0, len(weights) - 1)] * counts
        return counts.flatten(1).sum(1) if counts.ndim > 1 else counts

    def counts(self, targets: Tensor, examples: int) -> Tensor:
        """Whether each of the examples has a label that counts, shape (B,)."""
        if targets.is_floating_point() or len(targets) != examples:
            return torch.ones(examples, dtype=torch.bool)
        counts: Tensor = self._labels.of(targets).long() != self.ignore_index
        return counts.reshape(examples, -1).any(1)

    def check_range(self, outputs: Any, targets: Any) -> None:
        """Refuse labels of a whole data set that are no classes.

        Args:
            outputs: The network's outputs for some of the examples.
            targets: All targets.

        Raises:
            InputError: a label is no class, or no label counts.
        """
        if not isinstance(targets, Tensor) or targets.is_floating_point():
            return
        if not isinstance(outputs, Tensor) or outputs.ndim < 2:
            raise InputError("cross-entropy needs a model that returns logits (B, C)")
        labels = self._labels.of(targets).long()
        labels = labels[labels != self.ignore_index]
        if not labels.numel():
            raise InputError(f"every label is {self.ignore_index}, which stands for no label")
        classes = outputs.shape[self._labels.axis(outputs, targets)]
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise InputError(
                f"labels run from {low} to {high}, but the model has {classes} outputs"
            )


def _logits(outputs: Tensor) -> Tensor:
    """The outputs, if they are a logit for each of some classes.

    Raises:
        InputError: they are not.
    """
    if outputs.ndim < 2 or outputs.shape[1] < 2:
        raise InputError("logits to transform are one tensor (B, C) with at least two classes")
    return outputs


def _check_labels(outputs: Tensor, labels: Tensor) -> None:
    expected = outputs.shape[:1] + outputs.shape[2:] if outputs.ndim > 1 else torch.Size()
    if labels.shape != expected:
        raise InputError(
            f"labels of shape {tuple(labels.shape)} for outputs of shape "
            f"{tuple(outputs.shape)}: labels are numbers of classes, of shape {tuple(expected)}"
        )
    if outputs.ndim > 1 and outputs.shape[1] == 1:
        raise InputError(
            "one output is no choice between classes: its cross-entropy is always 0; take "
            "'binary_cross_entropy' or nn.BCEWithLogitsLoss() for one logit"
        )


def check_probabilities(outputs: Tensor, targets: Tensor) -> None:
    """Refuse real numbers that are no probabilities: their cross-entropy has no meaning.

    Raises:
        InputError: they are not.
    """
    if not targets.is_floating_point() or torch._C._are_functorch_transforms_active():
        return
    classes = targets.shape == outputs.shape and outputs.ndim > 1 and outputs.shape[1] > 1
    if classes and bool(((targets.sum(1) - 1).abs() < 1e-3).all() & (targets >= 0).all()):
        return
    raise InputError(
        "'cross_entropy' takes the numbers of classes, or their probabilities in the outputs' "
        "shape; these targets are real numbers: pass loss='gaussian', or 'binary_cross_entropy' or "
        "nn.BCEWithLogitsLoss() for one logit"
    )
