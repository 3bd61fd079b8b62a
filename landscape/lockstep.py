"""Calls that go on side by side: where one waits, the others catch up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch


class Lockstep:
    """Calls of one function, in steps that end where the function calls ``wait``.

    Only one call runs at a time, and in each step they take turns in the same order. Each has a
    thread of its own: one that stops in the middle leaves its place, and torch's modes, there.

    Args:
        steps: After which the calls are given up; ``None`` for never.
    """

    def __init__(self, steps: int | None = None) -> None:
        self._steps = steps
        self._step = 1
        self._turn: _Call | None = None

    def run(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        """Call ``function`` on each argument.

        Returns:
            What the calls return; ``None`` for those given up.

        Raises:
            BaseException: what a call raises; the others are then given up.
        """
        self._step = 1
        if len(arguments) == 1:  # has nobody to wait for
            with suppress(_GivenUp):
                return [function(arguments[0])]
            return [None]
        calls = [_Call(function, argument) for argument in arguments]
        waiting = calls
        try:
            while waiting:
                waiting = [call for call in waiting if self._waits(call)]
                self._step += 1
        finally:
            self._turn = None
            for call in calls:
                call.give_up()
        return [call.result for call in calls]

    def wait(self) -> None:
        """End a step; to be called by the function, in its own thread."""
        if self._step == self._steps:
            raise _GivenUp
        if self._turn is None:
            self._step += 1
        else:
            self._turn.wait()

    def _waits(self, call: _Call) -> bool:
        self._turn = call
        return call.go_on()


class _GivenUp(BaseException):
    """Unwinds a call, past any ``except Exception`` on its way."""


class _Call(threading.Thread):
    """A call that can stop in the middle.

    Attributes:
        result: What it has returned.
    """

    def __init__(self, function: Callable[[Any], Any], argument: Any) -> None:
        super().__init__(daemon=True)
        self.result: Any = None
        self._work = partial(function, argument)
        self._modes = _modes()
        self._error: BaseException | None = None
        self._ended = self._given_up = False
        self._may_go, self._has_stopped = threading.Semaphore(0), threading.Semaphore(0)

    def go_on(self) -> bool:
        """Run until it waits; False where it ends instead.

        Raises:
            BaseException: what the call raises.
        """
        if self.ident is None:
            self.start()
        self._may_go.release()
        self._has_stopped.acquire()
        if self._error is not None:
            raise self._error
        return not self._ended

    def give_up(self) -> None:
        """End it where it waits."""
        self._given_up = True
        self._may_go.release()
        if self.ident is not None:
            self.join()

    def wait(self) -> None:
        """Stop, to go on when told; in the call's own thread."""
        self._has_stopped.release()
        self._may_go.acquire()
        if self._given_up:
            raise _GivenUp

    def run(self) -> None:
        """The thread's own; see ``threading.Thread``."""
        self._may_go.acquire()
        try:
            with self._modes, suppress(_GivenUp):
                self.result = self._work()
        except BaseException as error:  # raised where the call is told to go on
            self._error = error
        self._ended = True
        self._has_stopped.release()


def _modes() -> AbstractContextManager[None]:
    """What torch sets by thread, as it is in this one, to enter in another."""
    return _entered(
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.get_default_device(),
        torch.cuda.current_stream() if torch.cuda.is_initialized() else None,  # type: ignore[no-untyped-call]
    )


@contextmanager
def _entered(
    inference: bool, grad: bool, device: torch.device, stream: torch.cuda.Stream | None
) -> Iterator[None]:
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(inference))
        modes.enter_context(torch.set_grad_enabled(grad))
        if device.type != "cpu":
            modes.enter_context(device)
        if stream is not None:
            modes.enter_context(torch.cuda.stream(stream))
        yield
