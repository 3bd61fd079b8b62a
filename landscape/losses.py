"""Losses by name or by function, as sums over the examples of a batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from landscape.batches import batch_size
from landscape.errors import InputError
from landscape.likelihood import GaussianLikelihood

LossFunction = Callable[[Any, Any], Tensor]
Loss = str | LossFunction


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise InputError(
            "'cross_entropy' needs one tensor of logits, not the network's "
            f"{type(outputs).__name__}; pass a function of (outputs, targets)"
        )
    if targets.is_floating_point():
        _check_probabilities(outputs, targets)
    else:
        targets = targets.long()
        expected = outputs.shape[:1] + outputs.shape[2:] if outputs.ndim > 1 else torch.Size()
        if targets.shape != expected:
            raise InputError(
                f"labels of shape {tuple(targets.shape)} for outputs of shape "
                f"{tuple(outputs.shape)}: they are numbers of classes, of shape {tuple(expected)}"
            )
    try:
        return nn.functional.cross_entropy(outputs, targets, reduction="none")
    except IndexError as error:
        raise InputError(
            f"labels must be in [0, {outputs.shape[1]}), the network's outputs, not "
            f"[{int(targets.min())}, {int(targets.max())}]"
        ) from error


def _check_probabilities(outputs: Tensor, targets: Tensor) -> None:
    """Refuse real numbers that are no probabilities: their cross-entropy means nothing."""
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


_SUMS = "the loss sums over examples; give it reduction='mean' or 'none'"
_LOSSES: dict[str, LossFunction] = {
    "cross_entropy": _cross_entropy,
    "gaussian": GaussianLikelihood(noise=1.0),
}


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
        if not isinstance(value, Tensor):
            raise InputError(f"the loss must return a tensor, not a {type(value).__name__}")
        if isinstance(outputs, Tensor) and outputs.requires_grad and not value.requires_grad:
            raise InputError("the loss is cut off from the network's outputs: do not detach them")
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
