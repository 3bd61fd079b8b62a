"""A reader never meets half a file, whatever happens to the writer."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from landscape.errors import InputError, LandscapeError
from landscape.runtime.files import atomic_write
from landscape.store import Run, ensure_writable

WRITERS = """
import os, sys
import numpy as np
from landscape.store import Run
for _ in sys.stdin:  # a line asks for a writer, which starts with all imports made
    writer = os.fork()
    if writer == 0:
        run = Run.open(sys.argv[1])
        print(os.getpid(), flush=True)
        n = 0
        while True:
            n += 1
            both = {"trace": np.full(20_000, float(n)), "loss": np.full(20_000, float(n))}
            run.write("samples", both)
    print(os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]), flush=True)
"""


def test_a_killed_writer_leaves_a_whole_file_and_a_reader_never_meets_half(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run.h5")
    run.write("samples", {"trace": [0.0], "loss": [0.0]})
    last = 0.0
    command = [sys.executable, "-c", WRITERS, str(run.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        for attempt in range(6):
            print("write", file=writers.stdin, flush=True)
            writer = int(writers.stdout.readline())
            until = time.monotonic() + 0.05 + 0.037 * attempt
            while time.monotonic() < until or last == 0:  # a busy machine may be slow to write
                assert writers.poll() is None
                group = Run.open(run.path)["samples"]
                assert len(set(group["trace"]) | set(group["loss"])) == 1
                last = max(last, group["trace"][0])
            os.kill(writer, signal.SIGKILL)
            assert writers.stdout.readline() == f"{-signal.SIGKILL}\n"  # it was alive until then
            group = Run.open(run.path)["samples"]
            assert len(set(group["trace"]) | set(group["loss"])) == 1
            last = max(last, group["trace"][0])
    assert last > 0
    Run.open(run.path).set_attributes(status="complete")
    assert [path.name for path in tmp_path.iterdir()] == ["run.h5"]


FULL_DISK = """
import resource, signal, sys
from landscape.errors import LandscapeError
from landscape.store import Run
import numpy as np
run = Run.open(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    run.write("samples", {"trace": np.random.default_rng(0).normal(size=100_000)})
except LandscapeError as error:
    print(error)
"""


def test_a_full_disk_is_one_line_and_the_earlier_version_stays(run: Run) -> None:
    before = run.path.read_bytes()
    command = [sys.executable, "-c", FULL_DISK, str(run.path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = found.stdout.splitlines()
    assert len(lines) == 1, found.stderr
    assert lines[0].startswith(f"could not write {run.path}: ")
    assert "intact" in lines[0]
    assert run.path.read_bytes() == before
    assert [path.name for path in run.path.parent.iterdir()] == ["run.h5"]


FILLERS = """
import os, sys
from landscape.store import Run
children = []
for name in "ab":
    children.append(os.fork())
    if children[-1] == 0:
        run = Run.open(sys.argv[1])
        for n in range(20):
            run.write(f"surfaces/{name}{n}", {"sample_x": [float(n)]})
        os._exit(0)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
"""


def test_two_processes_fill_one_file(run: Run) -> None:
    subprocess.run([sys.executable, "-c", FILLERS, str(run.path)], timeout=240, check=True)
    written = {f"surfaces/{name}{n}" for name in "ab" for n in range(20)}
    assert written <= set(run.groups)


def test_what_a_killed_writer_left_behind_is_removed_by_the_next(tmp_path: Path) -> None:
    path, other = tmp_path / "file[1]", tmp_path / ".file1.12ab.tmp"
    (tmp_path / ".file[1].12ab.tmp").write_text("half")
    other.write_text("another file's")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert sorted(tmp_path.iterdir()) == sorted([other, path])


def test_an_error_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise LandscapeError("stopped")

    with pytest.raises(LandscapeError):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_and_links_stay_and_a_read_only_file_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "run.h5", tmp_path / "run.h5"
    Run.create(target)
    target.chmod(0o600)
    link.symlink_to(target)
    Run.open(link).write("samples", {"trace": [1.0]})
    assert link.is_symlink()
    assert Run.open(target)["samples"]["trace"] == [1.0]
    assert target.stat().st_mode & 0o777 == 0o600
    target.chmod(0o400)
    before = target.read_bytes()
    with pytest.raises(LandscapeError, match=r"could not write .*run\.h5: it is read-only"):
        Run.open(link).write("samples", {"trace": [2.0]})
    assert target.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another folder"):
        Run.create(tmp_path / "file" / "run.h5")
    ensure_writable(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()
    assert list((tmp_path / "new" / "folder").iterdir()) == []
