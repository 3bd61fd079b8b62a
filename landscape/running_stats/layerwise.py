"""Calls that go on side by side: where one waits, the others catch up."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch


class Lockstep:
    """Calls of one function, in steps that end where the function calls ``step``.

    One call runs at a time, and in each step they take turns in the same order. A call that is held
    has a thread of its own: it stops in the middle and leaves its place, and torch's modes, there.
    """

    def __init__(self) -> None:
        self._done = 0  # steps of the call that runs, in an earlier call
        self._stop: Callable[[], None] = _go_on

    def run(
        self, function: Callable[[Any], Any], held: Sequence[Any], again: Iterable[Any] = ()
    ) -> list[Any]:
        """Call ``function`` on each argument.

        Args:
            function: The function.
            held: Arguments of the calls that stop where a step ends, and go on there.
            again: Arguments of those that are given up there, and begun again for each step: it
                takes time, and no memory. They are read for each step.

        Returns:
            What the calls return.

        Raises:
            BaseException: what a call raises; the others are then given up.
        """
        self._done, self._stop = 0, _go_on
        if len(held) == 1 and not again:  # has nobody to wait for
            return [function(held[0])]
        calls = [_Call(function, argument) for argument in held]
        waiting = calls
        try:
            for done in itertools.count():
                waiting = [call for call in waiting if self._goes_on(call)]
                begun = [self._begin(function, argument, done) for argument in again]
                if not waiting and all(ended for ended, _ in begun):
                    break
        finally:
            for call in calls:
                call.give_up()
        return [call.result for call in calls] + [result for _, result in begun]

    def step(self, work: Callable[[], None]) -> None:
        """Do ``work`` and end the step; to be called by the function.

        Where a call is begun again, the work of its earlier steps is done.
        """
        if self._done:
            self._done -= 1
        else:
            work()
            self._stop()

    def _goes_on(self, call: _Call) -> bool:
        self._done, self._stop = 0, call.wait
        return call.go_on()

    def _begin(self, function: Callable[[Any], Any], argument: Any, done: int) -> tuple[bool, Any]:
        """Whether the call ends in this step, and what it returns."""
        self._done, self._stop = done, _give_up
        try:
            return True, function(argument)
        except _GivenUp:
            return False, None


def _go_on() -> None:
    pass


def _give_up() -> None:
    raise _GivenUp


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
