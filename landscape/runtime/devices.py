"""Devices for computations."""

from __future__ import annotations

import torch

from landscape.errors import InputError


def choose_device(device: str) -> torch.device:
    """The device with this name. ``"auto"`` is CUDA if available, otherwise the CPU.

    Raises:
        InputError: torch does not know the device, or this machine does not have it.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device).tolist()  # fails on "meta", whose tensors have no values
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device '{device}' cannot be used: {reason}") from error


def describe_device(device: torch.device) -> str:
    """The name of the device's hardware, for the record."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
