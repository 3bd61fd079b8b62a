"""Where computation happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
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
def second_derivatives() -> Iterator[None]:
    """The settings under which second derivatives are taken; those before are restored.

    Attention by the mathematical kernel, for the fused ones have no second derivative; and float32
    products in full precision, for TF32, which torch allows in convolutions, is no better than the
    residuals asked for.
    """
    before = [getattr(module, name) for module, name, _ in _TF32]
    try:
        for module, name, value in _TF32:
            setattr(module, name, value)
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for (module, name, _), value in zip(_TF32, before, strict=True):
            setattr(module, name, value)
