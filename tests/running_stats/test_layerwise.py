"""Calls in lockstep: their order, their ends, and what they find set."""

import signal
import threading
import time
from functools import partial
from typing import Any

import pytest
import torch

from landscape.running_stats.layerwise import Lockstep


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Any:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("held", ["", "a", "ab", "abc"])
def test_steps_are_done_together_and_once_whatever_is_held(held: str) -> None:
    """The calls of three lengths; those that are not held begin again for each step."""
    lengths = {"a": 3, "b": 0, "c": 2}
    again = "abc".removeprefix(held)
    lockstep = Lockstep()
    done: list[tuple[str, int]] = []
    begun: list[str] = []

    def function(name: str) -> str:
        begun.append(name)
        for step in range(lengths[name]):
            lockstep.step(partial(done.append, (name, step)))
        return f"{name} done"

    for _ in range(2):
        done.clear()
        begun.clear()
        assert lockstep.run(function, held, again) == ["a done", "b done", "c done"]
        assert done == [("a", 0), ("c", 0), ("a", 1), ("c", 1), ("a", 2)]
        assert begun == [*held, *(4 * again)]  # three steps, and the end


def test_no_except_exception_keeps_a_call_that_is_given_up() -> None:
    lockstep = Lockstep()
    caught: list[int] = []

    def function(name: int) -> int:
        try:
            lockstep.step(lambda: None)
        except Exception:
            caught.append(name)
        return name

    assert lockstep.run(function, [0], [1]) == [0, 1]
    assert not caught


def test_a_single_call_stays_in_its_thread() -> None:
    lockstep = Lockstep()

    def function(_: Any) -> threading.Thread:
        lockstep.step(lambda: None)
        return threading.current_thread()

    assert lockstep.run(function, [0]) == [threading.current_thread()]
    assert threading.current_thread() not in lockstep.run(function, [0, 1])
    assert lockstep.run(function, []) == []


@pytest.mark.parametrize("held", ["abc", "a", ""])
def test_an_error_of_one_ends_all_and_what_they_have_open(held: str) -> None:
    lockstep = Lockstep()
    opened: list[str] = []

    def function(name: str) -> None:
        opened.append(name)
        try:
            lockstep.step(lambda: None)
            if name == "b":
                raise ValueError("of b")
            lockstep.step(lambda: None)
        finally:
            opened.remove(name)

    with pytest.raises(ValueError, match="of b"):
        lockstep.run(function, held, "abc".removeprefix(held))
    assert opened == []


def test_an_interruption_ends_all() -> None:
    lockstep = Lockstep()
    told: list[int] = []

    def function(name: int) -> None:
        for _ in range(10):
            told.append(name)
            if len(told) == 7:
                signal.raise_signal(signal.SIGINT)
                time.sleep(0.05)
            lockstep.step(lambda: None)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            lockstep.run(function, [0, 1, 2])
    finally:
        signal.signal(signal.SIGINT, before)
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
            lockstep.step(lambda: None)
            return torch.is_grad_enabled()

    assert lockstep.run(function, "abc") == [True, False, False]
    assert torch.is_grad_enabled()
