"""Where computation happens, and under which of torch's settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.errors import InputError

# What multiplies float32 in TF32, of 10 bits: names and values of the settings, old and new.
_TF32 = (
    [
        (torch.backends.cudnn.conv, "fp32_precision", "ieee"),
        (torch.backends.cudnn.rnn, "fp32_precision", "ieee"),
        (torch.backends.cuda.matmul, "fp32_precision", "ieee"),
    ]
    if hasattr(torch.backends.cudnn, "conv")
    else [
        (torch.backends.cudnn, "allow_tf32", False),
        (torch.backends.cuda.matmul, "allow_tf32", False),
    ]
)


def choose_device(device: str) -> torch.device:
    """``"auto"`` as CUDA where there is one, the CPU otherwise; or the device named.

    Raises:
        InputError: torch does not know the device, or it is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device '{device}' cannot be used: {reason}") from error


def describe_device(device: torch.device) -> str:
    """The device's own name, for the record."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


@contextmanager
def differentiable() -> Iterator[None]:
    """Graphs are built within it, also for a caller who has switched that off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def leaf(w: Tensor) -> Tensor:
    """A copy of w to differentiate by, also of one that was made in inference mode.

    Raises:
        InputError: w is no tensor.
    """
    if not isinstance(w, Tensor):
        raise InputError(f"weights are a tensor, not a {type(w).__name__}")
    with torch.inference_mode(False):
        return w.detach().clone().requires_grad_()


def gradient_of(loss: Tensor, w: Tensor, *, differentiable: bool = False) -> Tensor:
    """The gradient of ``loss`` by w; zeros where it does not depend on w.

    Args:
        loss: A scalar.
        w: A leaf.
        differentiable: Whether the gradient has a graph of its own.
    """
    if not loss.requires_grad:
        return torch.zeros_like(w)
    (found,) = torch.autograd.grad(loss, w, create_graph=differentiable, materialize_grads=True)
    return found


class _ProcessWide:
    """Settings that belong to the process: the first thread makes them, the last restores them."""

    def __init__(self, settings: Callable[[], AbstractContextManager[None]]) -> None:
        self._settings = settings
        self._turn = threading.Lock()
        self._users = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._turn:
            if not self._users:
                self._made = self._settings()
                self._made.__enter__()
            self._users += 1
        try:
            yield
        finally:
            with self._turn:
                self._users -= 1
                if not self._users:
                    self._made.__exit__(None, None, None)


@contextmanager
def _in_full_precision() -> Iterator[None]:
    before = [getattr(module, name) for module, name, _ in _TF32]
    for module, name, value in _TF32:
        setattr(module, name, value)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for (module, name, _), value in zip(_TF32, before, strict=True):
            setattr(module, name, value)


@contextmanager
def _without_fast_attention() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


_full_precision = _ProcessWide(_in_full_precision)
as_trained = _ProcessWide(_without_fast_attention)
"""Within it torch's transformers compute in evaluation what they compute in training.

Their faster path without gradients puts zeros where a padding mask is: another function.
"""


@contextmanager
def uncast() -> Iterator[None]:
    """A caller's ``torch.autocast`` does not reach into it."""
    with ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def second_derivatives() -> Iterator[None]:
    """The settings under which second derivatives are taken; those before are restored.

    Attention by the mathematical kernel, for the fused ones have no second derivative; and float32
    products in full precision, for TF32, which torch allows in convolutions, is no better than the
    residuals asked for.

    Raises:
        InputError: torch has no second derivative of an operation.
    """
    try:
        with _full_precision(), uncast(), differentiable():
            yield
    except RuntimeError as error:  # NotImplementedError is one
        if "is not implemented" not in str(error):
            raise
        raise InputError(
            "torch has no second derivative of one of the network's operations "
            f"({str(error).splitlines()[0]}): write it with others"
        ) from error
