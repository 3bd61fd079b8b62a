"""Checks, made once on a few examples, that network, loss and data fit each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landscape.autograd.pytrees import tensors_of
from landscape.autograd.settings import check_tensor
from landscape.errors import InputError, NotFiniteError
from landscape.objective.batches import Batch, examples_in, take_batch
from landscape.objective.losses import SUMS, Criterion
from landscape.objective.parameters import ParameterSpace

_EXAMPLES = 8
_SAME = 100
"""Roundings by which two runs of one network may differ if sums are taken in another order."""
_CHANGES = (0.05, 1.0)
"""Changes of the weights, in their own size; the outputs must show one of them."""


def check_batch_independence(module: nn.Module) -> None:
    """Refuse a network whose outputs for an example depend on the others of its batch.

    Raises:
        InputError: a layer takes the statistics of its batch in evaluation mode.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is None:
            raise InputError(
                f"layer '{name}' takes the statistics of its batch in evaluation mode, so that the "
                "loss depends on how the data are divided: give it track_running_stats=True"
            )


def check_precision(w: Tensor) -> None:
    """Refuse weights that are too coarse for second derivatives.

    Raises:
        InputError: their type is neither float32 nor float64.
    """
    check_tensor(w)
    if w.dtype not in (torch.float32, torch.float64):
        name = str(w.dtype).removeprefix("torch.")
        raise InputError(
            f"curvature needs weights in float32 or float64, not {name}: convert the network with "
            ".float(); matvecs in lower precision are those of hessian(w, autocast=...)"
        )


@dataclass(frozen=True)
class Trial:
    """A network's outputs for a few examples of a batch, or for a batch that cannot be divided.

    Attributes:
        batch: The examples.
        outputs: The network's outputs.
        examples: Number of examples; ``None`` for a whole batch.
    """

    batch: Batch
    outputs: Any
    examples: int | None


def try_network(
    space: ParameterSpace, criterion: Criterion, batch: Batch, buffers: Any = None
) -> Trial:
    """Run a network on a few examples of a batch, at its own weights.

    Raises:
        InputError: the network takes neither a few examples nor the whole batch.
    """
    fault: Exception | None = None
    for part, examples in _portions(criterion, batch):
        try:
            return Trial(part, space.predict(space.vector(), part[0], buffers), examples)
        except (torch.OutOfMemoryError, InputError):
            raise
        except Exception as error:  # whatever a user's network may raise
            fault = error
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_of(batch[0]))
    raise InputError(
        f"the network does not take inputs of shape {shapes}: {_reason(fault)}"
    ) from fault


def check_depends(space: ParameterSpace, trial: Trial, buffers: Any = None) -> None:
    """Refuse a network whose outputs do not depend on its inferred parameters.

    Raises:
        InputError: they do not, such as where the forward method is bound to another module.
    """
    before = tensors_of(trial.outputs)
    if not before or not all(bool(output.isfinite().all()) for output in before):
        return
    w = space.vector()
    for change in _CHANGES:
        changed = w + change * sizes(space, w) * normal(w, 0).sign()
        after = tensors_of(space.predict(changed, trial.batch[0], buffers))
        if not all(map(_equal, before, after)):
            return
    raise InputError(
        "the network's outputs do not depend on any of its inferred parameters: its forward method "
        "or a hook uses another module's, such as a function that has closed over the original "
        "network"
    )


def check_loss(criterion: Criterion, space: ParameterSpace, trial: Trial) -> None:
    """Refuse a loss that fails, or that compares each output with the targets of all examples.

    Raises:
        InputError: the loss does so.
    """
    inputs, targets = trial.batch
    try:
        total, _ = criterion(trial.outputs, space.move(targets), inputs)
    except (torch.OutOfMemoryError, InputError):
        raise
    except Exception as error:  # whatever a user's loss may raise
        shapes = (
            ", ".join(str(tuple(tensor.shape)) for tensor in tensors_of(value))
            or type(value).__name__
            for value in (trial.outputs, targets)
        )
        raise InputError(
            "the loss fails on outputs of shape {} with targets of shape {}: {}".format(
                *shapes, _reason(error)
            )
        ) from error
    outputs = criterion.read(trial.outputs)
    if criterion.is_of_batch or not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return
    if outputs.shape == targets.shape or outputs.numel() != targets.numel():
        return
    try:
        like, _ = criterion.total(outputs, space.move(targets).view_as(outputs), inputs)
    except Exception:  # the loss does not take targets in the outputs' shape
        return
    if not _equal(like, total, _SAME) and not _is_mean(criterion, outputs, space.move(targets)):
        raise InputError(
            f"outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)}: "
            "the loss compares every output with every target; give both one shape"
        )


def _is_mean(criterion: Criterion, outputs: Tensor, targets: Tensor) -> bool:
    """Whether the loss of a few examples is the mean of their own losses."""
    outputs, targets = outputs[:_EXAMPLES], targets[:_EXAMPLES]
    pairs = zip(torch.split(outputs, 1), torch.split(targets, 1), strict=True)
    losses = torch.stack([criterion.total(output, target)[0] for output, target in pairs])
    return _equal(losses.sum(), criterion.total(outputs, targets)[0], 3 * _SAME)


def check_evaluation(
    space: ParameterSpace, criterion: Criterion, buffers: Any, batch: Batch, *, is_only: bool
) -> bool:
    """Check on a few examples that network, loss and data fit each other.

    Two runs must agree, and the outputs must depend on the weights. The loss must be a mean over
    examples that does not depend on how they are divided into batches, unless there is only one.

    Args:
        space: The network.
        criterion: The loss.
        buffers: The network's buffers; its own if ``None``.
        batch: First batch of the data.
        is_only: Whether it is the only batch.

    Returns:
        Whether network and loss take a few examples of the batch alone.

    Raises:
        InputError: one of these conditions fails.
    """
    with torch.no_grad():
        trial = try_network(space, criterion, batch, buffers)
        again = space.predict(space.vector(), trial.batch[0], buffers)
        pairs = zip(tensors_of(trial.outputs), tensors_of(again), strict=True)
        if not all(_equal(one, other, _SAME) for one, other in pairs):
            raise InputError(
                "the network is random in evaluation mode: two passes over the same examples give "
                "different outputs. Use nn.Dropout, which evaluation switches off, or fix the noise"
            )
        check_depends(space, trial, buffers)
        try:
            check_loss(criterion, space, trial)
        except InputError:
            if not is_only or trial.examples is None:
                raise
            # A loss may need its one batch as a whole, such as one with a mask over all examples.
            few, trial = trial, Trial(batch, space.predict(space.vector(), batch[0], buffers), None)
            if _same(few.outputs, trial.outputs):
                raise InputError(
                    f"the network returns the same for {few.examples} examples as for all: it "
                    "reads something from an earlier pass, such as a hook that has closed over the "
                    "original network"
                ) from None
            check_loss(criterion, space, trial)
        if trial.examples is None:
            return False

        def total(batch: Batch) -> Tensor:
            outputs = space.predict(space.vector(), batch[0], buffers)
            return criterion(outputs, space.move(batch[1]), batch[0])[0]

        if not is_only:
            check_division(total, trial.batch)
        return True


def check_division(total: Callable[[Batch], Tensor], batch: Batch) -> None:
    """Refuse a loss that depends on how examples are divided into batches.

    Args:
        total: Total loss of a batch, a scalar in the type that the loss is computed in.
        batch: Examples that can be divided.

    Raises:
        InputError: the loss depends on the division, or is a sum.
    """
    size = examples_in(batch)
    if size is None or size < 2:
        return
    middle = max(1, (size - 1) // 2)  # parts of one size would hide a sum
    try:
        of_all = total(batch)
        undivided, dtype = float(of_all), of_all.dtype
        parts = [
            float(total(take_batch(batch, slice(*ends), size)))
            for ends in ((0, middle), (middle, size))
        ]
    except (torch.OutOfMemoryError, InputError):
        raise
    except Exception as error:  # whatever a user's network or loss may raise
        raise InputError(
            f"network and loss do not take fewer than {size} examples ({_reason(error)}): the loss "
            "would depend on how the data are divided; give all examples as one batch"
        ) from error
    if not math.isfinite(undivided):
        return
    rounding = 3000 * torch.finfo(dtype).eps
    if abs(undivided - sum(parts)) <= rounding * (abs(undivided) + sum(map(abs, parts))):
        return
    means = [part / n for part, n in zip(parts, (middle, size - middle), strict=True)]
    if abs(undivided / size - sum(means)) <= rounding * abs(undivided / size):
        raise InputError(SUMS)
    raise InputError(
        "the loss of a batch is not the mean over its examples: that of "
        f"{size} is {undivided / size:.4g}, of the same in two parts {sum(parts) / size:.4g}. The "
        "loss must return one value for each example, and the network not mix examples; or give "
        "all examples as one batch"
    )


class SameLoss:
    """A comparison of the losses of several passes over the data at the same weights.

    Args:
        add_up: Replaces sums by those over all processes, in place.

    Examples:
        >>> same = SameLoss()
        >>> for loss in (2.0, 3.0):  # doctest: +ELLIPSIS
        ...     same.add(torch.tensor(loss), torch.tensor(1.0))
        ...     same.end_of_pass()
        Traceback (most recent call last):
        landscape.errors.InputError: two passes over the data give different losses: ...
    """

    def __init__(self, add_up: Callable[[Tensor], None] = lambda _: None) -> None:
        self._add_up = add_up
        self._first: Tensor | None = None
        self._sums: Tensor | None = None

    def add(self, total: Tensor, weight: Tensor) -> None:
        """Add the total loss and the weight of the pass's next batch."""
        total = total.detach()
        self._eps = torch.finfo(total.dtype).eps
        terms = torch.stack([total, total.abs(), weight.to(total)]).double()
        self._sums = terms if self._sums is None else self._sums + terms

    def end_of_pass(self) -> None:
        """Compare the pass with the first one.

        Raises:
            InputError: weight or loss of the examples differ by more than rounding.
            NotFiniteError: the loss is infinite or NaN; its derivatives need not show it.
        """
        now, self._sums = self._sums, None
        if now is None:
            return
        self._add_up(now)
        loss, size, weight = now.tolist()
        if not math.isfinite(loss):
            raise NotFiniteError(f"the loss is {loss}: there is no curvature")
        if self._first is None:
            self._first = now
            return
        first, _, before = self._first.tolist()
        if abs(weight - before) > 1e-3 * before or abs(loss - first) > _rounding(
            size, weight, self._eps
        ):
            raise InputError(
                f"{_OTHER_DATA}: {first / before:.6g} over {before:g} examples, then "
                f"{loss / weight:.6g} over {weight:g}. {_SAME_DATA}"
            )


def check_same_loss(first: float, again: float, dtype: torch.dtype) -> None:
    """Refuse different mean losses over the data at the same weights.

    Raises:
        InputError: the losses differ by more than rounding. A loss that is not finite agrees with
            every other one.
    """
    if abs(again - first) > _rounding(abs(first) + abs(again), 2, torch.finfo(dtype).eps):
        raise InputError(f"{_OTHER_DATA}: {first:.6g}, then {again:.6g}. {_SAME_DATA}")


_OTHER_DATA = "two passes over the data give different losses"
_SAME_DATA = (
    "The batches must hold the same examples every time: switch off augmentation, and with a "
    "shuffled loader drop_last"
)


def _rounding(size: float, count: float, eps: float) -> float:
    """Largest rounding error of ``count`` losses whose absolute values sum to ``size``."""
    # Losses near zero are differences of numbers of the size of one.
    return float(eps**0.5 * size + 100 * eps * count)


def some_rows(criterion: Criterion, batch: Batch, size: int, most: int) -> Tensor:
    """Indices of a few of a batch's ``size`` examples, with labels that count if there are any."""
    rows = criterion.counts(batch[1], size).nonzero().flatten().cpu()
    rows = rows if len(rows) else torch.arange(size)
    return rows[:: max(1, len(rows) // most)][:most]


def _portions(criterion: Criterion, batch: Batch) -> list[tuple[Batch, int | None]]:
    """A few examples of a batch with their number, if it can be divided; and the whole batch."""
    size = examples_in(batch)
    if not size or criterion.is_of_batch:
        return [(batch, None)]
    rows = some_rows(criterion, batch, size, _EXAMPLES)
    return [(take_batch(batch, rows, size), len(rows)), (batch, None)]


def sizes(space: ParameterSpace, w: Tensor) -> Tensor:
    """Root mean square of each parameter's entries; of all entries for a parameter of zeros."""
    roots = torch.empty_like(w)
    usual = float(w.square().mean().sqrt()) or 1.0
    for part in space.slices:
        roots[part] = float(w[part].square().mean().sqrt()) or usual
    return roots


def normal(like: Tensor, seed: int) -> Tensor:
    """Standard normal numbers, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)


def _same(one: Any, other: Any) -> bool:
    pairs = list(zip(tensors_of(one), tensors_of(other), strict=True))
    return bool(pairs) and all(_equal(a, b) for a, b in pairs)


def _equal(one: Tensor, other: Tensor, roundings: int = 0) -> bool:
    """Whether two tensors are equal up to some roundings; NaN equals itself."""
    if one.shape != other.shape:
        return False
    if not one.is_floating_point() or not roundings:
        return torch.equal(one.nan_to_num(), other.nan_to_num())
    size = float(one.nan_to_num(0.0, 0.0, 0.0).abs().max()) if one.numel() else 0.0
    slack = roundings * torch.finfo(one.dtype).eps * size
    return torch.allclose(one, other, rtol=0.0, atol=slack, equal_nan=True)


def _reason(error: Exception | None) -> str:
    lines = str(error).splitlines()
    known = isinstance(error, RuntimeError | TypeError | IndexError | ValueError)
    text = lines[0] if lines else ""
    return text if known and text else f"{type(error).__name__} {text}".strip()
