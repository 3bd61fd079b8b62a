"""Convolutions, batch normalisation and ReLU with a second derivative as cheap as their first.

In evaluation mode the first two are y = B(x, w) + b with B linear in the inputs x and in the
weights w. So the first derivative is B's two adjoints, and the second consists of B and these:

    backward of (x, w):     x_ = B*_x(g, w),                w_ = B*_w(g, x)
    backward of (g, x, w):  g_ = B(u, w) + B(x, v) + c,     x_ = B*_x(g, v),   w_ = B*_w(g, u)

for the vectors u, v, c that come back along x_, w_, b_. torch's own second derivatives convolve
with whole images as kernels, and treat an affine map as a chain of ten multiplications. The second
derivative of ReLU is zero; torch writes the zeros and adds them. Some layers are here because
torch's second derivative of them is wrong or missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_Three = tuple[Tensor | None, Tensor | None, Tensor | None]
_CONVOLUTIONS = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}
_RELUS = (nn.functional.relu, torch.relu, Tensor.relu)
_WITH_OPTIONAL_SCALE = (nn.functional.layer_norm, nn.functional.group_norm)
_LARGE = 1 << 16
"""Number of entries from which zeros cost more than a function in Python."""


class BilinearLayers(TorchFunctionMode):
    """Within it these layers are computed so; all other layers are torch's.

    Examples:
        >>> layer, x = nn.Conv2d(1, 2, 3), torch.randn(1, 1, 4, 4)
        >>> with BilinearLayers():
        ...     y = layer(x)
        >>> bool((y == layer(x)).all())
        True
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Other calls, and layers of an unusual kind, go on to torch."""
        kwargs = kwargs or {}
        if func in _CONVOLUTIONS:
            result = _convolution(_CONVOLUTIONS[func], *args, **kwargs)
        elif func is nn.functional.batch_norm:
            result = _normalisation(*args, **kwargs)
        elif func in _RELUS:
            result = _relu(*args, **kwargs)
        elif func is nn.functional.hardsigmoid:
            result = _hard_sigmoid(*args, **kwargs)
        elif func is torch._weight_norm:
            result = _weight_norm(*args, **kwargs)
        elif func in _WITH_OPTIONAL_SCALE:
            result = _with_scale(func, *args, **kwargs)
        else:
            result = None
        return func(*args, **kwargs) if result is None else result


class _Layer(Protocol):
    """B and its adjoints."""

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None, *, linear: bool) -> Tensor:
        """B(x, w) + b; if ``linear``, without the terms that are constant in x."""

    def adjoint(self, g: Tensor, x: Tensor, w: Tensor, mask: list[bool], *, linear: bool) -> _Three:
        """B*_x(g, w), B*_w(g, x) and the sum of g for b, each if the mask says so."""


@dataclass(frozen=True)
class _Convolution:
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None, *, linear: bool) -> Tensor:
        none = [0] * len(self.stride)
        return torch.convolution(
            x, w, b, self.stride, self.padding, self.dilation, False, none, self.groups
        )

    def adjoint(self, g: Tensor, x: Tensor, w: Tensor, mask: list[bool], *, linear: bool) -> _Three:
        none = [0] * len(self.stride)
        gradients: _Three = torch.ops.aten.convolution_backward(
            g,
            x,
            w,
            [w.shape[0]],
            self.stride,
            self.padding,
            self.dilation,
            False,
            none,
            self.groups,
            mask,
        )
        return gradients


def _convolution(
    dimensions: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    if isinstance(padding, str) or input.ndim != dimensions + 2 or _transformed(input):
        return None

    def by_dimension(value: Any) -> list[int]:
        values = [value] if isinstance(value, int) else list(value)
        return values * dimensions if len(values) == 1 else values

    layer = _Convolution(
        by_dimension(stride), by_dimension(padding), by_dimension(dilation), groups
    )
    outputs: Tensor = _Forward.apply(layer, input, weight, bias)  # type: ignore[no-untyped-call]
    return outputs


@dataclass(frozen=True)
class _Normalisation:
    mean: Tensor
    variance: Tensor
    eps: float

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None, *, linear: bool) -> Tensor:
        b = torch.zeros_like(w) if b is None else b
        mean = torch.zeros_like(self.mean) if linear else self.mean
        return torch.batch_norm(x, w, b, mean, self.variance, False, 0.0, self.eps, False)

    def adjoint(self, g: Tensor, x: Tensor, w: Tensor, mask: list[bool], *, linear: bool) -> _Three:
        mean = torch.zeros_like(self.mean) if linear else self.mean
        gradients: _Three = torch.ops.aten.native_batch_norm_backward(
            g, x, w, mean, self.variance, None, None, False, self.eps, mask
        )
        return gradients


def _normalisation(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    if training or running_mean is None or running_var is None:
        return None
    if running_mean.requires_grad or running_var.requires_grad or _transformed(input):
        return None
    if weight is None:
        weight = torch.ones_like(running_var, dtype=input.dtype)
    # Copies: the graph must not change with the module's statistics.
    layer = _Normalisation(running_mean.clone(), running_var.clone(), eps)
    outputs: Tensor = _Forward.apply(layer, input, weight, bias)  # type: ignore[no-untyped-call]
    return outputs


def _relu(input: Tensor, inplace: bool = False) -> Tensor | None:
    if input.numel() < _LARGE or _transformed(input) or (inplace and input._is_view()):
        return None
    outputs: Tensor = _ReLU.apply(input, inplace)  # type: ignore[no-untyped-call]
    return outputs


class _ReLU(torch.autograd.Function):
    """x -> max(x, 0), linear wherever it is differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        if inplace:
            ctx.mark_dirty(x)
        y = x.relu_() if inplace else x.relu()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(grads[0], y.detach(), 0), None


def _hard_sigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    outputs = (input + 3).clamp(0, 6) / 6
    return input.copy_(outputs) if inplace else outputs


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Weight normalisation by its formula: torch's second derivative is wrong (2.13)."""
    return v * (g / torch.norm_except_dim(v, 2, dim))


def _with_scale(
    function: Callable[..., Tensor],
    input: Tensor,
    shape_or_groups: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor | None:
    """A layer with a scale of one: torch's derivatives of a shift without a scale fail."""
    if weight is not None or bias is None:
        return None
    return function(input, shape_or_groups, torch.ones_like(bias), bias, eps)


def _transformed(x: Tensor) -> bool:
    """Whether ``autocast``, ``vmap`` or ``torch.func`` changes the computation."""
    functional: bool = torch._C._are_functorch_transforms_active()
    return functional or torch.is_autocast_enabled(x.device.type)


class _Forward(torch.autograd.Function):
    """(x, w, b) -> B(x, w) + b."""

    @staticmethod
    def forward(ctx: Any, layer: _Layer, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x, w)
        return layer.forward(x, w, b, linear=False)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        mask = list(ctx.needs_input_grad[1:])
        gradients = _Backward.apply(ctx.layer, mask, *grads, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return None, *gradients


class _Backward(torch.autograd.Function):
    """(g, x, w) -> the gradients by x, w and b."""

    @staticmethod
    def forward(
        ctx: Any, layer: _Layer, mask: list[bool], g: Tensor, x: Tensor, w: Tensor
    ) -> _Three:
        ctx.layer = layer
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, x, w)
        return layer.adjoint(g, x, w, mask, linear=False)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        u, v, c = grads
        layer: _Layer = ctx.layer
        g, x, w = ctx.saved_tensors
        _, _, by_g, by_x, by_w = ctx.needs_input_grad
        g_ = None
        if by_g and v is not None:
            g_ = layer.forward(x, v, c, linear=False)
        if by_g and u is not None:
            along = layer.forward(u, w, c if g_ is None else None, linear=True)
            g_ = along if g_ is None else g_.add_(along)
        if by_g and g_ is None and c is not None:
            g_ = layer.forward(torch.zeros_like(x), w, c, linear=True)
        mask = [by_x and v is not None, by_w and u is not None, False]
        if not any(mask):
            return None, None, g_, None, None
        x_, w_, _ = layer.adjoint(
            g, x if u is None else u, w if v is None else v, mask, linear=True
        )
        return None, None, g_, x_, w_
