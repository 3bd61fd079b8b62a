"""Where computation happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

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
    """A copy of w to differentiate by, also of one that was made in inference mode."""
    with torch.inference_mode(False):
        return w.detach().clone().requires_grad_()


@contextmanager
def second_derivatives() -> Iterator[None]:
    """The settings under which second derivatives are taken; those before are restored.

    Attention by the mathematical kernel, for the fused ones have no second derivative; and float32
    products in full precision, for TF32, which torch allows in convolutions, is no better than the
    residuals asked for.
    """
    with _turn:
        if not _second.users:
            _second.before = [getattr(module, name) for module, name, _ in _TF32]
            for module, name, value in _TF32:
                setattr(module, name, value)
            _second.attention = sdpa_kernel(SDPBackend.MATH)
            _second.attention.__enter__()
        _second.users += 1
    try:
        with differentiable():
            yield
    finally:
        with _turn:
            _second.users -= 1
            if not _second.users:
                _second.attention.__exit__(None, None, None)
                for (module, name, _), value in zip(_TF32, _second.before, strict=True):
                    setattr(module, name, value)


class _Second:
    """The settings belong to the process: the first thread sets them, the last restores them."""

    users = 0
    before: list[Any]
    attention: AbstractContextManager[None]


_second, _turn = _Second(), threading.Lock()
