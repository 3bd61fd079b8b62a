"""A check, made once, that matvecs agree with differences of first derivatives."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from landscape.autograd.pytrees import tensors_of
from landscape.autograd.settings import first_derivatives, gradient_of, leaf, second_derivatives
from landscape.errors import InputError, LandscapeError, LandscapeWarning
from landscape.objective.batches import Batch, examples_in, take, take_batch
from landscape.objective.checks import normal, sizes, some_rows
from landscape.objective.mean_loss import MeanLoss
from landscape.objective.operators.base import Matvec
from landscape.objective.parameters import ParameterSpace
from landscape.runtime.memory import spare

MatrixAt = Callable[[MeanLoss, Tensor], Matvec]

_EXAMPLES = 4
_NEAR = 0.05
"""Distance from the network's own weights at which matvecs are compared, in the weights' size."""
_ROUNDINGS = 1e3
_WORDS = {
    "hessian": "Hessian",
    "torch": "torch's Hessian",
    "gauss-newton": "Gauss-Newton",
    "empirical-fisher": "empirical Fisher",
}


def compare_once(objective: MeanLoss, batch: Batch, matrix: str, matrix_at: MatrixAt) -> None:
    """Compare a matvec of a matrix of an objective with differences, on a few examples, once.

    A matvec at weights near the network's own must agree with differences of first derivatives,
    which are taken in float64. Torch has wrong second derivatives, and a user's own functions may
    drop theirs; nothing else shows it. At the own weights a unit may be at a kink by construction:
    a ReLU with a bias of zero and a blank image. The examples get wrong targets, because a network
    that fits its data has a Hessian of rounding errors.

    Args:
        objective: The objective.
        batch: One of its batches.
        matrix: ``"hessian"``, ``"gauss-newton"``, ``"empirical-fisher"``, or ``"torch"`` for the
            Hessian by torch's own second derivatives.
        matrix_at: Returns the matrix of an objective at some weights.

    Raises:
        InputError: no gradient reaches the parameters.
        LandscapeError: a derivative is wrong or missing.

    Warns:
        LandscapeWarning: parameters have no part in the loss, the gradient is not the derivative of
            the loss, the network computes in lower precision than its weights, or the comparison
            says nothing.
    """
    if objective.checked.is_trusted or matrix in objective.checked.matrices:
        return
    if float(objective.criterion.weight(*batch)) == 0:  # another batch will do
        return
    with second_derivatives():
        _Comparison(objective, batch, matrix, matrix_at).run()
    objective.checked.matrices.add(matrix)


class _Comparison:
    """Matvecs in the network's own type, and differences in float64 if the network can.

    Attributes:
        steps: Lengths of differences, as shares of the weights' own size.
        tolerance: Relative tolerance of the comparison.
    """

    def __init__(self, objective: MeanLoss, batch: Batch, matrix: str, matrix_at: MatrixAt) -> None:
        self._matrix, self._matrix_at = matrix, matrix_at
        self._own = objective.on(objective.space, [_tried(objective, batch)])
        w = objective.space.vector()
        self._near = w + _NEAR * sizes(objective.space, w) * normal(w, 1)
        self._objective, self._gradient = self._in_float64()
        self._space = self._objective.space
        self._w = self._near.to(self._space.dtype)
        self._sizes = sizes(self._space, self._w)
        self._direction = self._sizes * normal(self._w, 0).sign()
        self._lowest = _lowest_precision(self._objective, self._w)
        is_exact = self._lowest == torch.float64
        self.steps = (1e-7, 1e-9, 1e-5) if is_exact else (1e-3, 1e-2)
        self.tolerance = 3e-4 if is_exact else 0.1

    def _in_float64(self) -> tuple[MeanLoss, Tensor]:
        """The objective in float64, or its own type if the network cannot, and its gradient.

        Its own type, too, where a dozen vectors in float64 do not fit into half of the memory.
        """
        own = self._own
        if 12 * 8 * own.size > 2 * spare(own.space.device):
            return own, own.gradient(self._near)
        try:
            space = ParameterSpace(own.space.module, own.space.names, dtype=torch.float64)
            exact = own.on(space, own.batches)
            return exact, exact.gradient(self._near.double())
        except torch.OutOfMemoryError:
            raise
        except Exception:  # such as tensors of float32 in its code; other faults show here again
            return own, own.gradient(self._near)

    def run(self) -> None:
        """See ``compare_once``."""
        loss = abs(float(self._objective.loss(self._w)))
        if not bool(self._gradient.isfinite().all()) or not math.isfinite(loss):
            return  # the caller's own matvecs will show it
        self._name_unused()
        if self._lowest in (torch.bfloat16, torch.float16):
            name = str(self._lowest).removeprefix("torch.")
            _warn(
                f"the network computes in {name} inside, whatever the type of its weights: "
                f"gradients and matvecs are off by some {torch.finfo(self._lowest).eps:.1%} or "
                "more, and so is every measurement"
            )
            return
        image = self._matvec(self._own)
        if not bool(image.isfinite().all()):
            return
        if not self._follows_the_loss(loss):
            self._check_symmetry(image)
            return
        size = max(self._scaled(self._gradient, slice(None)), loss)
        wrong, differences = self._compare(image, size)
        if wrong and self._own is not self._objective:
            exact = self._matvec(self._objective)
            wrong, differences = self._compare(exact, size)
            if not wrong:
                off = self._scaled(image - exact, slice(None))
                _warn(
                    f"matvecs are off by {off / self._scaled(exact, slice(None)):.1%} of their "
                    "length against those in float64, as for a network that computes in bfloat16 "
                    "inside: every measurement has this error, too"
                )
            image = exact
        if wrong:
            self._judge(wrong, differences, image)

    def _matvec(self, objective: MeanLoss) -> Tensor:
        dtype = objective.space.dtype
        image = self._matrix_at(objective, self._near.to(dtype))(self._direction.to(dtype))
        return image.to(self._w)

    def _name_unused(self) -> None:
        parts = zip(self._space.names, self._space.slices, strict=True)
        unused = [name for name, part in parts if not bool(self._gradient[part].any())]
        if len(unused) == len(self._space.names):
            raise InputError(
                "no gradient reaches any of the inferred parameters: the loss or the network is "
                "constant, or cut off from them"
            )
        if unused:
            _warn(
                "no gradient reaches these parameters, and their curvature is zero: "
                + _some(unused)
            )

    def _follows_the_loss(self, loss: float) -> bool:
        """Whether the gradient is the loss's derivative; that of a rounded weight is not."""
        # Two directions: one may agree by luck.
        for direction in (self._direction, self._sizes * normal(self._w, 2)):
            slope = float(self._gradient @ direction)
            size = float((self._gradient * direction).abs().sum())
            slopes = []
            for h in self.steps:
                ahead, behind = self._both_sides(self._objective.loss, direction, h)
                slopes.append(float(ahead - behind) / (2 * h))
                rounding = self._rounding(loss + size, h)
                if abs(slopes[-1] - slope) <= 0.1 * self.tolerance * size + rounding:
                    break
            else:
                _warn(
                    "the network's gradient is not the derivative of its loss (straight-through or "
                    "surrogate gradients, weights that its layers change, parts cut off from the "
                    f"graph): along one direction they are {slope:.4g} and {slopes[0]:.4g}. The "
                    "curvature is torch's derivative of that gradient, not of the loss"
                )
                return False
        return True

    def _compare(self, image: Tensor, size: float) -> tuple[dict[str, slice], list[Tensor]]:
        """Compare a matvec with differences of gradients of some size.

        Returns:
            The parameters where they disagree, and the differences, one for each length.
        """
        wrong = dict(zip(self._space.names, self._space.slices, strict=True))
        own = _ROUNDINGS * torch.finfo(self._own.space.dtype).eps * size
        differences: list[Tensor] = []
        for h in self.steps:
            difference = self._difference(h)
            differences.append(difference)
            wrong = {
                name: part
                for name, part in wrong.items()
                if self._scaled(difference - image, part)
                > self.tolerance * (self._scaled(difference, part) + self._scaled(image, part))
                + self._rounding(size, h)
                + own
            }
            if not wrong:
                break
        return wrong, differences

    def _judge(self, wrong: dict[str, slice], differences: list[Tensor], image: Tensor) -> None:
        """Refuse a matvec if differences agree with each other and not with it.

        Differences across a kink, or of rounding errors, do not agree with each other either.
        """
        errors = {
            name: self._scaled(differences[0] - image, part)
            / max(self._scaled(differences[0], part), self._scaled(image, part))
            for name, part in wrong.items()
            if any(
                self._scaled(one - other, part) < 0.2 * self._scaled(one - image, part)
                for one, other in itertools.pairwise(differences)
            )
        }
        if not errors:
            _warn(
                "second derivatives could not be compared with differences of gradients, which do "
                f"not agree with each other for {_some(list(wrong))}: take care"
            )
            return
        worst = max(errors, key=lambda name: errors[name])
        raise LandscapeError(
            f"{_WORDS[self._matrix]} matvecs are wrong, by {errors[worst]:.1%} for '{worst}': "
            "derivatives of one of the network's operations, or of the loss, are wrong or missing, "
            "as for a custom autograd Function that keeps an intermediate result or is "
            "once_differentiable. Write it with torch's own operations, or take differences of "
            "gradients: objective.hessian(method='finite-difference')"
        )

    def _both_sides(
        self, function: Callable[[Tensor], Tensor], direction: Tensor, h: float
    ) -> tuple[Tensor, Tensor]:
        return function(self._w + h * direction), function(self._w - h * direction)

    def _rounding(self, size: float, h: float) -> float:
        """Largest rounding error of a difference quotient of numbers of some size."""
        return _ROUNDINGS * torch.finfo(self._lowest).eps * size / h

    def _scaled(self, vector: Tensor, part: slice) -> float:
        """Length of a gradient's part, with every entry in units of its weight's size."""
        return float((self._sizes * vector)[part].norm())

    def _difference(self, h: float) -> Tensor:
        """The matvec by first derivatives on both sides of w."""
        objective, space = self._objective, self._space
        if self._matrix in ("hessian", "torch"):
            ahead, behind = self._both_sides(objective.gradient, self._direction, h)
            return (ahead - behind) / (2 * h)
        ((inputs, targets),) = objective.batches
        targets, criterion = space.move(targets), objective.criterion

        def outputs_at(w: Tensor) -> Tensor:
            outputs: Tensor = criterion.read(space.predict(w, inputs, objective.buffers))
            return outputs

        def residual(outputs: Tensor) -> Tensor:
            at = leaf(outputs)
            return gradient_of(criterion.total(at, targets, inputs)[0], at)

        outputs = outputs_at(self._w)
        ahead, behind = self._both_sides(outputs_at, self._direction, h)
        along = (ahead - behind) / (2 * h)
        _, weight = criterion.total(outputs, targets, inputs)
        if self._matrix == "gauss-newton":
            centred = (residual(outputs + h * along) - residual(outputs - h * along)) / (2 * h)
        else:
            slopes = residual(outputs)
            inner = (slopes * along).flatten(1).sum(1)
            centred = slopes * inner.view(-1, *[1] * (slopes.ndim - 1))
            weight = weight**2 / float(criterion.counts(targets, len(outputs)).sum())
        at = leaf(self._w)
        with space.at(at, objective.buffers) as network:
            return gradient_of((criterion.read(network(inputs)) * centred).sum(), at) / weight

    def _check_symmetry(self, image: Tensor) -> None:
        other = self._sizes * normal(self._w, 2)
        dtype = self._own.space.dtype
        reverse = self._matrix_at(self._own, self._near)(other.to(dtype)).to(self._w)
        size = float((other * image).abs().sum() + (self._direction * reverse).abs().sum())
        if abs(float(other @ image - self._direction @ reverse)) > 1e-3 * size:
            raise LandscapeError(
                "the derivative of the network's gradient is not symmetric: the gradient is not "
                "that of a loss and has no curvature; leave out the operation that replaces it"
            )


def _lowest_precision(objective: MeanLoss, w: Tensor) -> torch.dtype:
    """The coarsest type in which a network computes anything from its weights."""
    precisions = _Precisions()
    (batch,) = objective.batches
    with first_derivatives(), objective.space.at(leaf(w), objective.buffers) as network, precisions:
        network(batch[0])
    return max({*precisions.types, w.dtype}, key=lambda dtype: torch.finfo(dtype).eps)


class _Precisions(TorchFunctionMode):
    """Notes the types of results that require a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_of(result):
            if tensor.is_floating_point() and tensor.requires_grad:
                self.types.add(tensor.dtype)
        return result


def _tried(objective: MeanLoss, batch: Batch) -> Batch:
    """A few examples of a batch with wrong targets, or the whole batch if it cannot be divided.

    Each label is the next class; other targets are exchanged between the examples.
    """
    size = examples_in(batch) if objective.checked.divides else None
    if not size:
        return batch
    rows = some_rows(objective.criterion, batch, size, _EXAMPLES)
    inputs, targets = take_batch(batch, rows, size)
    space = objective.space
    outputs = space.predict(space.vector(), inputs, objective.buffers)
    logits_and_labels = objective.criterion.rows(outputs, targets)
    if logits_and_labels is not None:
        labels, classes = targets.long(), logits_and_labels[0].shape[1]
        ignored = objective.criterion.ignore_index
        other = (labels + 1) % classes
        if ignored is not None:
            other = torch.where(other == ignored, (other + 1) % classes, other)
        counts = (labels >= 0) & (labels != ignored)
        return inputs, torch.where(counts, other, labels).to(targets.dtype)
    return inputs, take(targets, torch.arange(len(rows)).roll(1), len(rows))


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _warn(message: str) -> None:
    warnings.warn(message, LandscapeWarning, stacklevel=2)
