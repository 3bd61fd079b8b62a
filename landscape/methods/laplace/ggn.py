"""The generalised Gauss-Newton matrix of a training set, or its diagonal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, hessian, vmap

from landscape.errors import InputError
from landscape.objective.batches import Batch, batch_size, examples_in, take_batch
from landscape.objective.losses import Criterion, Loss
from landscape.objective.parameters import ParameterSpace

_MEMORY = 1 << 28
"""Bytes of per-example gradients in memory at a time."""


def ggn_sum(
    space: ParameterSpace,
    w: Tensor,
    batches: Iterable[Batch],
    loss: Loss,
    buffers: Mapping[str, Tensor],
    *,
    full: bool,
) -> Tensor:
    """sum_n J_n^T Lambda_n J_n at w, in evaluation mode; a sum, not a mean.

    Args:
        space: The network.
        w: Shape (P,).
        batches: The examples.
        loss: The loss; see ``losses.Criterion``. It is convex in the outputs.
        buffers: The network's buffers at w.
        full: Whether to return the matrix (P, P), in float64; otherwise its diagonal (P,) in the
            type of w.

    Raises:
        InputError: the outputs are not one vector an example, or the loss is not convex in them.
    """
    size = space.size
    matrix = w.new_zeros(size, size, dtype=torch.float64) if full else w.new_zeros(size)
    examples = max(1, _MEMORY // (w.element_size() * size))
    for batch in batches:
        size = batch_size(*batch)
        if examples_in(batch) is None:
            raise InputError("laplace needs inputs that are tensors with one row an example")
        for first in range(0, size, examples):
            part = take_batch(batch, slice(first, first + examples), size)
            part = space.move(part[0]), space.move(part[1])
            for rows in _roots(space, w, part, loss, buffers):
                matrix += (rows.T @ rows).double() if full else (rows**2).sum(0)
    return matrix


def _roots(
    space: ParameterSpace, w: Tensor, batch: Batch, loss: Loss, buffers: Mapping[str, Tensor]
) -> Iterator[Tensor]:
    """Matrices R_c (B, P), one for each output, with sum_n J_n^T Lambda_n J_n = sum_c R_c^T R_c."""
    inputs, targets = batch
    criterion = Criterion(loss)
    with torch.no_grad():
        outputs = criterion.read(space.call(w, inputs, buffers))
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        raise InputError("laplace needs a network that returns one vector an example, (B, C)")

    def single_loss(output: Tensor, target: Any) -> Tensor:
        return criterion.total(output[None], target[None])[0]

    inner = vmap(hessian(single_loss))(outputs, targets)  # (B, C, C)
    values, vectors = torch.linalg.eigh(inner)
    # If the network is certain of a class, its Hessian is only the rounding error of p - p^2.
    slack = 1e-4 * values.abs().amax(1, keepdim=True) + 10 * torch.finfo(values.dtype).eps
    if bool((values < -slack).any()):
        raise InputError("laplace needs a loss that is convex in the network's outputs")
    roots = vectors * values.clamp_min(0.0).sqrt()[:, None]

    def projected(v: Tensor, example: Any, root: Tensor) -> Tensor:
        output: Tensor = criterion.read(space.call(v, _batch_of_one(example), buffers))[0]
        return output @ root

    for column in roots.unbind(2):
        yield vmap(grad(projected), in_dims=(None, 0, 0))(w, inputs, column)


def _batch_of_one(example: Any) -> Any:
    """One example as a batch."""
    if isinstance(example, Tensor):
        return example[None]
    if isinstance(example, Mapping):
        return {name: _batch_of_one(value) for name, value in example.items()}
    return tuple(_batch_of_one(value) for value in example)
