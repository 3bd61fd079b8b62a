"""Units of work on executors: the same results as here, and clear ends."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import Memory, classification, mlp
from units import (
    SHORTLY,
    Shared,
    add,
    die,
    die_once_at_two,
    identity_of_the_process,
    num_threads,
    whose,
)

from landscape.curvature import measure
from landscape.errors import InputError, LandscapeError, LandscapeWarning
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Posterior, isotropic
from landscape.runtime import executors
from landscape.surfaces import surface

SETTINGS: dict[str, Any] = {"samples": 4, "eigenvalues": 2, "density_probes": 2}


def posterior() -> Posterior:
    model = mlp()
    return isotropic(model, 0.1, mean=ParameterSpace(model).vector())


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor | None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 4)
        with executors.workers(processes=2) as executor:
            yield executor


def test_without_an_executor_units_run_here_in_order() -> None:
    assert list(executors.run(add, {"base": 2}, [1, 5])) == [(0, 3), (1, 7)]
    with executors.workers() as nothing:
        assert nothing is None


def test_results_come_with_their_position() -> None:
    with ThreadPoolExecutor(2) as executor:
        found = dict(executors.run(add, {"base": 1}, range(20), executor))
    assert found == {position: position + 1 for position in range(20)}


def test_processes_measure_what_one_process_does(pool: Executor) -> None:
    q, batches, store = posterior(), classification(), Memory()
    here = measure(q, batches, **SETTINGS)
    there = measure(q, batches, **SETTINGS, store=store, executor=pool)
    for name in ("eigenvalues", "trace", "loss", "accuracy", "matvecs"):
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=1e-9)
    stored = store.read("samples")
    assert list(stored["sample"]) == [0, 1, 2, 3]
    np.testing.assert_array_equal(stored["trace"], there.trace)
    one, two = (
        surface(q, batches, samples=4, shape=(3, 5), executor=each) for each in (None, pool)
    )
    np.testing.assert_allclose(one.loss, two.loss, rtol=1e-12)


def test_processes_share_the_cores(pool: Executor) -> None:
    assert dict(executors.run(num_threads, None, [0, 1], pool)) == {0: 2, 1: 2}


def test_each_thread_has_a_copy_of_its_own() -> None:
    # A module in use has the weights of its user: two threads must not meet in one.
    with ThreadPoolExecutor(2) as executor:
        found = [copy for _, copy in executors.run(whose, Shared(), range(6), executor)]
    threads, copies = zip(*found, strict=True)
    assert len(set(threads)) == len(set(copies)) == len(set(found)) == 2


def test_an_error_in_a_worker_arrives_as_it_is(pool: Executor) -> None:
    with pytest.raises(InputError, match="no batch"):
        measure(posterior(), [], samples=2, executor=pool)


def test_what_cannot_be_sent_is_said_before_anything_starts(pool: Executor) -> None:
    lock = threading.Lock()

    def own(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with lock:
            return torch.nn.functional.cross_entropy(outputs, targets)

    with pytest.raises(InputError, match="cannot be sent to another process"):
        measure(posterior(), classification(), samples=2, loss=own, executor=pool)


def test_a_function_of_a_script_or_notebook_can_be_sent(pool: Executor) -> None:
    def own(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs, targets)

    settings: dict[str, Any] = {"samples": 2, "eigenvalues": 1, "loss": own}
    here = measure(posterior(), classification(), **settings)
    there = measure(posterior(), classification(), **settings, executor=pool)
    np.testing.assert_allclose(there.trace, here.trace, rtol=1e-9)


def test_a_worker_that_dies_twice_is_reported() -> None:
    with (
        executors.workers(processes=1) as executor,
        pytest.warns(LandscapeWarning, match="worker process died.* run again"),
        pytest.raises(LandscapeError, match="worker process died"),
    ):
        list(executors.run(die, None, [1, 2], executor))


def test_a_worker_that_is_killed_costs_its_unit_alone(tmp_path: Path) -> None:
    def arriving(executor: Executor | None) -> Iterator[tuple[int, int]]:
        for result in executors.run(die_once_at_two, tmp_path, range(4), executor):
            yield result
            if result == (1, 1):
                (tmp_path / "arrived").touch()

    with (
        executors.workers(processes=1) as executor,
        pytest.warns(LandscapeWarning, match="worker process died") as warned,
    ):
        results = list(arriving(executor))
    assert results == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert len(warned) == 1
    (tmp_path / "arrived").unlink()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        **dict.fromkeys("013", "."),
        "2": "..",
    }


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InputError, match="more than this machine's"), executors.workers(9999):
        pass
    with pytest.raises(InputError, match="positive number"), executors.workers(-1):
        pass


def test_a_dask_client_that_could_not_be_made_is_gone() -> None:
    # Else its end, in whichever thread, would wait for a lock that a later client's start holds.
    client = pytest.importorskip("distributed").Client
    with (
        pytest.raises(InputError, match="no Dask scheduler answers"),
        executors.workers(dask="nonsense"),
    ):
        pass
    assert not [each for each in gc.get_objects() if type(each) is client]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as found:
        yield found


def test_a_dask_cluster_measures_what_one_process_does(cluster: Any) -> None:
    q, batches = posterior(), classification()
    here = measure(q, batches, **SETTINGS)
    with executors.workers(dask=cluster.scheduler_address) as executor:
        there = measure(q, batches, **SETTINGS, executor=executor)
    for name in ("eigenvalues", "trace", "loss", "matvecs"):
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=1e-9)


def test_a_dask_worker_that_is_killed_is_replaced(cluster: Any, tmp_path: Path) -> None:
    def kill_the_first() -> None:
        while not (started := sorted(tmp_path.iterdir())):
            time.sleep(SHORTLY)
        killed.append(int(started[0].name))
        os.kill(killed[0], signal.SIGKILL)

    killed: list[int] = []
    killer = threading.Thread(target=kill_the_first)
    killer.start()
    with executors.workers(dask=cluster.scheduler_address) as executor:
        found = dict(executors.run(identity_of_the_process, tmp_path, range(6), executor))
    killer.join()
    assert sorted(found) == list(range(6))
    assert len({int(each.name) for each in tmp_path.iterdir()}) >= 2
    assert killed


def test_a_dask_scheduler_that_dies_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("distributed")
    said = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    command += ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(said)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as scheduler:
        try:
            while not said.exists() or not said.read_text():
                assert scheduler.poll() is None
                time.sleep(SHORTLY)
            with executors.workers(dask=json.loads(said.read_text())["address"]) as executor:

                def kill_when_all_is_sent() -> None:
                    while len(executor._client.futures) < 7:  # six units and what they share
                        time.sleep(SHORTLY)
                    scheduler.kill()

                threading.Thread(target=kill_when_all_is_sent).start()
                with pytest.raises(LandscapeError, match="scheduler died"):
                    list(executors.run(identity_of_the_process, tmp_path, range(6), executor))
        finally:
            scheduler.kill()
    assert "has no worker yet" in caplog.text
