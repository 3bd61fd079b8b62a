"""Where computation happens."""

from __future__ import annotations

import torch

from landscape.errors import InputError


def choose_device(device: str) -> torch.device:
    """``"auto"`` as CUDA where there is one, the CPU otherwise; or the device named.

    Raises:
        InputError: torch does not know the device, or it is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device).tolist()  # what is on "meta" has no values
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device '{device}' cannot be used: {reason}") from error


def describe_device(device: torch.device) -> str:
    """The device's own name, for the record."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
