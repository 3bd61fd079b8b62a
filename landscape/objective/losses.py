"""Losses by name or by function, as sums over batches that add up to the value on all data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from types import FunctionType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.errors import InputError
from landscape.objective.batches import batch_size
from landscape.objective.label_loss import LabelLoss, Labels, check_probabilities
from landscape.objective.likelihood import GaussianLikelihood, LearntNoise

LossFunction = Callable[[Any, Any], Tensor]
Loss = str | LossFunction | Mapping[Any, Any]
Name = str | int

_NAMES = ("cross_entropy", "binary_cross_entropy", "gaussian", "gaussian_learnt_noise", "model")
_OUTPUTS = ("logits", "out")
"""Names of the logits in an output with several parts: of transformers and of torchvision."""
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


@dataclass(frozen=True)
class Readout:
    """A loss together with what it takes of the network's outputs, and what its mean is over.

    Attributes:
        loss: The loss; see ``Criterion``.
        output: The part of the network's outputs that the loss takes: a name, an index, or a
            function of the outputs. ``None`` takes an only tensor or what is named ``logits`` or
            ``out``; a function of your own then gets all outputs.
        classes: Axis of the classes in logits with more than two: 1, as torch has it in (B, C, H,
            W), or -1, as transformers have it in (B, T, V). ``None`` takes the one that fits.
        shift: Number of tokens from an output to its label; 1 for the next token, 0 where the
            labels are shifted already.
        per: What the mean is over. ``"label"`` is torch's mean over all labels that count;
            ``"example"`` is the mean over examples of the mean over their own labels, so that a
            long text counts as much as a short one. By default labels for a cross-entropy of
            labels, and examples for other losses.
        batch_loss: Whether the loss is one of a whole batch, such as a contrastive one. Its mean is
            then over the batches as they are given, each of which counts once.

    Raises:
        InputError: a setting is out of range.

    Examples:
        >>> logits, tokens = torch.zeros(2, 4, 9), torch.ones(2, 4, dtype=torch.long)
        >>> total, weight = Criterion(Readout(classes=-1, shift=1))(logits, tokens)
        >>> int(weight), Criterion(Readout(classes=-1, shift=1)).unit
        (6, 'label')
    """

    loss: Any = "cross_entropy"
    output: Name | Callable[[Any], Any] | None = None
    classes: int | None = None
    shift: int = 0
    per: Literal["label", "example"] | None = None
    batch_loss: bool = False

    def __post_init__(self) -> None:
        if self.classes not in (None, 1, -1):
            raise InputError(f"the axis of the classes is 1 or -1, not {self.classes}")
        if self.per not in (None, "label", "example"):
            raise InputError(f"a mean is per 'label' or 'example', not {self.per!r}")
        if not isinstance(self.shift, int) or self.shift < 0:
            raise InputError(f"the shift is a number of tokens, not {self.shift!r}")

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """The mean loss of a batch."""
        total, weight = Criterion(self)(outputs, targets)
        return total / weight


@dataclass(frozen=True)
class Heads:
    """The weighted sum of several losses, each of one output with the target of the same name.

    L is the mean over the examples of sum_h c_h l_h. A head's loss of an example is the mean over
    its own labels; an example without a label for a head adds nothing for that head.

    Attributes:
        losses: Loss of each head by its name, or its index, in the outputs and in the targets.
        weights: Weight c_h of each head, where it is not 1.

    Raises:
        InputError: there is no head, or a weight is of none or not finite.

    Examples:
        >>> heads = Heads({"digit": "cross_entropy", "angle": "gaussian"}, {"angle": 0.1})
        >>> outputs = {"digit": torch.zeros(4, 10), "angle": torch.zeros(4, 1)}
        >>> targets = {"digit": torch.zeros(4, dtype=torch.long), "angle": torch.zeros(4)}
        >>> round(float(heads(outputs, targets)), 4)  # log 10 + 0.1 log(2 pi) / 2
        2.3945
    """

    losses: Mapping[Name, Loss]
    weights: Mapping[Name, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.losses:
            raise InputError("a loss of several heads needs at least one")
        for name, weight in self.weights.items():
            if name not in self.losses:
                known = ", ".join(map(str, self.losses))
                raise InputError(f"there is no head '{name}' to weigh; there are {known}")
            if not math.isfinite(weight):
                raise InputError(f"the weight of head '{name}' must be finite, not {weight}")

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """The mean loss of a batch."""
        total, weight = Criterion(self)(outputs, targets)
        return total / weight


class Criterion:
    """A loss whose value on a data set is a sum of batches' totals over a sum of their weights.

    So the value does not depend on how the data are divided into batches. It is torch's own value
    of the loss on the whole data set at once. Where labels are ignored or classes have weights, it
    is the mean over the labels that count, each with its weight.

    Args:
        loss: ``"cross_entropy"``, which is ``nn.CrossEntropyLoss()``, of one label an example or of
            its tokens or pixels; ``"binary_cross_entropy"`` of one logit an example;
            ``"gaussian"``, with unit noise (for other noise pass a ``GaussianLikelihood``);
            ``"gaussian_learnt_noise"``, see ``LearntNoise``; ``"model"``, the network's own loss;
            one of torch's losses, where ``reduction="none"`` also stands for the mean;
            ``Readout``; ``Heads``, or a dict of its losses; ``TemperedLogits`` or
            ``NormalisedLogits``; or a function of (outputs, targets) that returns one value for
            each example, shape (B,), or their mean, a scalar.

    Attributes:
        name: Name of the loss.
        unit: What the mean is over: ``"label"``, ``"example"`` or ``"batch"``.
        is_own: Whether it is the network's own loss.
        ignore_index: Label that does not count; ``None`` if all labels do.
        likelihood: The Gaussian likelihood of real targets, if it is one.

    Raises:
        InputError: the name is unknown, the loss is a sum over examples, or settings do not fit it.

    Examples:
        >>> loss = Criterion(nn.CrossEntropyLoss())
        >>> outputs, labels = torch.zeros(3, 2), torch.tensor([0, 1, -100])
        >>> total, weight = loss(outputs, labels)
        >>> float(total / weight) == float(nn.CrossEntropyLoss()(outputs, labels))
        True
    """

    def __init__(self, loss: Any) -> None:
        self._readout, self._logits, loss = _unwrapped(loss)
        readout = self._readout
        if isinstance(loss, str) and loss not in _NAMES:
            raise InputError(
                f"unknown loss '{loss}'; known: {', '.join(_NAMES)}, or pass a function of "
                "(outputs, targets)"
            )
        self.is_own = loss == "model"
        is_named = loss == "cross_entropy"
        self._heads = _criteria(loss, readout) if isinstance(loss, Heads) else None
        self._weights = loss.weights if isinstance(loss, Heads) else {}
        self.name = loss if isinstance(loss, str) else _named(loss)
        loss = _as_module(_FUNCTIONS[loss] if isinstance(loss, str) else loss)
        self._function = loss
        if getattr(loss, "reduction", "mean") == "sum":
            raise InputError(SUMS)
        # By the type itself: a subclass may compute something else.
        is_of_labels = type(loss) in _CLASSES.values()
        self._needs_equal_shapes = type(loss) in _ELEMENTWISE.values()
        self._may_return_elements = type(loss).__module__ == nn.MSELoss.__module__
        self._is_binary = loss is _binary or type(loss) is nn.BCEWithLogitsLoss
        self.likelihood = loss if isinstance(loss, GaussianLikelihood | LearntNoise) else None
        self._takes_one_tensor = (
            is_of_labels
            or self._is_binary
            or self._needs_equal_shapes
            or (isinstance(loss, GaussianLikelihood))
        )
        self._check_settings(is_of_labels)
        self._places = Labels(
            readout.classes,
            readout.shift,
            getattr(loss, "ignore_index", -100) if is_of_labels else -100,
            is_torchs=not is_named and readout == _PLAIN,
        )
        self._labels = (
            LabelLoss(
                loss,
                self._places,
                per_example=readout.per == "example",
                transform=None if self._logits is None else self._logits.transform,
                takes_probabilities=check_probabilities if is_named else None,
            )
            if is_of_labels
            else None
        )
        self.ignore_index = self._labels.ignore_index if self._labels else None
        default = "label" if is_of_labels else "example"
        self.unit = "batch" if readout.batch_loss else readout.per or default
        self._is_mean_of_labels = self.is_own and self.unit == "label"

    @property
    def is_of_batch(self) -> bool:
        """Whether the loss is one of a whole batch, whose examples it mixes."""
        return self.unit == "batch"

    def _check_settings(self, is_of_labels: bool) -> None:
        """Refuse settings that the loss has no use for."""
        readout = self._readout
        if self._logits is not None and type(self._function) is not nn.CrossEntropyLoss:
            raise InputError(
                f"{type(self._logits).__name__} changes the logits of a cross-entropy; "
                f"{self.name} takes no logits of classes"
            )
        of_labels = readout.per == "label" or readout.shift or readout.classes is not None
        if of_labels and not (is_of_labels or self.is_own):
            raise InputError(
                f"{self.name} has no labels to count: classes, shift and per='label' "
                "are settings of a cross-entropy"
            )
        if self._heads is not None and readout.output is not None:
            raise InputError("several heads take their outputs by name: leave output out")

    def __call__(self, outputs: Any, targets: Any, inputs: Any = None) -> tuple[Tensor, Tensor]:
        """A batch's total loss with its graph, and its weight, two scalars.

        Args:
            outputs: The network's outputs.
            targets: The batch's targets, on the same device.
            inputs: The batch's inputs, which may be needed to count its examples.

        Raises:
            InputError: the loss does not fit the outputs or the targets.
        """
        return self.total(self.read(outputs), targets, inputs)

    def read(self, outputs: Any) -> Any:
        """The part of the network's outputs that the loss takes.

        Raises:
            InputError: the outputs have no such part.
        """
        output = self._readout.output
        if output is not None:
            return output(outputs) if callable(output) else part_of(outputs, output, "outputs")
        if self._takes_one_tensor:
            return _tensor_in(outputs)
        return outputs

    def total(self, outputs: Any, targets: Any, inputs: Any = None) -> tuple[Tensor, Tensor]:
        """The same as a call, for outputs that ``read`` has returned."""
        if self._labels is not None:
            total, weight = self._labels(outputs, targets)
            return (
                (total / weight, torch.ones_like(weight)) if self.is_of_batch else (total, weight)
            )
        if self._heads is not None:
            return self._sum_of_heads(outputs, targets, inputs)
        size = self._size(inputs, targets, None if self.is_own else outputs)
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
        if self.is_of_batch or self._is_mean_of_labels:
            if value.numel() != 1:
                raise InputError(
                    f"the loss returned shape {tuple(value.shape)}; a mean over a {self.unit} is "
                    "one number"
                )
            counted = 1 if self.is_of_batch else self._num_labels(targets)
            weight = torch.as_tensor(counted).to(value)
            return value.reshape(()) * weight, weight
        if value.ndim == 0:
            total = value * size
        elif self._may_return_elements and len(value) == size:
            total = value.flatten(1).mean(1).sum() if value.ndim > 1 else value.sum()
        # Other numbers of values are a sum over something else, or a broadcast by mistake.
        elif value.shape[0] != size or value.numel() != size:
            raise InputError(
                f"the loss returned shape {tuple(value.shape)} for {size} examples; "
                "it must be one value for each example or their mean"
            )
        else:
            total = value.sum()
        return total, total.new_full((), size, requires_grad=False)

    def _sum_of_heads(self, outputs: Any, targets: Any, inputs: Any) -> tuple[Tensor, Tensor]:
        total: Tensor | None = None
        for name, criterion in (self._heads or {}).items():
            ours = part_of(outputs, name, "outputs"), part_of(targets, name, "targets")
            of_head = criterion(*ours, inputs)[0] * self._weights.get(name, 1.0)
            total = of_head if total is None else total + of_head
        assert total is not None
        size = batch_size(inputs, targets, outputs)
        return total, total.new_full((), size, requires_grad=False)

    def _size(self, inputs: Any, targets: Any, outputs: Any = None) -> int:
        """Number of examples.

        Raises:
            InputError: the network's own loss may be a mean over labels.
        """
        is_unsaid = self.is_own and self._readout.per is None and not self.is_of_batch
        has_parts = isinstance(targets, Tensor) and targets.ndim > 1
        if is_unsaid and has_parts and bool((targets == self._places.ignore_index).any()):
            raise InputError(
                "some labels are ignored, so that the network's own loss is a mean over labels or "
                "over examples: say which with losses.Readout('model', per='label'), and shift=1 "
                "if it is of the next token, or per='example'"
            )
        return batch_size(inputs, targets, outputs)

    def _num_labels(self, targets: Any) -> Tensor:
        if not isinstance(targets, Tensor) or targets.is_floating_point():
            raise InputError("a mean per label needs a tensor of labels as targets")
        return (self._places.of(targets).long() != self._places.ignore_index).sum()

    def weight(self, inputs: Any, targets: Any) -> int | Tensor:
        """A batch's weight, without the network's outputs."""
        if self.is_of_batch:
            return 1
        if self._labels is not None:
            return self._labels.weight(targets)
        if self._is_mean_of_labels:
            return self._num_labels(targets)
        return self._size(inputs, targets)

    def check_labels(self, outputs: Any, targets: Any) -> None:
        """Refuse labels of a whole data set that are no classes of the network.

        Args:
            outputs: The network's outputs for some of the inputs.
            targets: All targets.

        Raises:
            InputError: a label is no class, or no label counts.
        """
        if self._labels is not None:
            self._labels.check_range(self.read(outputs), targets)
        for name, criterion in (self._heads or {}).items():
            criterion.check_labels(
                part_of(outputs, name, "outputs"), part_of(targets, name, "targets")
            )

    def counts(self, targets: Any, examples: int) -> Tensor:
        """Whether each of a batch's examples has a label that counts, shape (B,)."""
        if self._labels is None or not isinstance(targets, Tensor):
            return torch.ones(examples, dtype=torch.bool)
        return self._labels.counts(targets, examples)

    def rows(self, outputs: Any, targets: Any) -> tuple[Tensor, Tensor] | None:
        """Logits and labels of all examples, tokens or pixels, one after the other.

        Args:
            outputs: The network's outputs.
            targets: The batch's targets.

        Returns:
            Logits, shape (n, C), and labels, shape (n,), with -100 for one that does not count; for
            one logit z an example the logits are (0, z). ``None`` where targets are not labels with
            one output for each class, or the places of a network's own labels are not known.
        """
        if self._heads is not None or (self.is_own and not self._is_mean_of_labels):
            return None
        if self._readout.output is None:
            with suppress(InputError):
                outputs = _tensor_in(outputs)
        else:
            outputs = self.read(outputs)
        if self._is_binary and isinstance(outputs, Tensor) and isinstance(targets, Tensor):
            if outputs.numel() != len(outputs) or targets.numel() != len(outputs):
                return None
            z, y = outputs.reshape(-1), targets.reshape(-1)
            is_class = (y == 0) | (y == 1)
            return torch.stack([torch.zeros_like(z), z], 1), torch.where(is_class, y.long(), -100)
        return self._places.rows(outputs, targets)


def _unwrapped(loss: Any) -> tuple[Readout, TemperedLogits | None, Any]:
    """A loss without its readout and its transform of the logits, and these."""
    readout, logits = _PLAIN, None
    while isinstance(loss, Readout | TemperedLogits):
        if isinstance(loss, Readout):
            readout = _merged(readout, loss)
        elif logits is not None:
            raise InputError(
                f"the logits of {type(loss).__name__} are no logits of classes to transform again"
            )
        else:
            logits = loss
        loss = loss.loss
    return readout, logits, Heads(loss) if isinstance(loss, Mapping) else loss


def _merged(outer: Readout, inner: Readout) -> Readout:
    """One readout for two, one around the other; what the outer one says holds."""
    said = {
        setting.name: getattr(outer, setting.name)
        for setting in fields(Readout)
        if setting.name != "loss" and getattr(outer, setting.name) != setting.default
    }
    return replace(inner, **said)


def _criteria(heads: Heads, readout: Readout) -> dict[Name, Criterion]:
    """The loss of each head as a mean over examples.

    Raises:
        InputError: a head's loss is of something else.
    """
    criteria = {}
    for name, loss in heads.losses.items():
        criterion = Criterion(loss)
        own = criterion._readout
        if criterion._labels is not None and own.per is None:
            criterion = Criterion(replace(own, loss=_without_readout(loss), per="example"))
        if criterion.unit != "example" or criterion.is_own:
            raise InputError(
                f"head '{name}': several heads are a mean over examples, not over "
                f"{criterion.unit}s or the network's own"
            )
        criteria[name] = criterion
    return criteria


def _without_readout(loss: Any) -> Any:
    """A loss without its readout, with its transform of the logits."""
    _, logits, inner = _unwrapped(loss)
    return inner if logits is None else replace(logits, loss=inner)


def part_of(value: Any, name: Name, what: str) -> Any:
    """A part of a network's outputs or of targets, by its name or index.

    Args:
        value: A dict, a sequence, or an object with attributes.
        name: Name or index.
        what: What ``value`` is, for the error.

    Raises:
        InputError: it has no such part.
    """
    if isinstance(value, Mapping) and name in value:
        return value[name]
    if isinstance(value, list | tuple) and isinstance(name, int) and name < len(value):
        return value[name]
    if isinstance(name, str) and getattr(value, name, None) is not None:
        return getattr(value, name)
    has = f"has {', '.join(map(str, value))}" if isinstance(value, Mapping) else "does not"
    raise InputError(f"the {what} have no part '{name}': a {type(value).__name__} that {has}")


def _tensor_in(outputs: Any) -> Any:
    """The logits among a network's outputs, or its only tensor; else the outputs as they are."""
    if isinstance(outputs, Tensor):
        return outputs
    for name in _OUTPUTS:
        value = outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
        if isinstance(value, Tensor):
            return value
    if isinstance(outputs, Mapping | list | tuple) and len(outputs) == 1:
        (value,) = outputs.values() if isinstance(outputs, Mapping) else outputs
        return value
    return outputs


def _own_loss(outputs: Any, targets: Any) -> Tensor:
    """The loss that a network returns, whatever its targets.

    Raises:
        InputError: it returns none.
    """
    value = outputs if isinstance(outputs, Tensor) else None
    if value is None and isinstance(outputs, Mapping):
        value = outputs.get("loss")
    elif value is None and isinstance(outputs, list | tuple) and not hasattr(outputs, "_fields"):
        value = outputs[0] if outputs else None
    value = getattr(outputs, "loss", None) if value is None else value
    if not isinstance(value, Tensor) or value.ndim > 1:
        raise InputError(
            "loss='model' needs a network that returns its loss, alone, first in a tuple or as "
            "'loss': give it its labels, by a batch that is a dict with them or by pairs (inputs "
            "with the labels, labels)"
        )
    return value


def _binary(outputs: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of one logit an example, shape (B,).

    Raises:
        InputError: the shapes do not fit, or a target is not in [0, 1].
    """
    if outputs.numel() != len(outputs) or targets.shape not in (outputs.shape, outputs.shape[:1]):
        raise InputError(
            "'binary_cross_entropy' takes one logit and one target an example, not outputs of "
            f"shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)}; for "
            "several labels an example take nn.BCEWithLogitsLoss()"
        )
    targets = targets.reshape(-1).to(outputs)
    is_checked = not torch._C._are_functorch_transforms_active()
    if is_checked and not bool(((targets >= 0) & (targets <= 1)).all()):
        raise InputError("the targets of 'binary_cross_entropy' are 0, 1 or probabilities")
    return F.binary_cross_entropy_with_logits(outputs.reshape(-1), targets, reduction="none")


_PLAIN = Readout()
_FUNCTIONS: dict[str, LossFunction] = {
    "cross_entropy": nn.CrossEntropyLoss(),
    "binary_cross_entropy": _binary,
    "gaussian": GaussianLikelihood(noise=1.0),
    "gaussian_learnt_noise": LearntNoise(),
    "model": _own_loss,
}
"""The losses by name."""


def _named(loss: Any) -> str:
    if isinstance(loss, Heads):
        return ", ".join(f"{head}: {Criterion(of).name}" for head, of in loss.losses.items())
    return str(getattr(loss, "__name__", type(loss).__name__))


def _as_module(loss: Any) -> Any:
    """One of torch's functions, alone or with settings, as the class of the same loss."""
    function: Any = loss
    settings: dict[str, Any] = {}
    if isinstance(loss, partial) and not loss.args:
        function, settings = loss.func, loss.keywords
    if not isinstance(function, FunctionType):
        return loss
    same_loss = {**_CLASSES, **_ELEMENTWISE}.get(function)
    if same_loss is None:
        return loss
    try:
        return same_loss(**settings)
    except TypeError:  # a setting that only the function has
        return loss


def _requires_grad(outputs: Any) -> bool:
    return isinstance(outputs, Tensor) and outputs.requires_grad
