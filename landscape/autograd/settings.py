"""Derivatives, and torch's settings while they are taken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.errors import InputError

# Settings that let torch multiply float32 in TF32, with 10 bits: names and values, new and old.
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


@contextmanager
def differentiable() -> Iterator[None]:
    """Within it graphs are built, even if the caller has switched them off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def check_tensor(w: object) -> None:
    """Refuse weights that are no tensor.

    Raises:
        InputError: the weights are no tensor.
    """
    if not isinstance(w, Tensor):
        raise InputError(f"weights are a tensor, not a {type(w).__name__}")


def leaf(w: Tensor) -> Tensor:
    """A copy of w to differentiate by, even if w was made in inference mode.

    Raises:
        InputError: w is no tensor.
    """
    check_tensor(w)
    with torch.inference_mode(False):
        return w.detach().clone().requires_grad_()


def gradient_of(loss: Tensor, w: Tensor, *, differentiable: bool = False) -> Tensor:
    """The gradient of ``loss``, a scalar, by w; see ``pulled_back``."""
    one = torch.ones_like(loss)
    return pulled_back(loss, w, one, keep=differentiable, differentiable=differentiable)


def pulled_back(
    outputs: Tensor, inputs: Tensor, u: Tensor, *, keep: bool, differentiable: bool = False
) -> Tensor:
    """J^T u for the Jacobian J of ``outputs`` by ``inputs``; zeros if they do not depend on them.

    The same as ``torch.autograd.grad``, which switches active modes off, although a network with
    activation checkpoints runs again within it.

    Args:
        outputs: Any tensor.
        inputs: Any tensor that requires a gradient.
        u: A tensor in the outputs' shape.
        keep: Whether the graph may be used again.
        differentiable: Whether the result has a graph of its own.
    """
    if not outputs.requires_grad:
        return torch.zeros_like(inputs)
    (gradient,) = _engine_run_backward(
        (outputs,), (u,), keep, differentiable, (inputs,), True, accumulate_grad=False
    )
    return torch.zeros_like(inputs) if gradient is None else gradient


class _ProcessWide:
    """Settings of the whole process: the first thread makes them, the last one restores them."""

    def __init__(self, settings: Callable[[], AbstractContextManager[None]]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._users = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                self._active = self._settings()
                self._active.__enter__()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._active.__exit__(None, None, None)


@contextmanager
def _without_tf32() -> Iterator[None]:
    before = [getattr(module, name) for module, name, _ in _TF32]
    for module, name, value in _TF32:
        setattr(module, name, value)
    try:
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


@contextmanager
def _by_mathematical_kernel() -> Iterator[None]:
    with sdpa_kernel(SDPBackend.MATH):
        yield


full_precision = _ProcessWide(_without_tf32)
"""Within it float32 is multiplied in full, not in TF32, which torch allows in convolutions."""

_mathematical_attention = _ProcessWide(_by_mathematical_kernel)
as_trained = _ProcessWide(_without_fast_attention)
"""Within it torch's transformers compute the same in evaluation as in training.

Their faster path without gradients returns zeros under a padding mask: another function.
"""


@contextmanager
def no_autocast() -> Iterator[None]:
    """Within it a caller's ``torch.autocast`` has no effect."""
    with ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def first_derivatives() -> Iterator[None]:
    """Within it gradients are taken.

    Raises:
        InputError: an operation has no derivative, or none by these means.
    """
    with _explained("derivative"), no_autocast(), differentiable():
        yield


@contextmanager
def second_derivatives() -> Iterator[None]:
    """Within it second derivatives are taken.

    Attention runs by the mathematical kernel, because the fused ones have no second derivative.
    float32 is multiplied in full precision, because TF32 is no more accurate than the residuals
    that users ask for.

    Raises:
        InputError: torch has no second derivative of an operation.
    """
    with (
        _explained("second derivative"),
        full_precision(),
        _mathematical_attention(),
        no_autocast(),
        differentiable(),
    ):
        yield


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Torch's errors about derivatives, in a line that says what to do."""
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[0]
        if "use_reentrant=True" in str(error):
            raise InputError(
                "the network has activation checkpoints with use_reentrant=True, which have no "
                "second derivative: use use_reentrant=False"
            ) from error
        # torch says the latter of group_norm with a shift and no scale.
        if "is not implemented" in str(error) or "does not have a device" in str(error):
            raise InputError(
                f"torch has no {what} of one of the network's operations ({reason}): write it with "
                f"other operations{_differences(what)}"
            ) from error
        if "once_differentiable" in str(error):
            raise InputError(
                "a custom autograd Function of the network is marked once_differentiable, so it "
                "has no second derivative: write it with torch's own operations"
                + _differences(what)
            ) from error
        raise


def _differences(what: str) -> str:
    if what != "second derivative":
        return ""
    return (
        ", or take differences of gradients: measure or objective.hessian with "
        "method='finite-difference'"
    )
