"""The cross-entropy of a large vocabulary, in slices of rows.

Torch keeps the log-probabilities for the gradient and some more tensors of that size for its
derivative: gigabytes for thousands of tokens of a vocabulary of 50,000. Here only the logits are
kept. Probabilities are computed again, slice by slice, by formula: for p = softmax(f), the gradient
by f is g (p - e_y), and its derivative along u is g (p * u - p (p . u)).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_SLICE = 1 << 22
"""Number of logits in a slice."""


def sliced_cross_entropy(logits: Tensor, labels: Tensor, ignored: int) -> Tensor:
    """The cross-entropy of each row, with first and second derivatives.

    Args:
        logits: Logits, shape (n, C).
        labels: Numbers of classes, shape (n,).
        ignored: Label whose loss is 0.

    Returns:
        Losses in nats, shape (n,).

    Raises:
        IndexError: a label is no class.

    Examples:
        >>> logits, labels = torch.randn(5, 3), torch.tensor([0, 2, -100, 1, 1])
        >>> losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        >>> torch.allclose(sliced_cross_entropy(logits, labels, -100), losses)
        True
    """
    counts = labels != ignored
    if bool((counts & ((labels < 0) | (labels >= logits.shape[1]))).any()):
        raise IndexError("a target is out of bounds")
    losses: Tensor = _apply(_Losses, logits, torch.where(counts, labels, 0), counts)
    return losses


def _slices(logits: Tensor) -> Iterator[slice]:
    rows = max(1, _SLICE // max(1, logits.shape[1]))
    for first in range(0, len(logits), rows):
        yield slice(first, first + rows)


def _probabilities(logits: Tensor, normaliser: Tensor, rows: slice) -> Tensor:
    return (logits[rows] - normaliser[rows, None]).exp_()


def _apply(function: Any, *arguments: Tensor) -> Tensor:
    result: Tensor = function.apply(*arguments)
    return result


class _Losses(Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        normaliser = torch.cat([logits[rows].logsumexp(1) for rows in _slices(logits)])
        ctx.save_for_backward(logits, labels, counts, normaliser)
        return (normaliser - logits.gather(1, labels[:, None])[:, 0]) * counts

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        logits, labels, counts, normaliser = ctx.saved_tensors
        return _apply(_Gradient, logits, labels, counts, normaliser, slopes[0]), None, None


class _Gradient(Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, counts: Tensor, normaliser: Tensor, g: Tensor
    ) -> Tensor:
        ctx.save_for_backward(logits, labels, counts, normaliser, g)
        gradient, scale = torch.empty_like(logits), (g * counts)[:, None]
        for rows in _slices(logits):
            p = _probabilities(logits, normaliser, rows)
            p.scatter_add_(1, labels[rows, None], -torch.ones_like(scale[rows]))
            torch.mul(p, scale[rows], out=gradient[rows])
        return gradient

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *along: Tensor) -> Any:
        logits, labels, counts, normaliser, g = ctx.saved_tensors
        (u,) = along
        by_logits, scale = torch.empty_like(logits), (g * counts)[:, None]
        by_slopes = torch.empty_like(g)
        for rows in _slices(logits):
            p, part = _probabilities(logits, normaliser, rows), u[rows]
            mean = (p * part).sum(1, keepdim=True)
            by_slopes[rows] = (mean - part.gather(1, labels[rows, None]))[:, 0] * counts[rows]
            torch.mul(p.mul_(part - mean), scale[rows], out=by_logits[rows])
        return by_logits, None, None, None, by_slopes
