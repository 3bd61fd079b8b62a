"""Progress on standard error: a bar in a terminal, a line for each tenth elsewhere."""

import io
import subprocess
import sys

import pytest
from cases import classification, mlp

from landscape.curvature import measure
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Posterior, isotropic
from landscape.runtime.progress import Progress, reporter, say
from landscape.surfaces import line, surface


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def posterior() -> Posterior:
    model = mlp()
    return isotropic(model, 0.1, mean=ParameterSpace(model).vector())


def test_outside_a_terminal_each_tenth_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show = Progress("work")
    for done in range(1, 101):
        show(done, 100, "fine")
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert [row.split(",")[0] for row in lines] == [f"work: {ten}0/100" for ten in range(1, 11)]
    assert all(row.endswith(", fine") for row in lines)


def test_units_of_an_earlier_run_are_counted_and_take_no_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show = Progress("work")
    show._begun -= 10
    show(98, 100)
    assert capsys.readouterr().err == "work: 98/100, 20 s left\n"


def test_in_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_a_terminal(monkeypatch)
    show = Progress("work", lambda row: f"lambda_1 {row['value']:.1f}")
    show._begun -= 7
    show(3, 4, {"value": 1.0})
    assert "3/4 [00:07<00:07" in terminal.getvalue()
    say("a warning")
    show(4, 4, {"value": 2.0})
    shown = terminal.getvalue()
    assert "a warning\n" in shown
    last = shown.rstrip().split("\r")[-1]
    assert "work: 100%" in last
    assert "4/4 [00:07<00:00" in last
    assert "lambda_1 2.0" in last
    assert shown.endswith("\n")


def test_what_is_shown_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_terminal(monkeypatch)

    def callback(*_: object) -> None:
        pass

    assert reporter(callback, "work") is callback
    assert reporter(False, "work") is None
    assert isinstance(reporter(True, "work"), Progress)
    assert isinstance(reporter(None, "work"), Progress)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(reporter(True, "work"), Progress)
    assert reporter(None, "work") is None
    monkeypatch.setattr("landscape.runtime.distributed.rank", lambda: 1)
    assert reporter(True, "work") is None


def test_a_notebook_has_a_bar() -> None:
    code = """
import io, sys
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
from landscape.runtime.progress import Progress, reporter
assert reporter(None, "work") is None
InteractiveShell.instance(config=Config(IPKernelApp={}))
assert isinstance(reporter(None, "work"), Progress)
"""
    pytest.importorskip("IPython")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_long_work_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_a_terminal(monkeypatch)
    q, batches = posterior(), classification()
    measure(q, batches, samples=2, eigenvalues=1)
    assert "curvature: 100%" in terminal.getvalue()
    surface(q, batches, samples=3, shape=(2, 2))
    assert "loss surface: 100%" in terminal.getvalue()
    line(q, batches, kind="samples", points=3)
    assert "loss along a line: 100%" in terminal.getvalue()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    measure(q, batches, samples=2, eigenvalues=1)
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]
    measure(q, batches, samples=2, eigenvalues=1, progress=True)
    assert "curvature: 2/2" in sys.stderr.getvalue()  # type: ignore[attr-defined]
