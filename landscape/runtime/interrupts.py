"""Ctrl-C that arrives where Python ignores every error."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PAUSE = 0.05  # seconds until the callback, which must not be interrupted again, is over


@contextmanager
def repeated_interrupts() -> Iterator[None]:
    """Send Ctrl-C again if Python lost it.

    Python prints and ignores what is raised within ``__del__`` or the callback of a weak reference.
    If Ctrl-C arrives there, the program goes on. Within this block it stops a moment later, and
    nothing is printed.
    """
    main, before = threading.main_thread().ident, sys.unraisablehook
    assert main is not None
    timers: list[threading.Timer] = []

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            before(unraisable)
            return
        timer = threading.Timer(_PAUSE, signal.pthread_kill, (main, signal.SIGINT))
        timer.daemon = True
        timers.append(timer)
        timer.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in timers:
            timer.cancel()
