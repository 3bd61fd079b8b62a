"""Whether a network and its derivatives can be trusted: found out once, before they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from landscape.batches import Batch, take, tensors_of
from landscape.bilinear import BilinearLayers
from landscape.differentiation import check_tensor, gradient_of
from landscape.errors import InputError, LandscapeError
from landscape.parameters import ParameterSpace

BatchLoss = Callable[[Tensor, Batch], tuple[Tensor, int]]
"""``Objective.batch_loss``."""

_EXAMPLES = 8
_ROUNDINGS = 30
"""Of half the digits: disagreements that are no rounding are of the size of what disagrees."""
_SHRUNK = tuple(4.0**-k for k in range(1, 11))
"""Factors of the weights at which the symmetry is looked at again."""


def check_batch_independence(module: nn.Module) -> None:
    """Refuse a network whose outputs for an example depend on the others of its batch.

    Raises:
        InputError: a layer takes the statistics of its batch in evaluation mode.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is None:
            raise InputError(
                f"layer '{name}' takes the statistics of its batch in evaluation mode, so that the "
                "loss depends on how the data are cut: give it track_running_stats=True"
            )


def check_precision(w: Tensor) -> None:
    """Refuse weights that are too coarse for second derivatives.

    Raises:
        InputError: they are of another type than float32 and float64.
    """
    check_tensor(w)
    if w.dtype not in (torch.float32, torch.float64):
        name = str(w.dtype).removeprefix("torch.")
        raise InputError(
            f"curvature needs weights in float32 or float64, not {name}: convert the network with "
            ".float(); a product in lower precision is hessian(w, autocast=...)"
        )


def check_fits(space: ParameterSpace, batch: Batch) -> Any:
    """Refuse inputs that the network does not take, on a few examples of a batch.

    Returns:
        Its outputs on them.

    Raises:
        InputError: the network fails on them, and on all.
    """
    few = _few(batch)
    for inputs, _ in [batch] if few is None else [few, batch]:  # some take batches of one size only
        try:
            with torch.no_grad():
                return space.call(space.vector(), inputs)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, IndexError) as error:
            fault = error
    shapes = ", ".join(str(tuple(each.shape)) for each in tensors_of(batch[0]))
    reason = str(fault).splitlines()[0]
    raise InputError(f"the network does not take inputs of shape {shapes}: {reason}") from fault


class Soundness:
    """Whether what is computed of an objective is what it is taken for.

    Asked once, at the first weights where the loss is finite.
    """

    def __init__(self) -> None:
        self._repeats = self._is_symmetric = False

    def check(
        self, batch_loss: BatchLoss, w: Tensor, batch: Batch, *, symmetric: bool = True
    ) -> None:
        """See to it, on a few examples of a batch, within ``second_derivatives``.

        That two passes agree and that the loss of all is made of the losses of parts; and where
        ``symmetric``, that the Hessian is, and that our second derivatives of layers are torch's.
        Some of torch's own are wrong, such as that of ``weight_norm`` in 2.13, which nothing but
        the symmetry shows.

        For the latter the examples are given each other's targets. A network that fits its data has
        a Hessian of rounding errors, which agree with nothing; this one has residuals of ordinary
        size. Where that does not help, as with outputs that saturate a softmax, the symmetry is
        that of the same network with smaller weights: a wrong derivative is wrong there too, and
        rounding errors are gone.

        Raises:
            InputError: the network is random in evaluation mode, it or the loss mixes the examples
                of a batch, or an operation has no second derivative.
            LandscapeError: a second derivative is wrong.
        """
        if self._repeats and (self._is_symmetric or not symmetric):
            return
        few = _few(batch)
        if not self._repeats:
            self._repeats = _check_repeats(batch_loss, w, batch if few is None else few)
            if few is not None:
                _check_parts(batch_loss, w, few)
        if symmetric and not self._is_symmetric:
            self._is_symmetric = few is None or _check_symmetry(batch_loss, w, _mixed(few))


class SameLoss:
    """Whether pass after pass over the data finds the same loss at the same weights.

    Example:
        >>> same = SameLoss()
        >>> for loss in (2.0, 3.0):  # doctest: +ELLIPSIS
        ...     same.add(torch.tensor(loss), 1)
        ...     same.end_of_pass()
        Traceback (most recent call last):
        landscape.errors.InputError: two passes over the data give different losses: ...
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._sums: Tensor | None = None

    def add(self, loss: Tensor, size: int) -> None:
        """The summed loss of the pass's next batch, of ``size`` examples."""
        loss = loss.detach()
        self._eps = torch.finfo(loss.dtype).eps
        terms = torch.stack([loss, loss.abs(), torch.full_like(loss, size)]).double()
        self._sums = terms if self._sums is None else self._sums + terms

    def end_of_pass(self) -> None:
        """Compare the pass with the first one; losses that are not finite agree with all.

        Raises:
            InputError: number or loss of the examples differ by more than rounding.
        """
        now, self._sums = self._sums, None
        if now is None:
            return
        if self._first is None:
            self._first = now
            return
        (loss, size, count), (first, _, examples) = now.tolist(), self._first.tolist()
        if count != examples or abs(loss - first) > _rounding(size, count, self._eps):
            raise InputError(
                f"{_OTHER_DATA}: {first / examples:.6g} over {examples:.0f} examples, then "
                f"{loss / count:.6g} over {count:.0f}. {_SAME_DATA}"
            )


def check_same_loss(first: float, again: float, dtype: torch.dtype) -> None:
    """Refuse two mean losses over the data, at the same weights, that are not the same.

    Raises:
        InputError: they differ by more than rounding. Those that are not finite agree with all.
    """
    if abs(again - first) > _rounding(abs(first) + abs(again), 2, torch.finfo(dtype).eps):
        raise InputError(f"{_OTHER_DATA}: {first:.6g}, then {again:.6g}. {_SAME_DATA}")


_OTHER_DATA = "two passes over the data give different losses"
_SAME_DATA = (
    "The batches must hold the same examples every time: switch off augmentation, and with a "
    "shuffled loader drop_last"
)


def _rounding(size: float, count: float, eps: float) -> float:
    """What a sum of ``count`` losses, of absolute values that sum to ``size``, may be off by."""
    # Losses that are nearly zero are differences of numbers of the size of one.
    return float(eps**0.5 * size + 100 * eps * count)


def _check_repeats(batch_loss: BatchLoss, w: Tensor, batch: Batch) -> bool:
    """Refuse what does not; whether it could be seen."""
    one, other = (gradient_of(batch_loss(w, batch)[0], w) for _ in range(2))
    if not bool(one.isfinite().all()):
        return False
    if _differ(one, other):
        raise InputError(
            "the network is random in evaluation mode: two passes over the same examples give "
            "different gradients. Use nn.Dropout, which evaluation switches off, or fix the noise"
        )
    return True


def _check_parts(batch_loss: BatchLoss, w: Tensor, batch: Batch) -> None:
    size = _count(batch)
    if size < 2:
        return
    middle = max(1, (size - 1) // 2)  # parts of one size would hide a sum
    whole, *parts = (
        float(batch_loss(w, _taken(batch, torch.arange(*ends)))[0].detach())
        for ends in ((0, size), (0, middle), (middle, size))
    )
    rounding = _ROUNDINGS * 100 * torch.finfo(w.dtype).eps
    if abs(whole - sum(parts)) > rounding * (abs(whole) + sum(map(abs, parts))):
        raise InputError(
            "the loss of a batch is not the mean over its examples: that of "
            f"{size} is {whole / size:.4g}, of the same in two parts {sum(parts) / size:.4g}. Let "
            "the loss return one value an example, and the network take each by itself"
        )


def _check_symmetry(batch_loss: BatchLoss, w: Tensor, batch: Batch) -> bool:
    """Refuse what is not symmetric; whether it could be seen."""
    with BilinearLayers():
        loss, _ = batch_loss(w, batch)
    if not loss.requires_grad:  # it does not depend on w
        return True
    ours = gradient_of(loss, w, differentiable=True)
    theirs = gradient_of(batch_loss(w, batch)[0], w, differentiable=True)
    if not ours.requires_grad:  # it is linear in w
        return True
    if not bool(ours.isfinite().all()):
        return False  # to be refused with the first product
    generator = torch.Generator(w.device).manual_seed(0)
    u, v = (
        2 * torch.randint(0, 2, w.shape, generator=generator, device=w.device).to(w) - 1
        for _ in range(2)
    )
    product, reference = (_backward(gradient, w, v) for gradient in (ours, theirs))
    if _differ(product, reference):
        raise LandscapeError(
            "a Hessian product disagrees with torch's own second derivatives: this is a defect of "
            "landscape.bilinear; please report the network"
        )
    asymmetry = _asymmetry(ours, w, u, v, product)
    if asymmetry > _tolerance(w) and not any(
        _symmetric_to_rounding(batch_loss, (shrink * w.detach()).requires_grad_(), batch, u, v)
        for shrink in _SHRUNK
    ):
        raise LandscapeError(
            "the Hessian is not symmetric: the second derivative that torch has for one of the "
            f"network's layers is wrong (u.Hv - v.Hu is {asymmetry:.1e} of |Hv|). "
            "Write that layer with other operations, as weight_norm by its formula"
        )
    return True


def _symmetric_to_rounding(
    batch_loss: BatchLoss, w: Tensor, batch: Batch, u: Tensor, v: Tensor
) -> bool:
    gradient = gradient_of(batch_loss(w, batch)[0], w, differentiable=True)
    product = _backward(gradient, w, v)
    rounding = _ROUNDINGS**2 * torch.finfo(w.dtype).eps
    return bool(product.norm() > 0) and _asymmetry(gradient, w, u, v, product) < rounding


def _asymmetry(gradient: Tensor, w: Tensor, u: Tensor, v: Tensor, product: Tensor) -> float:
    """|u.Hv - v.Hu| as a share of |Hv| + |Hu|; in float64, where small squares do not vanish."""
    hv, hu = product.double(), _backward(gradient, w, u).double()
    size = hv.norm() + hu.norm()
    return float((u.double() @ hv - v.double() @ hu).abs() / size) if bool(size > 0) else 0.0


def _few(batch: Batch) -> Batch | None:
    """Some of the examples; None where it is not clear what an example is."""
    inputs, targets = batch
    sizes = {len(each) if each.ndim else 0 for part in batch for each in tensors_of(part)}
    if len(sizes) != 1 or not tensors_of(inputs) or not tensors_of(targets) or sizes == {0}:
        return None
    size = sizes.pop()
    return _taken(batch, torch.arange(0, size, max(1, size // _EXAMPLES))[:_EXAMPLES])


def _mixed(batch: Batch) -> Batch:
    """With each other's targets."""
    inputs, targets = batch
    return inputs, take(targets, torch.arange(_count(batch)).roll(1))


def _taken(batch: Batch, index: Tensor) -> Batch:
    inputs, targets = batch
    return take(inputs, index), take(targets, index)


def _count(batch: Batch) -> int:
    return len(tensors_of(batch[1])[0])


def _backward(gradient: Tensor, w: Tensor, v: Tensor) -> Tensor:
    return torch.autograd.grad(gradient, w, v, retain_graph=True, materialize_grads=True)[0]


def _differ(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() > _tolerance(one) * (one.norm() + other.norm()))


def _tolerance(like: Tensor) -> float:
    return _ROUNDINGS * float(torch.finfo(like.dtype).eps ** 0.5)
