"""Calls in lockstep: their order, their ends, and what they find set."""

import signal
import threading
import time
from typing import Any

import pytest
import torch

from landscape.lockstep import Lockstep


def stepping(lockstep: Lockstep, told: list[tuple[Any, int]], lengths: dict[Any, int]) -> Any:
    """A function that tells of each of its steps."""

    def function(name: Any) -> str:
        for step in range(lengths[name]):
            told.append((name, step))
            lockstep.wait()
        return f"{name} done"

    return function


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Any:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_calls_take_turns_and_the_shorter_end_first() -> None:
    lockstep = Lockstep()
    told: list[tuple[Any, int]] = []
    function = stepping(lockstep, told, {"a": 3, "b": 0, "c": 2})
    for _ in range(2):
        told.clear()
        assert lockstep.run(function, ["a", "b", "c"]) == ["a done", "b done", "c done"]
        assert told == [("a", 0), ("c", 0), ("a", 1), ("c", 1), ("a", 2)]


def test_a_single_call_stays_in_its_thread() -> None:
    lockstep = Lockstep()

    def function(_: Any) -> threading.Thread:
        lockstep.wait()
        return threading.current_thread()

    assert lockstep.run(function, [0]) == [threading.current_thread()]
    assert threading.current_thread() not in lockstep.run(function, [0, 1])
    assert lockstep.run(function, []) == []


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_calls_are_given_up_after_so_many_steps(names: str, steps: int) -> None:
    lockstep = Lockstep(steps)
    told: list[tuple[Any, int]] = []
    function = stepping(lockstep, told, {"a": 5, "b": 1, "c": 5})
    ended = {"b": "b done"} if steps > 1 else {}
    for _ in range(2):
        told.clear()
        assert lockstep.run(function, names) == [ended.get(name) for name in names]
        assert told == [
            (name, step) for step in range(steps) for name in names if step == 0 or name != "b"
        ]


def test_an_error_of_one_ends_all_and_runs_their_last_wishes() -> None:
    lockstep = Lockstep()
    closed = []

    def function(name: str) -> None:
        try:
            lockstep.wait()
            if name == "b":
                raise ValueError("of b")
            lockstep.wait()
        except Exception:
            assert name == "b"  # the others are not given up by an Exception
            raise
        finally:
            closed.append(name)

    with pytest.raises(ValueError, match="of b"):
        lockstep.run(function, "abc")
    assert sorted(closed) == ["a", "b", "c"]


def test_an_interruption_ends_all() -> None:
    lockstep = Lockstep()
    told: list[int] = []

    def function(name: int) -> None:
        while True:
            told.append(name)
            if len(told) == 7:
                signal.raise_signal(signal.SIGINT)
                time.sleep(0.05)
            lockstep.wait()

    with pytest.raises(KeyboardInterrupt):
        lockstep.run(function, [0, 1, 2])
    assert len(told) == 7


def test_calls_find_the_modes_of_the_caller() -> None:
    lockstep = Lockstep()

    def modes(_: Any) -> Any:
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.empty(0).device

    cpu, meta = torch.device("cpu"), torch.device("meta")
    assert lockstep.run(modes, [0, 1]) == [(True, False, cpu)] * 2
    with torch.no_grad(), meta:
        assert lockstep.run(modes, [0, 1]) == [(False, False, meta)] * 2
    with torch.inference_mode():
        assert lockstep.run(modes, [0, 1]) == [(False, True, cpu)] * 2


def test_modes_that_a_call_enters_are_its_own() -> None:
    lockstep = Lockstep()

    def function(name: str) -> bool:
        with torch.set_grad_enabled(name == "a"):
            lockstep.wait()
            return torch.is_grad_enabled()

    assert lockstep.run(function, "abc") == [True, False, False]
    assert torch.is_grad_enabled()
