"""Losses by name or by function, as sums over batches that add up to the value on all data."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.errors import InputError
from landscape.objective.batches import batch_size
from landscape.objective.likelihood import GaussianLikelihood

LossFunction = Callable[[Any, Any], Tensor]
Loss = str | LossFunction

_NAMES = ("cross_entropy", "gaussian")
_CLASSES: dict[Any, type[nn.Module]] = {
    F.cross_entropy: nn.CrossEntropyLoss,
    F.nll_loss: nn.NLLLoss,
}
_ELEMENTWISE: dict[Any, type[nn.Module]] = {
    F.mse_loss: nn.MSELoss,
    F.l1_loss: nn.L1Loss,
    F.smooth_l1_loss: nn.SmoothL1Loss,
    F.huber_loss: nn.HuberLoss,
}
"""Torch's functions, and the class of the same loss for each."""

SUMS = "the loss sums over examples; give it reduction='mean' or 'none'"


@dataclass(frozen=True)
class TemperedLogits:
    """The cross-entropy of logits that are divided by a temperature: f(x) / T.

    At the temperature fitted on validation data (``prediction.best_temperature``; Guo et al., arXiv
    1706.04599), a network that is surer of its training images has no flatter loss for that reason
    alone. The value does not change if all logits are multiplied by a number, because the fitted
    temperature is multiplied by it too.

    Attributes:
        temperature: T > 0.
        loss: ``"cross_entropy"``, ``nn.CrossEntropyLoss`` with any settings, or the function of the
            same name.

    Raises:
        InputError: the temperature is not positive and finite.

    Examples:
        >>> logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
        >>> total, weight = Criterion(TemperedLogits(2.0))(logits, labels)
        >>> float(total) == float(F.cross_entropy(torch.tensor([[1.0, 0.0]]), labels))
        True
    """

    temperature: float
    loss: Loss = "cross_entropy"

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise InputError(f"temperature must be positive and finite, not {self.temperature}")

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of logits (B, C) or (B, C, ...) with labels (B,) or (B, ...)."""
        total, weight = Criterion(self)(outputs, targets)
        return total / weight

    def transform(self, logits: Tensor) -> Tensor:
        """The logits that the cross-entropy takes, shape (B, C) or (B, C, ...)."""
        return logits / self.temperature


@dataclass(frozen=True)
class NormalisedLogits(TemperedLogits):
    """The cross-entropy of logits that are centred and have the norm 1 / T.

    For each example, f - mean(f) over its Euclidean norm, then over T: what is left of the logits
    is their direction. So neither a multiple of all logits nor a constant added to them changes the
    loss, its derivatives or its sharpness by the weights before them (Andriushchenko et al., arXiv
    2302.07011, with T = 1). The loss is not defined where all logits of an example are equal.

    Attributes:
        temperature: T > 0.
        loss: As for ``TemperedLogits``.

    Examples:
        >>> normalised = NormalisedLogits()
        >>> normalised.transform(torch.tensor([[9.0, 1.0, 5.0]]))
        tensor([[ 0.7071, -0.7071,  0.0000]])
    """

    temperature: float = 1.0

    def transform(self, logits: Tensor) -> Tensor:
        """The logits that the cross-entropy takes, shape (B, C) or (B, C, ...).

        Raises:
            InputError: there are two classes, whose centred logits have only a sign.
        """
        if logits.shape[1] == 2:
            raise InputError(
                "logits of two classes cannot be normalised: the direction of their difference is "
                "a sign, so that the loss has no slope; take TemperedLogits"
            )
        centred = logits - logits.mean(1, keepdim=True)
        return super().transform(centred / centred.norm(dim=1, keepdim=True))


class Criterion:
    """A loss whose value on a data set is a sum of batches' totals over a sum of their weights.

    So the value does not depend on how the data are divided into batches. It is torch's own value
    of the loss on the whole data set at once. Where labels are ignored or classes have weights, it
    is the mean over the labels that count, each with its weight.

    Args:
        loss: ``"cross_entropy"``, which is ``nn.CrossEntropyLoss()``; ``"gaussian"``, with unit
            noise (for other noise pass a ``GaussianLikelihood``); one of torch's losses, where
            ``reduction="none"`` also stands for the mean; ``TemperedLogits`` or
            ``NormalisedLogits``; or a function of (outputs, targets) that returns one value for
            each example, shape (B,), or their mean, a scalar.

    Attributes:
        ignore_index: Label that does not count; ``None`` if all labels do.

    Raises:
        InputError: the name is unknown, the loss is a sum over examples, or logits are to be
            transformed for a loss that takes none.

    Examples:
        >>> loss = Criterion(nn.CrossEntropyLoss())
        >>> outputs, labels = torch.zeros(3, 2), torch.tensor([0, 1, -100])
        >>> total, weight = loss(outputs, labels)
        >>> float(total / weight) == float(nn.CrossEntropyLoss()(outputs, labels))
        True
    """

    def __init__(self, loss: Loss) -> None:
        logits = loss if isinstance(loss, TemperedLogits) else None
        if logits is not None:
            loss = logits.loss
        if isinstance(loss, str) and loss not in _NAMES:
            raise InputError(
                f"unknown loss '{loss}'; known: {', '.join(_NAMES)}, or pass a function of "
                "(outputs, targets)"
            )
        self._is_named = loss == "cross_entropy"
        if loss == "gaussian":
            loss = GaussianLikelihood(noise=1.0)
        elif self._is_named:
            loss = nn.CrossEntropyLoss()
        assert not isinstance(loss, str)
        loss = _as_module(loss)
        if getattr(loss, "reduction", "mean") == "sum":
            raise InputError(SUMS)
        # By the type itself: a subclass may compute something else.
        self._labels = _LabelLoss(loss) if type(loss) in _CLASSES.values() else None
        self._needs_equal_shapes = type(loss) in _ELEMENTWISE.values()
        self._may_return_elements = type(loss).__module__ == nn.MSELoss.__module__
        self._function = loss
        self.ignore_index = self._labels.ignore_index if self._labels else None
        self._logits = logits
        if logits is not None and type(loss) is not nn.CrossEntropyLoss:
            raise InputError(
                f"{type(logits).__name__} changes the logits of a cross-entropy; "
                f"{_named(loss)} takes no logits of classes"
            )

    def __call__(self, outputs: Any, targets: Any, inputs: Any = None) -> tuple[Tensor, Tensor]:
        """A batch's total loss with its graph, and its weight, two scalars.

        Args:
            outputs: The network's outputs.
            targets: The batch's targets, on the same device.
            inputs: The batch's inputs, which may be needed to count its examples.

        Raises:
            InputError: the loss does not fit the outputs or the targets.
        """
        if self._labels is not None:
            if self._is_named:
                _check_probabilities(outputs, targets)
            if self._logits is not None:
                outputs = self._logits.transform(_logits_of(outputs))
            return self._labels(outputs, targets)
        examples = batch_size(inputs, targets, outputs)
        if self._needs_equal_shapes and outputs.shape != targets.shape:
            raise InputError(
                f"outputs of shape {tuple(outputs.shape)} and targets of shape "
                f"{tuple(targets.shape)}: give both one shape, because torch would compare every "
                "output with every target"
            )
        value = self._function(outputs, targets)
        if not isinstance(value, Tensor):
            raise InputError(f"the loss must return a tensor, not a {type(value).__name__}")
        if torch.is_grad_enabled() and not value.requires_grad and _requires_grad(outputs):
            raise InputError("the loss is cut off from the network's outputs: do not detach them")
        if value.ndim == 0:
            total = value * examples
        elif self._may_return_elements and len(value) == examples:
            total = value.flatten(1).mean(1).sum() if value.ndim > 1 else value.sum()
        # Other numbers of values are a sum over something else, or a broadcast by mistake.
        elif value.shape[0] != examples or value.numel() != examples:
            raise InputError(
                f"the loss returned shape {tuple(value.shape)} for {examples} examples; "
                "it must be one value for each example or their mean"
            )
        else:
            total = value.sum()
        return total, total.new_full((), examples, requires_grad=False)

    def weight(self, inputs: Any, targets: Any) -> int | Tensor:
        """A batch's weight, without the network's outputs."""
        if self._labels is not None:
            return self._labels.weight(targets)
        return batch_size(inputs, targets)

    def check_labels(self, outputs: Any, targets: Any) -> None:
        """Refuse labels of a whole data set that are no classes of the network.

        Args:
            outputs: The network's outputs for some of the inputs.
            targets: All targets.

        Raises:
            InputError: a label is no class, or no label counts.
        """
        if self._labels is not None and not targets.is_floating_point():
            self._labels.check_range(outputs, targets.long())

    def counts(self, targets: Any, examples: int) -> Tensor:
        """Whether each of a batch's examples has a label that counts, shape (B,)."""
        if self._labels is None or targets.is_floating_point() or len(targets) != examples:
            return torch.ones(examples, dtype=torch.bool)
        counts: Tensor = targets.long() != self._labels.ignore_index
        return counts.view(examples, -1).any(1)


def _named(loss: LossFunction) -> str:
    return str(getattr(loss, "__name__", type(loss).__name__))


def _logits_of(outputs: Any) -> Tensor:
    """The outputs, if they are a logit for each of some classes.

    Raises:
        InputError: they are not.
    """
    if not isinstance(outputs, Tensor) or outputs.ndim < 2 or outputs.shape[1] < 2:
        raise InputError("logits to transform are one tensor (B, C) with at least two classes")
    return outputs


def _as_module(loss: LossFunction) -> LossFunction:
    """One of torch's functions, alone or with settings, as the class of the same loss."""
    function: Any = loss
    settings: dict[str, Any] = {}
    if isinstance(loss, partial) and not loss.args:
        function, settings = loss.func, loss.keywords
    same_loss = {**_CLASSES, **_ELEMENTWISE}.get(function)
    if same_loss is None:
        return loss
    try:
        return same_loss(**settings)
    except TypeError:  # a setting that only the function has
        return loss


class _LabelLoss:
    """Torch's cross-entropy, or its loss of log-probabilities, with the divisor of its mean."""

    def __init__(self, loss: Any) -> None:
        self._by_label = copy.copy(loss)
        self._by_label.reduction = "none"
        self._class_weights: Tensor | None = loss.weight
        self.ignore_index = loss.ignore_index

    def __call__(self, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(outputs, Tensor):
            raise InputError(
                "the cross-entropy needs one tensor of logits, not the network's "
                f"{type(outputs).__name__}; pass a function of (outputs, targets)"
            )
        if not targets.is_floating_point():
            targets = targets.long()
            self._check_labels(outputs, targets)
        if self._class_weights is not None:
            self._by_label.weight = self._class_weights.to(outputs)
        try:
            total = self._by_label(outputs, targets).sum()
        except (IndexError, RuntimeError) as error:
            if not isinstance(error, IndexError) and "is out of bounds" not in str(error):
                raise
            raise InputError(
                f"labels must be in [0, {outputs.shape[1]}), the network's outputs, or "
                f"{self.ignore_index} for no label, not in "
                f"[{int(targets.min())}, {int(targets.max())}]"
            ) from error
        return total, self.weight(targets).to(total)

    def weight(self, targets: Tensor) -> Tensor:
        """Total weight of the labels."""
        if targets.is_floating_point():  # probabilities of classes: torch ignores none of them
            return torch.tensor(targets.numel() / targets.shape[1])
        labels = targets.long()
        counts = labels != self.ignore_index
        if self._class_weights is not None:
            weights = self._class_weights.to(labels.device)
            counts = weights[labels.clamp(0, len(weights) - 1)] * counts
        total: Tensor = counts.sum()
        return total

    def check_range(self, outputs: Any, labels: Tensor) -> None:
        """Refuse labels that are no classes."""
        labels = labels[labels != self.ignore_index]
        if not isinstance(outputs, Tensor) or outputs.ndim < 2:
            raise InputError("cross-entropy needs a model that returns logits (B, C)")
        if not labels.numel():
            raise InputError(f"every label is {self.ignore_index}, which stands for no label")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= outputs.shape[1]:
            raise InputError(
                f"labels run from {low} to {high}, but the model has {outputs.shape[1]} outputs"
            )

    def _check_labels(self, outputs: Tensor, labels: Tensor) -> None:
        expected = outputs.shape[:1] + outputs.shape[2:] if outputs.ndim > 1 else torch.Size()
        if labels.shape != expected:
            raise InputError(
                f"labels of shape {tuple(labels.shape)} for outputs of shape "
                f"{tuple(outputs.shape)}: labels are numbers of classes, of shape {tuple(expected)}"
            )
        if outputs.ndim > 1 and outputs.shape[1] == 1:
            raise InputError(
                "one output is no choice between classes: its cross-entropy is always 0; take "
                "nn.BCEWithLogitsLoss() for one logit"
            )


def are_labels(outputs: Any, targets: Any) -> bool:
    """Whether targets are numbers of classes, with one output for each class."""
    return (
        isinstance(outputs, Tensor)
        and isinstance(targets, Tensor)
        and outputs.ndim > 1
        and outputs.shape[1] > 1
        and targets.shape == outputs.shape[:1] + outputs.shape[2:]
        and not targets.is_floating_point()
    )


def _check_probabilities(outputs: Any, targets: Any) -> None:
    """Refuse real numbers that are no probabilities: their cross-entropy has no meaning."""
    if not isinstance(targets, Tensor) or not targets.is_floating_point():
        return
    if torch._C._are_functorch_transforms_active():
        return
    classes = targets.shape == outputs.shape and outputs.ndim > 1 and outputs.shape[1] > 1
    if classes and bool(((targets.sum(1) - 1).abs() < 1e-3).all() & (targets >= 0).all()):
        return
    raise InputError(
        "'cross_entropy' takes the numbers of classes, or their probabilities in the outputs' "
        "shape; these targets are real numbers: pass loss='gaussian', or nn.BCEWithLogitsLoss() "
        "for one logit"
    )


def _requires_grad(outputs: Any) -> bool:
    return isinstance(outputs, Tensor) and outputs.requires_grad
