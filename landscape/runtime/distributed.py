"""Several processes that train one network: who they are, and who writes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from landscape.errors import InputError


def count() -> int:
    """How many processes train together; 1 without ``torch.distributed``."""
    return distributed.get_world_size() if _is_distributed() else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return distributed.get_rank() if _is_distributed() else 0


def all_reduce(tensor: torch.Tensor) -> None:
    """Replace a tensor by its sum over all processes, in place."""
    distributed.all_reduce(tensor)


def wait_for_all() -> None:
    """Wait until every process is here."""
    if _is_distributed():
        distributed.barrier()


@contextmanager
def started_by_torchrun(device: str) -> Iterator[str]:
    """Join the processes that ``torchrun`` started, if it started this one.

    Args:
        device: What was asked for; ``"auto"`` and ``"cuda"`` give each process a GPU of its own
            where there are GPUs.

    Yields:
        The device of this process.

    Raises:
        InputError: there are more processes on this machine than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not distributed.is_available():
        yield device
        return
    if device in ("auto", "cuda") and torch.cuda.is_available():
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise InputError(
                f"torchrun started process {local + 1} on a machine with "
                f"{torch.cuda.device_count()} GPUs: start one a GPU"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(device)
    # The optimisers import it anyway. Imported while a group is open, it keeps that group's threads
    # alive, and one that still holds a tensor when the interpreter goes away aborts the process.
    importlib.import_module("torch._dynamo")
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()
