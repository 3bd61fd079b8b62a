"""One network on several processes with ``torch.distributed``: training, and measurement."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from landscape.errors import InputError
from landscape.runtime import memory


def count() -> int:
    """Number of processes that train together; 1 without ``torch.distributed``."""
    return distributed.get_world_size() if _is_distributed() else 1


def rank() -> int:
    """Number of this process, counted from 0."""
    return distributed.get_rank() if _is_distributed() else 0


def num_shards() -> int:
    """Number of processes that share the data of a measurement; 1 outside ``sharing``."""
    return count() if _shares else 1


@contextmanager
def sharing() -> Iterator[None]:
    """Within it the mean loss at a posterior's samples is divided among the processes.

    All processes then evaluate the same losses in the same order, each on a part of the examples.
    """
    global _shares
    before, _shares = _shares, True
    memory.divide_among(int(os.environ.get("LOCAL_WORLD_SIZE", count())))
    try:
        yield
    finally:
        _shares = before
        memory.divide_among(1)


_shares = False


def all_reduce(tensor: torch.Tensor) -> None:
    """Replace a tensor in place by its sum over all processes."""
    distributed.all_reduce(tensor)


def wait_for_all() -> None:
    """Wait until every process reaches this call."""
    if _is_distributed():
        distributed.barrier()


@contextmanager
def started_by_torchrun(device: str) -> Iterator[str]:
    """Join the process group of ``torchrun``, if it started this process.

    Args:
        device: Name of the requested device. With ``"auto"`` and ``"cuda"`` each process gets its
            own GPU, if there are GPUs.

    Yields:
        The device of this process.

    Raises:
        InputError: This machine has more processes than GPUs, or the processes have met before.
    """
    global _has_met
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not distributed.is_available():
        yield device
        return
    if _has_met:  # one process could meet what another one has left of their first group
        raise InputError("the processes of torchrun meet once: start it anew for each command")
    if device in ("auto", "cuda") and torch.cuda.is_available():
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise InputError(
                f"torchrun started process {local + 1} on a machine with "
                f"{torch.cuda.device_count()} GPUs: start one process per GPU"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(device)
    # IVON and ``torch.func`` import this module later. An import while a group is open keeps
    # its threads alive. A thread that still has a tensor at the exit of the interpreter
    # aborts the process.
    importlib.import_module("torch._dynamo")
    _has_met = True
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


_has_met = False


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()
