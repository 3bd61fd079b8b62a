"""Work in independent units, here or on other processes: plain functions over an executor."""

from __future__ import annotations

import functools
import gc
import hashlib
import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
)
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch

from landscape.errors import InputError, LandscapeError
from landscape.runtime import memory

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

_LOG = logging.getLogger(__name__)
_PATIENCE = 5.0  # seconds for killed processes to be gone: they are at once, unless the disk hangs


def run(
    unit: Callable[[Shared, Item], Result],
    shared: Shared,
    items: Iterable[Item],
    executor: Executor | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield (position of the item, ``unit(shared, item)``) as the units are finished.

    Args:
        unit: A function that a worker can import, of what all units share and of one item.
        shared: What all units share; with an executor it is pickled once, and each thread of a
            worker unpickles a copy of its own once. The processes of ``workers`` read it from a
            file; any other executor sends it along with each unit.
        items: One for each unit.
        executor: Any of ``concurrent.futures``, or Dask's ``client.get_executor()``; without one
            the units run here, in order. That of ``workers`` is ended by an error, and by whatever
            else stops the work: nobody waits for units that nobody needs.

    Raises:
        InputError: what the units share cannot be sent to another process.
        LandscapeError: a worker died, or Dask's scheduler.
    """
    if executor is None:
        for position, item in enumerate(items):
            yield position, unit(shared, item)
        return
    pending: dict[Future[Result], int] = {}
    with _sent(_Payload.of(shared), executor) as sent:
        try:
            for position, item in enumerate(items):
                pending[executor.submit(_call, unit, sent, item)] = position
            for future in as_completed(pending):
                yield pending[future], future.result()
        except BaseException as error:
            _stop(executor, pending)
            if isinstance(error, BrokenExecutor):
                raise LandscapeError(
                    "a worker process died, perhaps for want of memory; what was finished is "
                    "saved, and the same command goes on from there"
                ) from error
            if isinstance(error, CancelledError):
                raise LandscapeError(
                    "the Dask scheduler is gone, and its work with it; what was finished is saved, "
                    "and the same command goes on from there"
                ) from error
            raise


@contextmanager
def workers(processes: int = 0, dask: str | None = None) -> Iterator[Executor | None]:
    """An executor by its settings on the command line.

    Args:
        processes: So many on this machine; the cores are divided among them.
        dask: The address of a Dask scheduler, ``"tcp://host:8786"``.

    Yields:
        The executor, or ``None`` if neither is asked for: the units then run in this process. Its
        processes on this machine end at once with an error, and with this process, even if it is
        killed; Ctrl-C reaches them through this process alone.

    Raises:
        InputError: both are asked for, or more processes than cores; ``distributed`` is not
            installed, or no scheduler answers.
    """
    if processes < 0 or (processes and dask is not None):
        raise InputError("give a positive number of worker processes, or the address of Dask")
    cores = os.cpu_count() or 1
    if processes > max(2, cores):
        raise InputError(f"{processes} worker processes are more than this machine's {cores} cores")
    if dask is not None:
        with _dask_client(dask) as client:
            yield client.get_executor()
    elif processes:
        threads = max(1, cores // processes)
        with (
            tempfile.TemporaryDirectory(prefix="landscape-") as folder,
            _Pool(processes, threads, Path(folder)) as pool,
        ):
            try:
                yield pool
            except BaseException:
                pool.abandon()
                raise
    else:
        yield None


class _Pool(ProcessPoolExecutor):
    """Processes of this machine that Ctrl-C does not reach, and that can be left at once.

    ``ProcessPoolExecutor`` itself waits for whatever its processes are at, and its threads for
    pipes that nobody reads any more.

    Attributes:
        folder: What its processes read.
    """

    def __init__(self, processes: int, threads: int, folder: Path) -> None:
        # Not forked: a fork copies the locks of torch's threads, and not the threads.
        super().__init__(
            processes,
            multiprocessing.get_context("spawn"),
            initializer=functools.partial(_begin_worker, processes, threads, folder),
        )
        self.folder = folder

    def submit(
        self,
        fn: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        with _no_interrupts():  # it starts processes
            return super().submit(fn, *args, **kwargs)

    def abandon(self) -> None:
        """End the processes, whatever they are at, and what waits for them; the pool is done."""
        pool: Any = self  # with what no type checker knows of
        calls, results = pool._call_queue, pool._result_queue
        if calls is None:  # shut down before
            return
        with _no_interrupts():
            manager, processes = pool._executor_manager_thread, list(pool._processes.values())
            # Else the end of this process would wait until all that was submitted is written.
            calls.cancel_join_thread()
            # It cancels what has not begun; ``Future.cancel`` races with a pool that breaks.
            self.shutdown(wait=False, cancel_futures=True)
            # So that whoever reads meets an end where a process was killed in the middle of it.
            results._writer.close()
            for process in processes:
                process.kill()
            if manager is not None:
                manager.join(_PATIENCE)
            calls._reader.close()  # the thread that writes to it ends
            if calls._thread is not None:  # not in the midst of giving its semaphores back
                calls._thread.join(_PATIENCE)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Ctrl-C waits until the end, and never reaches the processes that are started meanwhile."""
    handler = signal.getsignal(signal.SIGINT)
    pressed: list[int] = []
    waits = callable(handler) and threading.current_thread() is threading.main_thread()
    if waits:
        signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    # A process inherits it, and so it holds from its first moment on.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if waits:
            signal.signal(signal.SIGINT, handler)
    if pressed:
        signal.raise_signal(signal.SIGINT)


def _stop(executor: Executor, pending: Iterable[Future[Any]]) -> None:
    if isinstance(executor, _Pool):
        executor.abandon()
        return
    for future in pending:
        future.cancel()


class _Payload:
    """Something pickled, that each thread of a worker unpickles once.

    Attributes:
        data: What was pickled, or the file that holds it.
        digest: Of what was pickled.
    """

    def __init__(self, data: bytes | Path, digest: str) -> None:
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

    def value(self) -> Any:
        """A copy of what was pickled."""
        # Written by ``run``, in the process that sent this one its work.
        if isinstance(self.data, bytes):
            return pickle.loads(self.data)
        with self.data.open("rb") as file:
            return pickle.load(file)


@contextmanager
def _sent(payload: _Payload, executor: Executor) -> Iterator[Any]:
    """What stands for the payload in each call, as small as the executor allows."""
    client = getattr(executor, "_client", None)
    if isinstance(executor, _Pool):
        with _file(payload, executor.folder) as path:
            yield _Payload(path, payload.digest)
    elif client is None:
        yield payload
    else:  # Dask's scheduler keeps what is submitted and makes it anew where a worker is lost.
        yield client.submit(_Payload.itself, payload, pure=False)


@contextmanager
def _file(payload: _Payload, folder: Path) -> Iterator[Path]:
    assert isinstance(payload.data, bytes)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(payload.data)
    except OSError as error:
        raise LandscapeError(
            f"could not write what the workers need to {folder}: {error.strerror or error}; name "
            "another folder in TMPDIR"
        ) from error
    try:
        yield Path(file.name)
    finally:
        Path(file.name).unlink(missing_ok=True)


# By thread, for a module in use by one thread is not another's to use.
_unpickled = threading.local()


def _shared(payload: _Payload) -> Any:
    if getattr(_unpickled, "digest", None) != payload.digest:
        _unpickled.value, _unpickled.digest = payload.value(), payload.digest
    return _unpickled.value


def _call(unit: Callable[[Any, Item], Result], payload: _Payload, item: Item) -> Result:
    return unit(_shared(payload), item)


def _begin_worker(processes: int, threads: int, folder: Path) -> None:
    # A terminal sends Ctrl-C to all processes; the one that waits for this one decides. Until now
    # it was blocked, by ``_no_interrupts``.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_the_parent, args=(folder,), daemon=True).start()
    memory.divide_among(processes)
    torch.set_num_threads(threads)


def _end_with_the_parent(folder: Path) -> None:
    """End this process where the one that sent it its work is gone, killed even."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    shutil.rmtree(folder, ignore_errors=True)  # nobody else is left to do it
    os._exit(1)


@contextmanager
def _dask_client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("--dask needs 'pip install landscape[dask]'") from error
    # It logs a traceback where the scheduler is gone, of which ``run`` says what is to be said.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    fault: str | None = None
    try:
        client: Any = Client(address, timeout=10, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        fault = str(error)
    if fault is not None:
        # What there is of the client waits for a lock of Dask's when it is collected. Now nobody
        # holds that; later it may be the very thread in which it is collected.
        gc.collect()
        raise InputError(f"no Dask scheduler answers at '{address}': {fault}")
    with client:
        if not client.scheduler_info()["workers"]:
            _LOG.warning("the Dask scheduler at %s has no worker yet: waiting for one", address)
        yield client
