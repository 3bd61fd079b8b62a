"""Work in independent units, here or on other processes: plain functions over an executor."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar

import torch

from landscape import memory
from landscape.errors import InputError, LandscapeError

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


def run(
    unit: Callable[[Shared, Item], Result],
    shared: Shared,
    items: Iterable[Item],
    executor: Executor | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield (position of the item, ``unit(shared, item)``) as the units are finished.

    Args:
        unit: A function that a worker can import, of what all units share and of one item.
        shared: What all units share; with an executor it is pickled once, and each thread
            of a worker unpickles a copy of its own once.
        items: One for each unit.
        executor: Any of ``concurrent.futures``, or Dask's ``client.get_executor()``; without one
            the units run here, in order.

    Raises:
        InputError: what the units share cannot be sent to another process.
        LandscapeError: a worker died.
    """
    if executor is None:
        for position, item in enumerate(items):
            yield position, unit(shared, item)
        return
    payload = _Payload.of(shared)
    client = getattr(executor, "_client", None)
    # Dask's scheduler keeps what is submitted and makes it anew where a worker is lost.
    sent = payload if client is None else client.submit(_Payload.itself, payload, pure=False)
    pending = {
        executor.submit(_call, unit, sent, item): position for position, item in enumerate(items)
    }
    try:
        for future in as_completed(pending):
            yield pending[future], _result(future)
    finally:
        for future in pending:
            future.cancel()


@contextmanager
def workers(processes: int = 0, dask: str | None = None) -> Iterator[Executor | None]:
    """An executor by its settings on the command line.

    Args:
        processes: So many on this machine; the cores are divided among them.
        dask: The address of a Dask scheduler, ``"tcp://host:8786"``.

    Yields:
        The executor, or ``None`` if neither is asked for: the units then run in this process.

    Raises:
        InputError: both are asked for, ``distributed`` is not installed, or no scheduler answers.
    """
    if processes < 0 or (processes and dask):
        raise InputError("give a positive number of worker processes, or the address of Dask")
    if dask:
        with _dask_client(dask) as client:
            yield client.get_executor()
    elif processes:
        threads = max(1, (os.cpu_count() or 1) // processes)
        # Not forked: a fork copies the locks of torch's threads, and not the threads.
        begin = functools.partial(_begin_worker, processes, threads)
        with ProcessPoolExecutor(processes, get_context("spawn"), initializer=begin) as pool:
            yield pool
    else:
        yield None


class _Payload:
    """Something pickled, that each thread of a worker unpickles once."""

    def __init__(self, data: bytes, digest: str) -> None:
        self.data, self.digest = data, digest

    @classmethod
    def of(cls, value: object) -> _Payload:
        try:
            data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InputError(
                f"the posterior, data or loss cannot be sent to another process ({error}): define "
                "functions and classes in a module, or work without an executor"
            ) from error
        return cls(data, hashlib.sha256(data).hexdigest())

    def itself(self) -> _Payload:
        return self


# By thread, for a module in use by one thread is not another's to use.
_unpickled = threading.local()


def _shared(payload: _Payload) -> Any:
    if getattr(_unpickled, "digest", None) != payload.digest:
        # Written by ``run``, in the process that sent this one its work.
        _unpickled.value, _unpickled.digest = pickle.loads(payload.data), payload.digest
    return _unpickled.value


def _call(unit: Callable[[Any, Item], Result], payload: _Payload, item: Item) -> Result:
    return unit(_shared(payload), item)


def _result(future: Future[Result]) -> Result:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise LandscapeError(
            "a worker process died, perhaps for want of memory; what was finished is saved, and "
            "the same command goes on from there"
        ) from error


def _begin_worker(processes: int, threads: int) -> None:
    memory.divide_among(processes)
    torch.set_num_threads(threads)
    # Ctrl-C ends a worker at once and silently; the process that waits for it reports.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def _dask_client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("--dask needs 'pip install landscape[dask]'") from error
    try:
        client: Any = Client(address, timeout=10, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at '{address}': {error}") from error
    with client:
        yield client
