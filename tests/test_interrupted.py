"""Work on several processes that is interrupted or killed: it ends at once, and as a whole."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from landscape.store import Run

# The first unit is finished at once, and no other one ever; what is sent fills every pipe.
PATIENT = """
import sys, time
from pathlib import Path
from landscape.runtime import executors

def rest(folder, item):
    (folder / item[:1].decode()).touch()
    if item[:1] != b"0":
        time.sleep(600)

def work():
    items = [str(number).encode() + bytes(1 << 20) for number in range(8)]
    with executors.workers(2) as executor:
        for position, _ in executors.run(rest, Path(sys.argv[1]), items, executor):
            print(position, flush=True)

if __name__ == "__main__":
    try:
        work()
    except KeyboardInterrupt:
        print("stopped", flush=True)
        sys.exit(130)
"""
# Python imports this first of all. A worker then imports until it is killed.
SLOW_TO_IMPORT = """
import sys, time
from pathlib import Path
if any("popen_loky" in word for word in sys.orig_argv):
    Path(__file__).with_name("importing").touch()
    time.sleep(600)
"""
# Ctrl-C arrives where Python prints and ignores what is raised.
IGNORED = """
import os, signal, sys, time, weakref
from landscape.runtime.interrupts import repeated_interrupts

class Thing:
    pass

class Collected:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))

def called_back(_):
    os.kill(os.getpid(), signal.SIGINT)
    sum(range(1000))

try:
    with repeated_interrupts():
        if sys.argv[1] == "weak reference":
            thing = Thing()
            reference = weakref.ref(thing, called_back)
            del thing
        else:
            Collected()
        print("lost", flush=True)
        time.sleep(600)
except KeyboardInterrupt:
    print("stopped", flush=True)
    sys.exit(130)
"""
SECONDS = 30.0  # to be gone; it takes one, and the machine may be busy


@contextmanager
def started(*command: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process in a group of its own, as a shell starts it in a terminal."""
    with subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
        # A job in a shell's background ignores it, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            yield process
        finally:
            if alive(process.pid):
                os.killpg(process.pid, signal.SIGKILL)


def alive(group: int) -> bool:
    """Whether any process of a group is."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "patient.py"
    path.write_text(PATIENT)
    return path


@pytest.mark.parametrize("send", [os.killpg, os.kill], ids=["to the group", "to the parent"])
@pytest.mark.parametrize("busy", [True, False], ids=["at work", "importing"])
def test_ctrl_c_ends_every_process_at_once_and_silently(
    script: Path, tmp_path: Path, send: Callable[[int, int], None], busy: bool
) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "temporary").mkdir()
    environment = {"TMPDIR": str(tmp_path / "temporary")}
    if not busy:
        (tmp_path / "sitecustomize.py").write_text(SLOW_TO_IMPORT)
        environment["PYTHONPATH"] = os.pathsep.join(map(str, (tmp_path, *sys.path)))
    with started(script, tmp_path / "begun", **environment) as process:
        if busy:
            assert until(lambda: len(list((tmp_path / "begun").iterdir())) > 2, 60)
        else:
            assert until(lambda: (tmp_path / "importing").exists(), 60)
        send(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
        assert until(lambda: not alive(process.pid), SECONDS)
    assert process.returncode == 130
    assert out.split() == (["0", "stopped"] if busy else ["stopped"])
    assert err == ""
    assert not list((tmp_path / "temporary").iterdir())


def test_processes_end_with_a_parent_that_is_killed(script: Path, tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "temporary").mkdir()
    with started(script, tmp_path / "begun", TMPDIR=str(tmp_path / "temporary")) as process:
        assert until(lambda: len(list((tmp_path / "begun").iterdir())) > 2, 60)
        process.kill()
        process.wait()
        assert until(lambda: not alive(process.pid), SECONDS)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("place", ["weak reference", "destructor"])
def test_ctrl_c_is_not_lost_where_python_ignores_errors(tmp_path: Path, place: str) -> None:
    path = tmp_path / "ignored.py"
    path.write_text(IGNORED)
    with started(path, place) as process:
        out, err = process.communicate(timeout=SECONDS)
    assert out.split() == ["lost", "stopped"]
    assert process.returncode == 130
    assert err == ""


def test_ctrl_c_during_a_measurement_is_one_line_and_keeps_what_is_finished(
    trained_run: Path, tmp_path: Path
) -> None:
    for ending in (".h5", ".safetensors"):
        shutil.copy(trained_run.with_suffix(ending), tmp_path)
    path = tmp_path / "run.h5"

    def finished() -> int:
        run = Run.open(path)
        return len(run["samples"]["seconds"]) if "samples" in run else 0

    few = ["--eigenvalues", "1", "--trace-matvecs", "6", "--grid", "0"]
    command = ["-m", "landscape", "measure", path, "--samples", "500", *few, "--workers", "2"]
    with started(*command) as process:
        assert until(lambda: finished() > 1, 60)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
        assert until(lambda: not alive(process.pid), SECONDS)
    told = ("curvature: ", "memory: ")  # progress, and what was planned
    lines = [line for line in err.splitlines() if line and not line.startswith(told)]
    assert lines == ["landscape: stopped; finished results are in the run files"]
    assert process.returncode == 130
    assert out == ""
    assert finished() > 1
    assert Run.open(path).attributes["status"] == "failed"
