"""Independent units of work: plain functions, run in this process or on an executor."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from landscape.errors import InputError, LandscapeError, LandscapeWarning
from landscape.runtime import memory

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

_LOG = logging.getLogger(__name__)
_POLL = 0.5  # seconds between two looks at whether the parent process still lives


def run(
    unit: Callable[[Shared, Item], Result],
    shared: Shared,
    items: Iterable[Item],
    executor: Executor | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield (position of the item, ``unit(shared, item)``) as soon as a unit is finished.

    A worker of ``workers`` may be killed, for example by the system when memory runs out. Results
    that have arrived are kept, the unfinished units run once more on new workers, and a warning
    says so. If a worker is killed again, the work ends with an error.

    Args:
        unit: A function of the shared value and one item.
        shared: The value that all units share. An executor's workers get a pickled copy, and each
            thread of a worker unpickles it once. The workers of ``workers`` read it from a file;
            other executors send it with each unit.
        items: One item for each unit.
        executor: Any executor of ``concurrent.futures``, or Dask's ``client.get_executor()``.
            Without one, the units run here, in order. An error or Ctrl-C kills the workers of
            ``workers`` at once.

    Raises:
        InputError: The shared value cannot be pickled, for example because of an open file.
        LandscapeError: A worker died twice, or Dask's scheduler died.
    """
    if executor is None:
        for position, item in enumerate(items):
            yield position, unit(shared, item)
        return
    missing = dict(enumerate(items))
    with _sent(_Payload.of(shared), executor) as payload:
        restarted = False
        while missing:
            try:
                futures: dict[Future[Result], int] = {}
                for position, item in missing.items():
                    futures[executor.submit(_call, unit, payload, item)] = position
                for future in as_completed(futures):
                    result = future.result()
                    del missing[futures[future]]
                    yield futures[future], result
            except BaseException as error:
                _stop(executor, futures)
                if isinstance(error, CancelledError):
                    raise LandscapeError(
                        "the Dask scheduler died, and its work with it; finished results are "
                        "saved, and the same command continues from there"
                    ) from error
                if not isinstance(error, BrokenExecutor):
                    raise
                if restarted or not isinstance(executor, _Pool):
                    raise LandscapeError(
                        "a worker process died, perhaps because memory ran out; finished results "
                        "are saved, and the same command continues from there"
                    ) from error
                restarted = True
                warnings.warn(
                    "a worker process died, perhaps because memory ran out; the unfinished units "
                    "run again",
                    LandscapeWarning,
                    stacklevel=2,
                )


@contextmanager
def workers(processes: int = 0, dask: str | None = None) -> Iterator[Executor | None]:
    """Give an executor by the settings of the command line.

    Args:
        processes: Number of worker processes on this machine. They share its cores and memory.
        dask: Address of a Dask scheduler, ``"tcp://host:8786"``.

    Yields:
        The executor, or ``None`` if neither is given: the units then run in this process. Worker
        processes of this machine end at the end of the block, and also if this process is killed.
        Ctrl-C reaches this process only.

    Raises:
        InputError: Both are given, or there are more processes than cores; ``distributed`` is not
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
        with tempfile.TemporaryDirectory(prefix="landscape-") as folder:
            pool = _Pool(processes, max(1, cores // processes), Path(folder))
            try:
                yield pool
            finally:
                pool.kill()
    else:
        yield None


class _Pool(Executor):
    """Loky's processes, which Ctrl-C does not reach; after ``kill`` it starts new ones.

    Attributes:
        folder: Folder of the files that the workers read.
    """

    def __init__(self, processes: int, threads: int, folder: Path) -> None:
        self.folder = folder
        self._processes = processes
        self._begin = (os.getpid(), processes, folder)
        self._environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        self._loky: Executor | None = None
        # Loky starts it too; on Python 3.11 its start ends the block of signals below.
        resource_tracker.ensure_running()

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        from loky import ProcessPoolExecutor  # only those who ask for workers wait for its import

        with _no_interrupts():  # it starts processes
            if self._loky is None:
                self._loky = ProcessPoolExecutor(
                    self._processes,
                    initializer=_begin_worker,
                    initargs=self._begin,
                    env=self._environment,
                )
            return self._loky.submit(fn, *args, **kwargs)

    def kill(self) -> None:
        """End the processes at once."""
        pool, self._loky = self._loky, None
        if pool is not None:
            with _no_interrupts():
                pool.shutdown(kill_workers=True)  # type: ignore[call-arg]


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Delay Ctrl-C to the end of the block; processes that start within it never receive it."""
    handler = signal.getsignal(signal.SIGINT)
    pressed: list[int] = []
    is_delayed = callable(handler) and threading.current_thread() is threading.main_thread()
    if is_delayed:
        signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # new processes inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if is_delayed:
            signal.signal(signal.SIGINT, handler)
    if pressed:
        signal.raise_signal(signal.SIGINT)


def _stop(executor: Executor, futures: Iterable[Future[Any]]) -> None:
    if isinstance(executor, _Pool):
        executor.kill()
    else:
        for future in futures:
            future.cancel()


class _Payload:
    """A pickled value that each thread of a worker unpickles once.

    Attributes:
        data: The pickled bytes, or the file that holds them.
        digest: SHA-256 of the bytes.
    """

    def __init__(self, data: bytes | Path, digest: str) -> None:
        self.data, self.digest = data, digest

    @classmethod
    def of(cls, value: object) -> _Payload:
        import cloudpickle  # it also sends functions and classes of a notebook or script

        try:
            data = cloudpickle.dumps(value)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InputError(
                "the posterior, data or loss cannot be sent to another process "
                f"({error}): work without an executor"
            ) from error
        return cls(data, hashlib.sha256(data).hexdigest())

    def itself(self) -> _Payload:
        return self

    def value(self) -> Any:
        """A new copy of the value."""
        # ``run`` wrote these bytes, in the process that sends this one its work.
        if isinstance(self.data, bytes):
            return pickle.loads(self.data)
        with self.data.open("rb") as file:
            return pickle.load(file)


@contextmanager
def _sent(payload: _Payload, executor: Executor) -> Iterator[Any]:
    """The payload in the smallest form that the executor allows."""
    client = getattr(executor, "_client", None)
    if isinstance(executor, _Pool):
        with _file(payload, executor.folder) as path:
            yield _Payload(path, payload.digest)
    elif client is None:
        yield payload
    else:  # Dask's scheduler keeps submitted values and computes them again if a worker is lost.
        yield client.submit(_Payload.itself, payload, pure=False)


@contextmanager
def _file(payload: _Payload, folder: Path) -> Iterator[Path]:
    assert isinstance(payload.data, bytes)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(payload.data)
    except OSError as error:
        raise LandscapeError(
            f"could not write the workers' data to {folder}: {error.strerror or error}; name "
            "another folder in TMPDIR"
        ) from error
    try:
        yield Path(file.name)
    finally:
        Path(file.name).unlink(missing_ok=True)


# One copy for each thread: two threads cannot share a module that has other weights in use.
_unpickled = threading.local()


def _call(unit: Callable[[Any, Item], Result], payload: _Payload, item: Item) -> Result:
    if getattr(_unpickled, "digest", None) != payload.digest:
        _unpickled.value, _unpickled.digest = payload.value(), payload.digest
    return unit(_unpickled.value, item)


def _begin_worker(parent: int, processes: int, folder: Path) -> None:
    # A terminal sends Ctrl-C to all processes; the parent alone decides. ``_no_interrupts`` blocked
    # the signal until now.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_the_parent, args=(parent, folder), daemon=True).start()
    memory.divide_among(processes)


def _end_with_the_parent(parent: int, folder: Path) -> None:
    """End this process when its parent is gone, even if the parent was killed."""
    while os.getppid() == parent:
        time.sleep(_POLL)
    shutil.rmtree(folder, ignore_errors=True)  # nobody else can remove it now
    os._exit(1)


@contextmanager
def _dask_client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("--dask needs 'pip install distributed'") from error
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
